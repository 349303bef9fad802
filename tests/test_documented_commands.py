"""Every command in the documentation is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from vasomim.cli.flags import parse
from vasomim.cli.verbs import VERBS, find_verb
from vasomim.config.loading import load_config, recipe_names, recipe_text

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "gpu" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(text: str) -> list[str]:
    """Commands in indented blocks and in the first comment of a recipe, continued lines joined."""
    joined = re.sub(r"\\\n\s*", " ", text)
    return [match.strip() for match in re.findall(r"^(?: {4,}|# )(vasomim [a-z].*)$", joined, flags=re.MULTILINE)]


def check(command: str) -> None:
    words = shlex.split(command.partition(" > ")[0], comments=True)
    # Shell variables stand for numbers and for paths; 1 is both.
    words = [re.sub(r"\$\{?\w+\}?", "1", word) for word in words]
    name, rest = find_verb(words[1:])
    verb = VERBS[name]
    invocation = parse(verb.config, rest, "vasomim")
    load_config(verb.config, invocation.recipe, invocation.overrides)


@pytest.mark.parametrize(
    ("page", "command"), [(page.name, line) for page in PAGES for line in commands(page.read_text(encoding="utf-8"))]
)
def test_page__command_is_valid(page: str, command: str) -> None:  # noqa: ARG001
    check(command)


@pytest.mark.parametrize("name", recipe_names())
def test_recipe__command_is_valid(name: str) -> None:
    check(commands(recipe_text(name))[0])


def test_readme__shows_the_chain_and_names_every_verb() -> None:
    text = PAGES[0].read_text(encoding="utf-8")
    assert len(commands(text)) >= 6
    assert all(f"`vasomim {name}`" in text for name in VERBS)
    assert "make demo" in text
    assert "make test" in text
    assert "not a medical device" in text
