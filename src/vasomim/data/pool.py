"""Work on many frames in several processes, in order and in constant memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, TypeVar

import cv2

from vasomim.errors import DataError

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


def num_cores() -> int:
    """Cores this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_workers(asked: int, num_jobs: int, worth: int = 1) -> int:
    """Workers for a number of jobs, never more than jobs and at least one.

    Args:
        asked: how many somebody wants; 0 takes one a core.
        num_jobs: what there is to do.
        worth: jobs that are worth a worker of its own where nobody asked: a process takes seconds to start.
    """
    return max(1, min(asked, num_jobs) if asked else min(num_cores(), num_jobs // worth))


def map_in_processes(
    function: Callable[..., Outcome], jobs: Iterable[Job], workers: int, shared: tuple[Any, ...] = ()
) -> Iterator[Outcome]:
    """Results in the order of the jobs; a few are in flight, so that memory does not grow with their number.

    Every process computes in one OpenCV thread, and ends when this one does, killed or not. With one worker, or none,
    everything happens in this process.

    Args:
        function: called with `shared` and a job; can be pickled, and so can its arguments and results.
        jobs: what to call it with.
        workers: processes, see `num_workers`.
        shared: arguments that are the same for all jobs; sent to each process once.

    Raises:
        DataError: a worker died, for example because memory ran out.
    """
    if workers <= 1:
        with _one_thread():
            yield from map(partial(function, *shared), jobs)
        return
    try:
        yield from _in_pool(partial(function, *shared), jobs, workers)
    except BrokenProcessPool as broken:
        raise DataError("a worker process died, probably out of memory; try again with fewer workers") from broken


def _in_pool(function: Callable[[Job], Outcome], jobs: Iterable[Job], workers: int) -> Iterator[Outcome]:
    # spawn: forking a process that already runs threads (torch, OpenCV) can deadlock.
    context = get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare, initargs=(function,))
    flying: deque[Future[Outcome]] = deque()
    try:
        for job in jobs:
            flying.append(pool.submit(_call, job))
            if len(flying) >= 4 * workers:
                yield flying.popleft().result()
        while flying:
            yield flying.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


_function: Callable[[Any], Any]
"""What this worker process calls; set once, as what it shares may be large."""


def _prepare(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    cv2.setNumThreads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _call(job: Any) -> Any:
    return _function(job)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for jobs for ever, and write beside the next call's workers."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
