"""From predictions and labels to an evaluation card: streamed, with intervals, protocol and data fingerprint."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from vasomim.data.pool import num_cores
from vasomim.data.record_hashes import id_bytes
from vasomim.engine.evaluation_page import Picture, Shown, render_page
from vasomim.errors import DataError
from vasomim.files import write_text
from vasomim.metrics import (
    METRICS,
    WIDTH_CLASSES,
    FloatArray,
    IntArray,
    MaskPair,
    as_mask,
    calibration_error,
    image_metrics,
    pooled_scores,
    reliability_counts,
    scores_by_width,
    width_counts,
)
from vasomim.ops.hysteresis import Cut
from vasomim.stats import bootstrap_ci

BINS = 15
"""Bins of the calibration table."""
STATIC_PROTOCOL: Final = {
    "average": "per-image",
    "unit": "fractions in [0, 1]; distances in pixels of the evaluated maps",
    "empty": "both masks empty: fractions 1, distances 0; one empty: fractions 0, distances the image diagonal",
    "skeleton": "scikit-image skeletonize (Zhang-Suen)",
    "width_classes": "pixels of the native frame",
}
"""What holds for every evaluation."""
GALLERY = 6
"""Frames shown as best and as worst."""


class Case(NamedTuple):
    """One frame to be measured."""

    id: str
    probability: npt.NDArray[Any]
    """(H, W): float probabilities in [0, 1], or a mask that is bool or integer already."""
    target: npt.NDArray[Any]
    """(H, W) annotated vessel."""
    patient: str | None = None
    """Frames of one patient are resampled together."""
    scale: float = 1.0
    """Native pixels per pixel of these maps, for the width classes."""


class Failure(NamedTuple):
    """One frame that cannot be measured, and why, in one line."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class FrameScores:
    """What is kept of a frame: numbers, no pixels."""

    id: str
    patient: str | None
    values: Mapping[str, float]
    """By name, as in `METRICS`."""
    counts: tuple[int, int, int, int]
    """True positives, false positives, false negatives, true negatives in pixels."""
    shape: tuple[int, int]
    digest: str
    """Hash of the label."""


