"""The one door for settings: defaults, then a recipe, then overrides; every mistake reported, all of them at once.

A later layer wins over an earlier one. Where a layer sets one name of an exclusive group (`EXCLUSIVE` of the dataclass,
such as steps and epochs), the others of the group that may be none are reset, so that `--epochs 5` works on a recipe
that gives steps.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

import yaml

from vasomim.config.values import coerce, plain
from vasomim.errors import ConfigError

T = TypeVar("T")
RECIPES = "recipes"
MAX_RECIPE_BYTES = 1 << 18
"""Of one file; the largest recipe has 1 KiB."""
OUTPUTS = ("out", "keep_list", "runs")
"""Settings that name what is written."""


def load_config(cls: type[T], path: Path | None = None, overrides: Mapping[str, object] | None = None) -> T:
    """Builds `cls` from its defaults, the recipe at `path` and `overrides`, in that order.

    Args:
        cls: a dataclass whose fields all have defaults; sections are dataclasses themselves.
        path: a YAML file, or the name of a recipe that comes with the package; none takes the defaults.
        overrides: values by name; sections nested, or dotted (`{"optim.steps": 100}`).

    Raises:
        ConfigError: listing every unknown key and bad value, one a line.
    """
    values = _tree(cls())
    mistakes: list[str] = []
    for layer in (_read_layer(path), _nest(overrides or {})):
        _merge(values, layer, cls, cls, "", mistakes)
    config = _build(cls, values, "", mistakes)
    if config is None or mistakes:
        raise ConfigError(_report(mistakes, path, bool(overrides)))
    return config


def _report(mistakes: Sequence[str], path: Path | None, overridden: bool) -> str:
    """One line for one mistake; else a headline and a line for each."""
    where = f" in {path}{' and the flags' if overridden else ''}" if path else " in the settings"
    if len(mistakes) == 1:
        return f"mistake{where}: {mistakes[0]}"
    return f"{len(mistakes)} mistakes{where}:\n" + "\n".join(f"  {mistake}" for mistake in mistakes)


def dump_config(config: object) -> str:
    """YAML text of a config, complete, in the order of its fields; `load_config` reads it back equal."""
    tree = _plain_tree(config)
    # PyYAML writes these three line breaks as they are and reads them back as spaces: they have to be escaped.
    readable = not any(mark in json.dumps(tree, ensure_ascii=False, default=str) for mark in "\x85\u2028\u2029")
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=readable, default_flow_style=None, width=120)


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package, sorted."""
    folder = resources.files("vasomim") / RECIPES
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def recipe_text(name: str) -> str:
    """Text of a recipe that comes with the package."""
    return (resources.files("vasomim") / RECIPES / f"{name}.yaml").read_text(encoding="utf-8")


def field_paths(cls: type) -> list[str]:
    """Dotted names of all settings below `cls`, sections left out: `["out", "optim.steps", ...]`."""
    return [path for path, _ in _leaves(cls, "")]


def input_paths(config: object) -> list[tuple[str, Path]]:
    """Setting and path of every file or folder that `config` reads: all its paths but those that are written."""
    found: list[tuple[str, Path]] = []
    for name in field_types(type(config)):
        value = getattr(config, name)
        if name not in OUTPUTS:
            paths = value if isinstance(value, tuple) else (value,)
            found.extend((name, path) for path in paths if isinstance(path, Path))
    return found


def field_types(cls: type) -> dict[str, Any]:
    """Resolved type of each field of a dataclass, in the order of the fields."""
    return {name: kind for name, kind in get_type_hints(cls).items() if get_origin(kind) is not ClassVar}


def section_of(annotation: Any) -> type | None:
    """The dataclass of a section, or None where the annotation is that of a plain value."""
    return annotation if isinstance(annotation, type) and dataclasses.is_dataclass(annotation) else None


