"""Two evaluations of the same frames under the same protocol, compared metric by metric."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vasomim.engine.evaluation import EvaluationCard
from vasomim.errors import DataError, MisuseError
from vasomim.files import printable
from vasomim.metrics import METRICS
from vasomim.stats import PAIRED_TEST, paired_test

MUST_AGREE = ("size", "rasteriser")
"""Parts of the protocol without which numbers are not comparable; weights and threshold belong to the method."""


@dataclass(frozen=True)
class StoredEvaluation:
    """Per-image values and protocol of an evaluation that was written before."""

    path: Path
    protocol: Mapping[str, Any]
    values: Mapping[str, Mapping[str, float]]
    """Values by metric, by frame id as it is printed."""
    failed: frozenset[str] = frozenset()
    """Ids of frames that could not be measured."""


def read_evaluation(path: Path) -> StoredEvaluation:
    """Read a folder that `vasomim evaluate` wrote, or the evaluation.json in it with per_image.csv beside it.

    Raises:
        MisuseError: no such evaluation.
        DataError: a file is damaged or of another kind.
    """
    card = path / "evaluation.json" if path.is_dir() else path
    table = card.with_name("per_image.csv")
    for file in (card, table):
        if not file.is_file():
            raise MisuseError(
                f"no {file.name} in {file.parent}; name a folder written by `vasomim evaluate ... --out FOLDER`"
            )
    try:
        content = json.loads(card.read_text(encoding="utf-8"))
        failed = frozenset(printable(failure["id"]) for failure in content.get("failures", ()))
        return StoredEvaluation(path, dict(content["protocol"]), _read_values(table), failed)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"cannot read the evaluation in {card.parent}: {type(error).__name__}: {error}; evaluate again"
        ) from error


def _read_values(path: Path) -> dict[str, dict[str, float]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["id"]: {name: float(row[name]) for name in METRICS} for row in rows}


def compare(card: EvaluationCard, other: StoredEvaluation) -> EvaluationCard:
    """The card with a paired test against another evaluation for every metric (this minus other).

    Raises:
        MisuseError: other frames, other labels or another protocol.
        DataError: a frame was measured in one of the two alone.
    """
    names = [printable(name) for name in card.ids]
    check_comparable([*card.ids, *(failure.id for failure in card.failures)], card.protocol, other)
    alone = sorted(set(names) ^ set(other.values))
    if alone:
        raise DataError(
            f"not compared with {other.path}: {len(alone)} frame(s) could be measured in one of the two alone, such as "
            f"{', '.join(alone[:3])}; mend or remove them and evaluate both again"
        )
    if card.protocol["data"] != other.protocol.get("data"):
        raise MisuseError(f"{other.path} has the same frame ids but other labels; evaluate both on the same labels")
    results = {}
    for name in METRICS:
        theirs = [other.values[frame][name] for frame in names]
        result = paired_test(card.values(name), theirs, card.resamples, card.seed, groups=card.patients)
        results[name] = {
            "mean": result.mean_a,
            "other_mean": result.mean_b,
            "difference": result.difference,
            "ci95": list(result.ci95),
            "p_value": result.p_value,
        }
    comparison = {"other": printable(str(other.path)), "n": len(card), "test": PAIRED_TEST, "metrics": results}
    return dataclasses.replace(card, comparison=comparison)


def check_comparable(ids: Sequence[str], protocol: Mapping[str, Any], other: StoredEvaluation) -> None:
    """Refuse what can be refused before a frame is measured.

    Args:
        ids: Of the frames to be measured. Those that the other evaluation could not measure may fail here as well.
        protocol: The part of the protocol that is settled so far.
        other: What to compare with.

    Raises:
        MisuseError: other frames or another protocol.
    """
    ours, theirs = {printable(name) for name in ids} - other.failed, set(other.values)
    if ours != theirs:
        extra = sorted(ours ^ theirs)
        raise MisuseError(
            f"{other.path} is of other frames: {len(ours - theirs)} only here, {len(theirs - ours)} only there, such "
            f"as {', '.join(extra[:3])}; evaluate both on the same data"
        )
    for name in MUST_AGREE:
        here, there = protocol.get(name), other.protocol.get(name)
        if here != there:
            raise MisuseError(f"{other.path} was evaluated with {name}={there}, this with {here}; evaluate both alike")
