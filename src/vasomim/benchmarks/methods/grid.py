"""The cells of a grid: methods x shares of labels x seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from vasomim.benchmarks.methods.catalogue import ABLATION_BASELINES, ABLATIONS, MAIN, Method
from vasomim.errors import MisuseError

METHODS: Mapping[str, Method] = {**MAIN, **ABLATIONS}
"""Everything that can be asked for by name."""
GROUPS: Mapping[str, tuple[str, ...]] = {
    "main": tuple(MAIN),
    "ablations": (*ABLATION_BASELINES, "prototypes", *ABLATIONS),
    "all": tuple(METHODS),
}


@dataclass(frozen=True, order=True)
class Cell:
    """One fine-tuning and its evaluation."""

    method: str
    labels: str
    """Share of the labels as text with at least one decimal, such as 0.1 or 1.0."""
    seed: int

    @property
    def name(self) -> str:
        """What its row is called."""
        return f"{self.method}_{self.labels}_{self.seed}"


SHARES = (0.01, 0.05, 0.1, 0.25, 1.0)
SEEDS = (0, 1, 2)
"""What a grid is filled with where nothing else is asked for."""


def method_of(name: str) -> Method:
    """A method of the catalogue, or one whose encoder was made elsewhere."""
    return METHODS.get(name) or Method(title=name)


def own_runs(own: Sequence[str]) -> dict[str, Path]:
    """Encoders made elsewhere, by the names they are given.

    Args:
        own: each `NAME=RUN`.

    Raises:
        MisuseError: a name is taken or given twice, or nothing is there.
    """
    found: dict[str, Path] = {}
    for name, _, run in (one.partition("=") for one in own):
        if name in METHODS or name in GROUPS or name in found:
            raise MisuseError(f"--own {name}={run}: {name} is taken; choose another name")
        if not Path(run).exists():
            raise MisuseError(f"--own {name}={run}: no such file or folder: {run}")
        found[name] = Path(run).resolve()
    return found


def cells(methods: Sequence[str], labels: Sequence[float], seeds: Sequence[int], own: Sequence[str] = ()) -> list[Cell]:
    """All cells, those first that make the table whole soonest: by seed, then share of labels, then method.

    Args:
        methods: names of methods or groups, see `chosen_methods`; `main` where neither these nor `own` are given.
        labels: shares of them; `SHARES` where none is given.
        seeds: numbers; `SEEDS` where none is given.
        own: encoders made elsewhere, see `own_runs`.

    Raises:
        MisuseError: a method is not known, or an encoder not there.
    """
    names = chosen_methods(methods, own) or GROUPS["main"]
    shares = [share_text(share) for share in labels or SHARES]
    return [Cell(method, share, seed) for seed in seeds or SEEDS for share in shares for method in names]


def share_text(share: float) -> str:
    """A share of the labels as rows spell it: 1 -> `1.0`."""
    return str(float(share))


def chosen_methods(asked: Sequence[str], own: Sequence[str] = ()) -> list[str]:
    """Names of methods, groups spelled out, each once, and those made elsewhere.

    Raises:
        MisuseError: one is not known.
    """
    unknown = [name for name in asked if name not in METHODS and name not in GROUPS]
    if unknown:
        near = get_close_matches(unknown[0], [*METHODS, *GROUPS], 1)
        advice = f"did you mean {near[0]}?" if near else f"choose from {', '.join([*GROUPS, *METHODS])}"
        raise MisuseError(f"no method is called {unknown[0]}; {advice}; an encoder made elsewhere is given by --own")
    named = [method for name in asked for method in GROUPS.get(name, (name,))]
    return list(dict.fromkeys([*named, *own_runs(own)]))