def _leaves(cls: type, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, annotation in field_types(cls).items():
        section = section_of(annotation)
        if section is None:
            yield prefix + name, annotation
        else:
            yield from _leaves(section, f"{prefix}{name}.")


def _tree(config: object) -> dict[str, Any]:
    """Values by name, sections as nested dicts, values as they are."""
    values = {name: getattr(config, name) for name in field_types(type(config))}
    return {name: _tree(value) if dataclasses.is_dataclass(value) else value for name, value in values.items()}


def _plain_tree(config: object) -> dict[str, Any]:
    values = {name: getattr(config, name) for name in field_types(type(config))}
    return {n: _plain_tree(v) if dataclasses.is_dataclass(v) else plain(v) for n, v in values.items()}


def _read_layer(path: Path | None) -> Mapping[str, object]:
    if path is None:
        return {}
    text = _read_text(path)
    try:
        layer = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as problem:  # ValueError: a date or a number that is none
        raise ConfigError(f"{path} is not valid YAML: {_one_line(problem)}") from problem
    except RecursionError:
        raise ConfigError(f"{path} is nested too deeply; settings have two levels") from None
    if layer is None:
        return {}
    if not isinstance(layer, dict):
        raise ConfigError(f"{path} holds {type(layer).__name__}, need lines of the form `name: value`")
    return layer


def _read_text(path: Path) -> str:
    try:
        if not path.exists() and path.name in recipe_names() and path.name == str(path):
            return recipe_text(path.name)
        if path.stat().st_size > MAX_RECIPE_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_RECIPE_BYTES >> 10} KiB; name a recipe")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        names = recipe_names()
        near = get_close_matches(path.name.removesuffix(".yaml"), names, 1)
        advice = f"did you mean {near[0]}?" if near else "give a path or one of " + ", ".join(names)
        raise ConfigError(f"no file or recipe {path}; {advice}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder, need a YAML file such as {path / 'config.yaml'}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not a text file, need YAML") from None


def _one_line(problem: Exception) -> str:
    if isinstance(problem, yaml.MarkedYAMLError) and problem.problem_mark is not None:
        return f"line {problem.problem_mark.line + 1}, column {problem.problem_mark.column + 1}: {problem.problem}"
    return " ".join(str(problem).split())


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a name given twice, of which YAML would silently take the last, and aliases.

    A few lines of aliases of aliases stand for more values than there is memory for.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            at = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "an alias (*) is not supported: write the value out", at)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _nest(overrides: Mapping[str, object]) -> dict[str, Any]:
    """`{"optim.steps": 1}` -> `{"optim": {"steps": 1}}`; nested mappings stay and are joined with dotted names."""
    nested: dict[str, Any] = {}
    for name, value in overrides.items():
        *sections, last = name.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        if isinstance(value, Mapping):
            place.setdefault(last, {}).update(_nest(value))
        else:
            place[last] = value
    return nested


def _merge(
    values: dict[str, Any], layer: Mapping[Any, object], cls: type, root: type, prefix: str, mistakes: list[str]
) -> None:
    """Writes `layer` over `values`, in place; what does not fit goes to `mistakes` and leaves the value as it was."""
    kinds = field_types(cls)
    accepted: set[str] = set()
    for name, value in layer.items():
        if name not in kinds:
            mistakes.append(_unknown(str(name), cls, root, prefix))
            continue
        section = section_of(kinds[name])
        if section is None:
            try:
                values[name] = coerce(value, kinds[name])
                accepted.add(name)
            except ValueError as problem:
                mistakes.append(f"{prefix}{name}: {problem}")
        elif isinstance(value, Mapping):
            _merge(values[name], value, section, root, f"{prefix}{name}.", mistakes)
        elif value is not None:
            known = ", ".join(field_types(section))
            mistakes.append(f"{prefix}{name}: got {value!r}, need a section with any of {known}")
    _reset_exclusive(values, accepted, cls)


def _reset_exclusive(values: dict[str, Any], accepted: set[str], cls: type) -> None:
    groups: Sequence[Sequence[str]] = getattr(cls, "EXCLUSIVE", ())
    for group in groups:
        given = accepted & {name for name in group if values[name] is not None}
        for name in group if given else ():
            if name not in accepted and types.NoneType in get_args(field_types(cls)[name]):
                values[name] = None


def _unknown(name: str, cls: type, root: type, prefix: str) -> str:
    """Names the nearest setting: among the siblings, else anywhere below `root` by its last part."""
    near = get_close_matches(name, list(field_types(cls)), 1)
    if near:
        return f"{prefix}{name}: unknown setting; did you mean {prefix}{near[0]}?"
    by_last = {path.rpartition(".")[2]: path for path in reversed(field_paths(root))}
    near = get_close_matches(name, list(by_last), 1)
    if near:
        return f"{prefix}{name}: unknown setting; did you mean {by_last[near[0]]}?"
    return f"{prefix}{name}: unknown setting; known here: {', '.join(field_types(cls)) or 'none'}"


def _build(cls: type[T], values: Mapping[str, Any], prefix: str, mistakes: list[str]) -> T | None:
    """Builds a section after the sections inside it.

    A broken rule goes to `mistakes` and None comes back; the section around it is then checked with its default.
    """
    arguments: dict[str, Any] = {}
    for name, annotation in field_types(cls).items():
        section = section_of(annotation)
        value = values[name] if section is None else _build(section, values[name], f"{prefix}{name}.", mistakes)
        if section is None or value is not None:
            arguments[name] = value
    try:
        return cls(**arguments)
    except ValueError as problem:
        where = f"{prefix.rstrip('.')}: " if prefix else ""
        mistakes.extend(where + line for line in str(problem).splitlines())
        return None
