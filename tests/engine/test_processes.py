"""Several processes: the same result as one, one that goes on where several stopped, and what ends them all."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import several_processes
import torch
from engine_tools import TIMING, TinyTask, train
from several_processes import STRATEGIES, look, make_task, spoilt
from task_tools import frame_batches, run

from vasomim.engine.checkpoints import load_tensors
from vasomim.engine.processes import check_shares, started_processes
from vasomim.engine.run_folder import RunFolder
from vasomim.errors import MisuseError

TWO = 2


def start(folder: Path, *arguments: str) -> list[subprocess.Popen[str]]:
    """The script in two processes, with the variables that torchrun would set."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "TORCHELASTIC_RUN_ID": "test"}
    counts = {"WORLD_SIZE": str(TWO), "LOCAL_WORLD_SIZE": str(TWO), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, several_processes.__file__, str(folder), *arguments]
    return [
        subprocess.Popen(
            command,
            env={**os.environ, **address, **counts, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(TWO)
    ]


def free_port() -> int:
    """A port that nobody listens at, and that no connection is given before the processes are up seconds later: it lies
    below those that systems choose from."""
    first = 20_000 + os.getpid() % 10_000  # another one than that of tests beside these
    for port in range(first, first + 1000):
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


def outputs(processes: Sequence[subprocess.Popen[str]], timeout: float = 500) -> list[str]:
    """What each said until it ended; none outlives the call."""
    try:
        return [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()


def wait_for(paths: Sequence[Path], processes: Sequence[subprocess.Popen[str]]) -> None:
    while not all(path.exists() for path in paths):
        if any(process.poll() is not None for process in processes):
            pytest.fail("".join(outputs(processes)))
        time.sleep(0.1)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the runs of two processes, of those of one (`one`, ...), and of those that changed hands (`*_cut`)."""
    folder = tmp_path_factory.mktemp("runs")
    processes = start(folder, "compare")
    run(folder / "one", make_task, frame_batches(), validate=look)
    run(folder / "one_at_once", make_task, frame_batches(), changes={"accumulate": 1, "ema": None, "clip_grad": None})
    wait_for([folder / f"began_{rank}" for rank in range(TWO)], processes)
    for strategy in STRATEGIES:
        with pytest.raises(ZeroDivisionError):
            run(folder / f"{strategy}_cut", make_task, frame_batches(stop_at=7), validate=look)
    (folder / "middle").touch()
    said = outputs(processes)
    assert [process.returncode for process in processes] == [0, 0], said
    (folder / "said").write_text("".join(said))
    return folder


def lines(run_folder: Path) -> list[dict[str, Any]]:
    folder = RunFolder(run_folder, "pretrain", {}, None)
    return [{name: value for name, value in line.items() if name not in TIMING} for line in folder.metrics()]


def assert_close(ours: Path, theirs: Path) -> None:
    """Every value logged and every tensor and number of the last checkpoint agree to rounding."""
    assert len(lines(ours)) == len(lines(theirs)) > 0
    for one, other in zip(lines(ours), lines(theirs), strict=True):
        assert one.keys() == other.keys()
        assert one == pytest.approx(other, rel=1e-4, abs=1e-6)
    states = [load_tensors(folder / "checkpoints" / "step_00000008.pt") for folder in (ours, theirs)]
    compare_states(*states, where="")


def compare_states(one: Any, other: Any, where: str) -> None:
    if isinstance(one, Mapping):
        assert list(one) == list(other), where
        for name, value in one.items():
            compare_states(value, other[name], f"{where}.{name}")
    elif isinstance(one, (list, tuple)):
        for number, pair in enumerate(zip(one, other, strict=True)):
            compare_states(*pair, f"{where}.{number}")
    elif isinstance(one, torch.Tensor):
        assert type(one) is type(other) is torch.Tensor, where
        if where.endswith("qkv.bias"):
            one, other = without_keys(one), without_keys(other)
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5, msg=lambda text: f"{where}: {text}")
    elif not isinstance(one, float):
        assert one == other, where


def without_keys(bias: torch.Tensor) -> torch.Tensor:
    """Biases of queries and values. Attention cannot see those of keys: their gradients are rounding, and Adam makes
    full steps of it."""
    queries, _, values = bias.chunk(3)
    return torch.cat([queries, values])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_fit__two_processes_equal_one_with_twice_the_batch(runs, strategy):
    assert_close(runs / strategy, runs / "one")


def test_fit__two_processes_equal_one_that_neither_accumulates_nor_clips(runs):
    assert_close(runs / "ddp_at_once", runs / "one_at_once")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_fit__goes_on_with_one_process_and_then_with_two_again(runs, strategy):
    assert_close(runs / f"{strategy}_cut", runs / "one")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_fit__several_processes_leave_the_files_of_one(runs, strategy):
    def files(name: str) -> set[str]:
        return {str(path.relative_to(runs / name)) for path in (runs / name).rglob("*") if path.is_file()}

    assert files(strategy) == files("one")
    sizes = [(runs / name / "checkpoints" / "step_00000008.pt").stat().st_size for name in (strategy, "one")]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_fit__a_bad_batch_on_one_process_changes_nothing_on_any(runs, strategy, tmp_path):
    alone = train(tmp_path / "alone", spoilt((0, 1)), make_task=lambda: TinyTask(dropout=0.0, norm=False))
    kept, kept_alone = (
        torch.load(folder / "nonfinite" / "step_00000004.pt", weights_only=True)
        for folder in (runs / f"{strategy}_bad", tmp_path / "alone")
    )
    assert torch.equal(kept["batch"]["x"].nan_to_num(9.0), kept_alone["batch"]["x"].nan_to_num(9.0))
    assert [line["skipped"] for line in lines(runs / f"{strategy}_bad")] == [0, 1, 1, 1, 1]
    state = load_tensors(runs / f"{strategy}_bad" / "checkpoints" / "step_00000013.pt")
    ema = state["ema"]["weights"]["head.1.weight"]
    torch.testing.assert_close(ema, alone.weights["head.1.weight"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_fit__sigterm_on_one_process_stops_all_with_a_checkpoint(runs, strategy):
    said = (runs / "said").read_text()
    assert f"{strategy} 0: stopped at step 6 of 13; run the same command again to go on\n" in said
    assert f"{strategy} 1: \n" in said, "the first process speaks for both"
    assert load_tensors(runs / f"{strategy}_stopped" / "checkpoints" / "step_00000006.pt")["step"] == 6


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("how", ["kill", "hang"])
def test_fit__a_lost_process_ends_the_others_with_a_message(tmp_path, strategy, how):
    processes = start(tmp_path / "run", "die", strategy, how)
    began = time.monotonic()
    said = processes[0].communicate(timeout=100)[0]
    assert processes[0].returncode == 1
    assert "0: process 0 of 2 lost another one" in said
    assert "goes on from the newest checkpoint" in said
    assert time.monotonic() - began < 100
    processes[1].kill()
    outputs(processes[1:])
    assert load_tensors(tmp_path / "run" / "checkpoints" / "step_00000004.pt")["step"] == 4


def test_check_shares__says_which_batch_sizes_fit():
    check_shares(32, 4, 8)
    with pytest.raises(MisuseError, match=r"batch_size=30 cannot be shared by 8 processes, .* 8; take 24 or 32"):
        check_shares(30, 1, 8)
    with pytest.raises(MisuseError, match=r"by 2 processes in accumulate=4 parts, .* multiple of 8; take 8 or 16"):
        check_shares(12, 4, 2)
    with pytest.raises(MisuseError, match=r"take 8$"):
        check_shares(3, 1, 8)


@pytest.fixture
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith(("SLURM_", "TORCHELASTIC"))]:
        monkeypatch.delenv(name)
    return monkeypatch


def test_started_processes__without_a_launcher(no_launcher):  # noqa: ARG001
    assert started_processes() == (1, 1)
    assert started_processes(3) == (3, 1)


def test_started_processes__of_torchrun(no_launcher):
    for name, value in {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "16", "LOCAL_WORLD_SIZE": "8"}.items():
        no_launcher.setenv(name, value)
    assert started_processes() == started_processes(8) == (8, 2)
    with pytest.raises(MisuseError, match="devices=4, but torchrun started 8 process"):
        started_processes(4)


def test_started_processes__of_slurm(no_launcher):
    no_launcher.setenv("SLURM_NTASKS", "1")
    assert started_processes() == (1, 1)
    no_launcher.setenv("SLURM_NTASKS", "8")
    with pytest.raises(MisuseError, match="--ntasks-per-node"):
        started_processes()
    no_launcher.setenv("SLURM_NTASKS_PER_NODE", "4")
    no_launcher.setenv("SLURM_NNODES", "2")
    assert started_processes() == (4, 2)
    no_launcher.setenv("SLURM_JOB_NAME", "bash")
    assert started_processes() == (1, 1)
