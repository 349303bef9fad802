"""Two ways of doing one thing, timed in turns."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import torch

from vasomim.benchmarks.speed.limits import Limits, Work

Clock = Callable[[], float]
"""Seconds since some moment."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Ours and the reference for one thing; a call does it for `units` frames."""

    ours: Callable[[], object]
    reference: Callable[[], object]
    work: Work
    """What must at least be computed or moved for a call."""
    units: int = 1
    rounds: int = 7
    warm_up: int = 1
    """Calls of ours, before any is timed, until what it keeps between calls is there."""
    note: str = ""
    """What stands against what."""


@dataclass(frozen=True)
class Row:
    """Median seconds a frame of both, and how they compare."""

    name: str
    ours_s: float
    reference_s: float
    ratio: float
    """Reference over ours: how many times faster ours is."""
    limit_share: float
    """Of the rate that the machine reached in nothing but the counted work."""
    limit: str
    """Which rate that is."""
    rounds: int
    note: str


def clock_for(threads: int) -> Clock:
    """Processor time where there is one thread, which other load on the machine disturbs less; else the wall's."""
    return time.process_time if threads == 1 else time.perf_counter


def take_turns(stage: Stage, clock: Clock) -> tuple[float, float]:
    """Median seconds of a call of ours and of the reference, in turns after warming up both."""
    for _ in range(stage.warm_up):
        stage.ours()
    stage.reference()
    times = [(_seconds(stage.ours, clock), _seconds(stage.reference, clock)) for _ in range(stage.rounds)]
    ours, reference = zip(*times, strict=True)
    return statistics.median(ours), statistics.median(reference)


def make_row(name: str, stage: Stage, times: tuple[float, float], limits: Limits) -> Row:
    """The row of a stage from the seconds of its calls."""
    ours, reference = times
    return Row(
        name=name,
        ours_s=ours / stage.units,
        reference_s=reference / stage.units,
        ratio=reference / ours,
        limit_share=limits.seconds(stage.work) / ours,
        limit=limits.binding(stage.work),
        rounds=stage.rounds,
        note=stage.note,
    )


def _seconds(call: Callable[[], object], clock: Clock) -> float:
    began = clock()
    call()
    return clock() - began


@contextmanager
def computing_in(threads: int) -> Iterator[None]:
    """So many threads for torch, OpenCV and what is asked by OMP_NUM_THREADS inside, as before after."""
    before = torch.get_num_threads(), cv2.getNumThreads(), os.environ.get("OMP_NUM_THREADS")
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
        if before[2] is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before[2]
