"""The cells of a grid: methods x shares of labels x seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

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


def cells(methods: Sequence[str], labels: Sequence[float], seeds: Sequence[int]) -> list[Cell]:
    """All cells, those first that make the table whole soonest: by seed, then share of labels, then method.

    Raises:
        MisuseError: a method is not known.
    """
    names = chosen_methods(methods)
    return [Cell(method, str(float(share)), seed) for seed in seeds for share in labels for method in names]


def chosen_methods(asked: Sequence[str]) -> list[str]:
    """Names of methods, groups spelled out, each once.

    Raises:
        MisuseError: one is not known.
    """
    unknown = [name for name in asked if name not in METHODS and name not in GROUPS]
    if unknown:
        near = get_close_matches(unknown[0], [*METHODS, *GROUPS], 1)
        advice = f"did you mean {near[0]}?" if near else f"choose from {', '.join([*GROUPS, *METHODS])}"
        raise MisuseError(f"no method is called {unknown[0]}; {advice}")
    return list(dict.fromkeys(method for name in asked for method in GROUPS.get(name, (name,))))
