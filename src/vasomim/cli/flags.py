"""Flags made from the dataclass of a verb.

Every setting is a flag. `--steps` is short for `--optim.steps`: the name of the section may be left out wherever the
last part is unambiguous within the verb, and only ambiguous settings must be spelled in full. Dashes and underscores
are the same. tyro parses and writes the help; values go as text to `load_config`, so that flags and recipes are checked
by the same rules and their mistakes reported together.
"""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, Union, get_args, get_origin

import tyro

from vasomim.config.docs import field_docs
from vasomim.config.loading import field_paths, field_types, load_config, section_of
from vasomim.config.values import plain

INPUTS = "inputs"
_ALWAYS: dict[str, Any] = {"json": False, "verbose": False, INPUTS: (), "data": ()}
"""What tyro fills in where a flag is not given; all other flags are left out then."""


def _argument(help_text: str, metavar: str | None = None, **more: Any) -> Any:
    return tyro.conf.arg(help=help_text, metavar=metavar, help_behavior_hint="", **more)


_SHARED: dict[str, Any] = {
    "config": Annotated[str, _argument("Recipe: a YAML file, or the name of one that `vasomim info` lists.", "FILE")],
    "json": Annotated[
        bool, tyro.conf.FlagCreatePairsOff, _argument("Print the result as JSON; nothing else goes to stdout.")
    ],
    "verbose": Annotated[
        bool, tyro.conf.FlagCreatePairsOff, _argument("Say more; show the traceback of an error.", aliases=["-v"])
    ],
}


@dataclass(frozen=True)
class Invocation:
    """What the arguments of a verb ask for."""

    recipe: Path | None
    overrides: Mapping[str, Any]
    """Settings given as flags, sections nested."""
    json: bool
    verbose: bool


def parse(cls: type[Any], arguments: Sequence[str], prog: str) -> Invocation:
    """Parses the arguments of a verb whose settings are `cls`.

    Raises:
        SystemExit: with status 0 after help, 2 after an unknown or malformed flag; both are already printed.
        ConfigError: help was asked for, with a recipe that cannot be read.
    """
    spelled = _shortened(cls, arguments)
    wants_help = "-h" in spelled or "--help" in spelled
    defaults: object = load_config(cls, _recipe_in(spelled) if wants_help else None)
    flags = _flags_of(defaults, "", _ambiguous(cls), shared=True)
    always = {name: value for name, value in _ALWAYS.items() if name in flags.__annotations__}
    given: dict[str, Any] = dict(tyro.cli(flags, prog=prog, args=spelled, default=always))
    recipe = given.pop("config", None)
    json, verbose = given.pop("json"), given.pop("verbose")
    inputs = [*given.pop(INPUTS, ()), *(path for group in given.pop("data", ()) for path in group)]
    overrides = {name: value for name, value in given.items() if value != {}}  # an untouched section comes back empty
    if inputs:
        overrides[INPUTS] = tuple(inputs)
    return Invocation(Path(recipe) if recipe is not None else None, overrides, json, verbose)


def _flags_of(defaults: object, prefix: str, ambiguous: set[str], *, shared: bool = False) -> Any:
    """A TypedDict whose keys are the settings of a section: tyro leaves out what is not given."""
    docs = field_docs(type(defaults))
    keys: dict[str, Any] = {}
    for name, kind in field_types(type(defaults)).items():
        value = getattr(defaults, name)
        if section_of(kind) is not None:
            keys[name] = _flags_of(value, f"{prefix}{name}.", ambiguous)
        elif name == INPUTS:
            keys |= _input_flags(docs[name])
        else:
            keys[name] = _flag(kind, value, docs.get(name, ""), in_full=name in ambiguous)
    flags = TypedDict("Flags", keys | (_SHARED if shared else {}), total=False)  # type: ignore[misc]
    flags.__doc__ = type(defaults).__doc__
    return flags


def _input_flags(doc: str) -> dict[str, Any]:
    again = _argument("The same as INPUT; may be repeated.", "INPUT")
    return {
        INPUTS: Annotated[tuple[str, ...], tyro.conf.Positional, _argument(doc, "[INPUT ...]")],
        "data": Annotated[tuple[tuple[str, ...], ...], tyro.conf.UseAppendAction, again],
    }


def _flag(kind: Any, default: object, doc: str, *, in_full: bool) -> Any:
    shown = plain(default)
    hint = " ".join(map(str, shown)) if isinstance(shown, list) else str(shown)
    hint = {"None": "none", "True": "on", "False": "off", "": "none"}.get(hint, hint)
    prefix = None if in_full else False
    metavar = None if _text(kind) is bool else _metavar(kind)
    shape = tyro.conf.arg(metavar=metavar, help=doc, help_behavior_hint=f"(default: {hint})", prefix_name=prefix)
    return Annotated[_text(kind), shape]


def _text(kind: Any) -> Any:
    """The type of a flag's raw text: one string, or as many as a tuple has; a switch stays one."""
    if bool in (kind, *get_args(kind)):
        return bool
    if get_origin(kind) is not tuple:
        return str
    args = get_args(kind)
    return tuple[str, ...] if args[-1] is Ellipsis else tuple[(str,) * len(args)]  # type: ignore[misc]


def _metavar(kind: Any) -> str:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "{" + ",".join(map(str, args)) + "}"
    if origin is Union or origin is types.UnionType:
        return "|".join("none" if arg is types.NoneType else _metavar(arg) for arg in args)
    if origin is tuple:
        return f"{_metavar(args[0])} ..." if args[-1] is Ellipsis else " ".join(map(_metavar, args))
    return {int: "INT", float: "NUMBER", str: "TEXT", Path: "PATH"}.get(kind, "VALUE")


def _ambiguous(cls: type) -> set[str]:
    """Last parts of setting names that occur twice in a verb, or as one of the flags that all verbs share."""
    lasts = Counter(path.rpartition(".")[2] for path in field_paths(cls))
    return {last for last, count in lasts.items() if count > 1} | {"data", *_SHARED}


def _shortened(cls: type, arguments: Sequence[str]) -> list[str]:
    """Spells `--optim.steps` as `--steps`, the name under which tyro knows it, wherever that is unambiguous."""
    ambiguous = _ambiguous(cls)
    short: dict[str, str] = {}
    for path in field_paths(cls):
        section, _, last = path.replace("_", "-").rpartition(".")
        if section and last.replace("-", "_") not in ambiguous:
            short |= {f"--{section}.{last}": f"--{last}", f"--{section}.no-{last}": f"--no-{last}"}
    spelled = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        spelled.append(short.get(flag.replace("_", "-"), flag) + equals + value)
    return spelled


def _recipe_in(arguments: Sequence[str]) -> Path | None:
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument.startswith("--config="):
            return Path(argument.partition("=")[2])
        if argument == "--config" and following:
            return Path(following)
    return None
