"""Work on many frames in several processes, in order and in constant memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import TypeVar

import cv2

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")


def map_in_processes(function: Callable[[Job], Outcome], jobs: Iterable[Job], workers: int) -> Iterator[Outcome]:
    """Results in the order of the jobs; a few are in flight, so that memory does not grow with their number.

    Every process computes in one OpenCV thread. With one worker, or none, everything happens in this process.

    Args:
        function: can be pickled, and so can its arguments and results.
        jobs: what to call it with.
        workers: processes.

    Raises:
        BrokenProcessPool: a worker died, for example because memory ran out.
    """
    if workers <= 1:
        with _one_thread():
            yield from map(function, jobs)
        return
    # spawn: forking a process that already runs threads (torch, OpenCV) can deadlock.
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=partial(cv2.setNumThreads, 1))
    flying: deque[Future[Outcome]] = deque()
    try:
        for job in jobs:
            flying.append(pool.submit(function, job))
            if len(flying) >= 4 * workers:
                yield flying.popleft().result()
        while flying:
            yield flying.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
