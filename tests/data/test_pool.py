"""Jobs over processes: order, laziness, deaths, the number of workers and of threads of OpenCV."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vasomim.data import pool
from vasomim.data.pool import map_in_processes, num_cores, num_workers
from vasomim.errors import DataError


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


def shifted(offset: list[int], value: int) -> int:
    """Runs in a worker, with what is shared and a job."""
    return offset[0] + value


@pytest.mark.parametrize("workers", [1, 2])
def test_map_in_processes__sends_what_is_shared(workers: int) -> None:
    assert list(map_in_processes(shifted, range(5), workers, shared=([100],))) == list(range(100, 105))


def die(_: int) -> None:
    """Runs in a worker that does not survive it."""
    os._exit(3)


def test_map_in_processes__names_a_dead_worker() -> None:
    with pytest.raises(DataError, match="fewer workers"):
        list(map_in_processes(die, range(2), 2))


@given(st.integers(0, 9), st.integers(0, 500), st.integers(1, 64))
def test_num_workers__are_as_asked_or_one_a_core_and_never_idle(asked: int, num_jobs: int, worth: int) -> None:
    found = num_workers(asked, num_jobs, worth)
    assert 1 <= found <= max(1, num_jobs)
    if asked:
        assert found == max(1, min(asked, num_jobs))
    else:
        assert found == 1 or (found <= num_cores() and worth * found <= num_jobs)


def test_num_workers__of_none_asked_take_every_core_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool.os, "sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    monkeypatch.setattr(pool.os, "cpu_count", lambda: 64)
    assert num_workers(0, 100) == num_cores() == 3
    assert num_workers(0, 100, worth=50) == 2


def linger(folder: str, job: int) -> None:
    """Runs in a worker: says which process it is, and works on."""
    (Path(folder) / f"{job}.pid").write_text(str(os.getpid()))
    time.sleep(600)


def wait_until(true: object, seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_map_in_processes__workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    script = (
        "from test_pool import *\n"
        "if __name__ == '__main__':\n"
        f"    list(map_in_processes(linger, range(2), 2, shared=({str(tmp_path)!r},)))\n"
    )
    (tmp_path / "script.py").write_text(script)
    place = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    parent = subprocess.Popen([sys.executable, tmp_path / "script.py"], env={**os.environ, "PYTHONPATH": place})
    try:
        files = [tmp_path / f"{job}.pid" for job in range(2)]
        wait_until(lambda: all(file.is_file() and file.read_text() for file in files))
        pids = [int(file.read_text()) for file in files]
        assert all(map(is_alive, pids))
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not any(map(is_alive, pids)))
