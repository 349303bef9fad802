"""Files at the root say the same as the package."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

from vasomim._version import __version__
from vasomim.cli.verbs import VERBS

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def name_of(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower()


def test_constraints__pin_every_direct_dependency_once() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[\w.]+", line) for line in lines)
    extras = [requirement for extra in PROJECT["optional-dependencies"].values() for requirement in extra]
    wanted = {r for r in (*PROJECT["dependencies"], *extras) if name_of(r) != PROJECT["name"]}
    pinned = [name_of(line) for line in lines]
    assert {name_of(requirement) for requirement in wanted} <= set(pinned)
    assert len(pinned) == len(set(pinned))


def test_citation__names_this_version_and_both_papers() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"
    assert citation["authors"] == PROJECT["authors"] == [{"name": "The vasomim developers"}]
    cited = {identifier["value"] for reference in citation["references"] for identifier in reference["identifiers"]}
    assert cited == {"arXiv:2508.10794", "arXiv:2602.11536"}


def test_changelog__names_every_verb() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert all(f"vasomim {name}" in text for name in VERBS)


def strings_of(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from strings_of(part)


def test_results__name_no_place_of_a_machine() -> None:
    files = sorted((ROOT / "results").rglob("*.json"))
    assert files
    found = [
        (file.name, text)
        for file in files
        for text in strings_of(json.loads(file.read_text()))
        if any(Path(word).is_absolute() for word in text.split())
    ]
    assert found == []


def test_readme__pictures_are_there() -> None:
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    assert pictures
    assert all((ROOT / picture).is_file() for picture in pictures)


def test_tests__have_names_of_their_own() -> None:
    """pytest imports modules by their bare names: two of one name cannot be collected together."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name not in ("conftest.py", "__init__.py")]
    assert len(names) == len(set(names))