@dataclass(frozen=True)
class EvaluationCard:
    """All numbers of one evaluation, and under which protocol they were taken."""

    frames: Sequence[FrameScores]
    """Those that were measured; every number is of them alone."""
    width_sums: IntArray
    """(4, 8), see `metrics.width_counts`."""
    reliability: FloatArray | None
    """(bins, 3), see `metrics.reliability_counts`; None where masks were given instead of probabilities."""
    protocol: Mapping[str, Any]
    resamples: int = 2000
    seed: int = 0
    comparison: Mapping[str, Any] | None = None
    """Paired test against another evaluation, see `engine.comparison`."""
    failures: Sequence[Failure] = ()
    """Frames that could not be measured."""
    trained_on: int | None = None
    """Measured frames whose labels the weights have learned; None where that is not known."""

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def ids(self) -> list[str]:
        """Frame ids in the order of evaluation."""
        return [frame.id for frame in self.frames]

    @property
    def patients(self) -> list[str] | None:
        """The patient of each frame, or None unless all are known."""
        known = [frame.patient for frame in self.frames if frame.patient is not None]
        return known if len(known) == len(self.frames) else None

    def values(self, name: str) -> FloatArray:
        """(N,) per-image values of a metric."""
        return np.array([frame.values[name] for frame in self.frames])

    def mean(self, name: str) -> float:
        """Mean of the per-image values of a metric."""
        return float(self.values(name).mean())

    def interval(self, name: str) -> tuple[float, float]:
        """95 % bootstrap interval of that mean."""
        return self._intervals[name]

    @cached_property
    def _intervals(self) -> Mapping[str, tuple[float, float]]:
        """Of every metric; a large evaluation resamples for seconds, and is printed, stored and shown."""
        patients = self.patients
        return {name: bootstrap_ci(self.values(name), self.resamples, self.seed, groups=patients) for name in METRICS}

    def ranked(self) -> list[FrameScores]:
        """Frames from worst to best: by Dice, then clDice, then id."""
        return sorted(self.frames, key=lambda frame: (frame.values["dice"], frame.values["cldice"], frame.id))

    def to_dict(self) -> dict[str, Any]:
        """The card as plain values; numbers that do not exist are None."""
        tp, fp, fn, _ = np.sum([frame.counts for frame in self.frames], axis=0).tolist()
        card: dict[str, Any] = {
            "n": len(self.frames),
            "metrics": {name: {"mean": self.mean(name), "ci95": list(self.interval(name))} for name in METRICS},
            "pooled": pooled_scores(tp, fp, fn),
            "by_width": scores_by_width(self.width_sums),
            "protocol": dict(self.protocol),
            "failures": [failure._asdict() for failure in self.failures],
            "trained_on": self.trained_on,
        }
        if self.reliability is not None:
            card["calibration"] = _calibration(self.reliability)
        if self.comparison is not None:
            card["comparison"] = dict(self.comparison)
        return card

    def to_json(self) -> str:
        """The card as JSON text, without NaN."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def to_csv(self) -> str:
        """One line a frame: id, patient, every metric, pixel counts, size. Floats are written in full."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["id", "patient", *METRICS, "tp", "fp", "fn", "tn", "height", "width"])
        for frame in self.frames:
            values = [repr(frame.values[name]) for name in METRICS]
            writer.writerow([frame.id, frame.patient or "", *values, *frame.counts, *frame.shape])
        return text.getvalue()

    def to_html(self, fetch: Callable[[str], Picture] | None = None, gallery: int = GALLERY) -> str:
        """The card as an offline page; `fetch` gives the picture of a frame by its id, for the best and the worst."""
        ranked = self.ranked()
        # With few frames each is shown once: the lower half as worst, the upper as best.
        worst = ranked[: min(gallery, (len(ranked) + 1) // 2)]
        best = ranked[::-1][: min(gallery, len(ranked) // 2)]

        def show(frames: Sequence[FrameScores]) -> list[Shown]:
            return [Shown(frame.id, frame.values, fetch(frame.id)) for frame in frames] if fetch else []

        return render_page(self.to_dict(), [frame.values["dice"] for frame in ranked], show(worst), show(best))

    def write(self, folder: Path | str, fetch: Callable[[str], Picture] | None = None) -> None:
        """Write per_image.csv, evaluation.json and, as its pictures may fail, last report.html; each whole or absent.

        Raises:
            VasomimError: A file cannot be written.
        """
        folder = Path(folder)
        write_text(folder / "per_image.csv", self.to_csv())
        write_text(folder / "evaluation.json", self.to_json() + "\n")
        write_text(folder / "report.html", self.to_html(fetch))


_Given = Case | Failure | tuple[str, npt.NDArray[Any], npt.NDArray[Any]]


def evaluate(
    cases: Iterable[_Given],
    threshold: float = 0.5,
    *,
    high_threshold: float = 0.0,
    protocol: Mapping[str, Any] | None = None,
    resamples: int = 2000,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int], object] = lambda _: None,
    failed: Callable[[Failure], object] | None = None,
) -> EvaluationCard:
    """Measure every frame with every metric.

    Frames are consumed one after the other and only their numbers are kept, so memory does not grow with pixels. The
    metrics run in threads beside the iterator that makes the predictions.

    Args:
        cases: Frames as `Case` or (id, probability, target). Masks (bool or integer) in the place of probabilities
            are taken as they are, and the card has no calibration then. A `Failure` stands for a frame that its
            source could not give.
        threshold: A pixel may be vessel where its probability is at least this.
        high_threshold: Pieces of such pixels stay that reach this, see `ops.hysteresis.Cut`; 0 keeps them all.
        protocol: What else should be on record: weights, rasteriser, size.
        resamples: Bootstrap resamples of the intervals.
        seed: Of the resamples.
        workers: Threads; None takes one a core, at most 4.
        progress: Called with the number of frames just done.
        failed: Called with each frame that cannot be measured; the others are, and the card lists it. None stops at
            the first.

    Raises:
        DataError: No frame that can be measured, an id twice, masks mixed with probabilities, or, without `failed`, a
            frame whose maps cannot be compared (named).
        ValueError: A threshold is not in [0, 1].
    """
    cut = Cut(threshold, high_threshold)
    for name, value in asdict(cut).items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in [0, 1], got {value}")
    sums = _Sums()
    threads = workers or min(4, num_cores())
    for measured in _ahead(cases, lambda case: _measure(case, cut), threads):
        sums.add(measured)
        if isinstance(measured, Failure):
            if failed is None:
                raise DataError(measured.reason)
            failed(measured)
        progress(1)
    return sums.card(cut, protocol or {}, resamples, seed)


class _Measured(NamedTuple):
    scores: FrameScores
    widths: IntArray
    reliability: FloatArray | None


class _Sums:
    """What the frames measured so far add up to."""

    def __init__(self) -> None:
        self.frames: dict[str, FrameScores] = {}
        self.widths = np.zeros((len(WIDTH_CLASSES), 8), dtype=np.int64)
        self.reliability = np.zeros((BINS, 3))
        self.soft: set[bool] = set()
        self.failures: list[Failure] = []

    def add(self, measured: _Measured | Failure) -> None:
        if isinstance(measured, Failure):
            self.failures.append(measured)
            return
        scores = measured.scores
        if scores.id in self.frames:
            raise DataError(f"frame {scores.id} occurs twice; give each frame once")
        self.frames[scores.id] = scores
        self.widths += measured.widths
        self.soft.add(measured.reliability is not None)
        if measured.reliability is not None:
            self.reliability += measured.reliability
        if len(self.soft) > 1:
            raise DataError(
                f"frame {scores.id} has a mask where others have probabilities, or the reverse; give one kind"
            )

    def card(self, cut: Cut, protocol: Mapping[str, Any], resamples: int, seed: int) -> EvaluationCard:
        if self.failures and not self.frames:
            raise DataError(
                f"none of {len(self.failures)} frames can be measured; the first one: {self.failures[0].reason}"
            )
        if not self.frames:
            raise DataError("got no labelled frame to evaluate; name a folder with images/ and masks/, or of ARCADE")
        frames, soft = list(self.frames.values()), self.soft == {True}
        grouped = all(frame.patient is not None for frame in frames)
        full = {
            "threshold": cut.threshold if soft else None,
            "high_threshold": cut.high_threshold if soft else None,
            **STATIC_PROTOCOL,
            "interval": f"95 % percentile bootstrap of the mean, {resamples} resamples of "
            f"{'patients' if grouped else 'frames'}, seed {seed}",
            "data": {"frames": len(frames), "fingerprint": fingerprint(frames)},
            **protocol,
        }
        reliability = self.reliability if soft else None
        return EvaluationCard(frames, self.widths, reliability, full, resamples, seed, failures=self.failures)


def _measure(given: _Given, cut: Cut) -> _Measured | Failure:
    if isinstance(given, Failure):
        return given
    case = Case(*given)
    probability = np.asarray(case.probability)
    soft = np.issubdtype(probability.dtype, np.floating)
    try:
        target = as_mask(case.target, "target")
        reliability = reliability_counts(probability, target, BINS) if soft else None
        pair = MaskPair(cut(probability) if soft else probability, target)
    except ValueError as error:
        return Failure(case.id, f"frame {case.id} cannot be measured: {error}")
    scores = FrameScores(case.id, case.patient, image_metrics(pair), pair.counts, pair.shape, _digest(target))
    return _Measured(scores, width_counts(pair, case.scale), reliability)


def _digest(target: npt.NDArray[np.bool_]) -> str:
    return hashlib.sha256(repr(target.shape).encode() + np.packbits(target).tobytes()).hexdigest()


def _ahead(
    cases: Iterable[_Given], function: Callable[[_Given], _Measured | Failure], threads: int
) -> Iterator[_Measured | Failure]:
    """`map` in threads, in order, with a bounded number of cases under way."""
    with ThreadPoolExecutor(threads, thread_name_prefix="metrics") as pool:
        pending: deque[Future[_Measured | Failure]] = deque()
        try:
            for case in cases:
                pending.append(pool.submit(function, case))
                if len(pending) >= 2 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def fingerprint(frames: Iterable[FrameScores]) -> str:
    """Hash of all ids and labels as evaluated, whatever their order."""
    lines = sorted(f"{frame.id}\0{frame.digest}\n" for frame in frames)
    return hashlib.sha256(id_bytes("".join(lines))).hexdigest()[:32]


def _calibration(counts: FloatArray) -> dict[str, Any]:
    """Expected calibration error over all pixels and its bins."""
    bins = [
        {
            "lower": k / len(counts),
            "upper": (k + 1) / len(counts),
            "pixels": int(pixels),
            "confidence": _share(confidence, pixels),
            "frequency": _share(vessel, pixels),
        }
        for k, (pixels, confidence, vessel) in enumerate(counts.tolist())
    ]
    return {"ece": calibration_error(counts), "bins": bins}


def _share(part: float, whole: float) -> float | None:
    share = part / whole if whole else math.nan
    return share if math.isfinite(share) else None
