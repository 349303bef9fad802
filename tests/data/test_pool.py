"""Jobs over processes: order, laziness, and the number of threads of OpenCV."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import pytest

from vasomim.data.pool import map_in_processes


def square(value: int) -> tuple[int, int]:
    """Runs in a worker: the square, and the OpenCV threads there."""
    return value * value, cv2.getNumThreads()


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_map_in_processes__keeps_the_order_and_one_thread_each(workers: int) -> None:
    before = cv2.getNumThreads()
    assert list(map_in_processes(square, range(12), workers)) == [(value * value, 1) for value in range(12)]
    assert cv2.getNumThreads() == before


def test_map_in_processes__takes_only_a_few_jobs_ahead() -> None:
    taken = []

    def jobs() -> Iterator[int]:
        for value in range(1000):
            taken.append(value)
            yield value

    results = map_in_processes(square, jobs(), 2)
    assert next(results)[0] == 0
    assert len(taken) <= 9
    results.close()  # type: ignore[attr-defined]
