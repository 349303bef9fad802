"""Lanes: cells filled once, by one of several workers, whatever is killed or fails in between."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from vasomim.benchmarks.methods.grid import Cell, cells
from vasomim.benchmarks.methods.lanes import Lane, ended
from vasomim.benchmarks.methods.locks import Lock, claimed, is_claimed
from vasomim.benchmarks.methods.plan import Job, runs_of
from vasomim.benchmarks.methods.rows import read_rows
from vasomim.benchmarks.methods.states import states
from vasomim.config import BenchmarkMethodsConfig
from vasomim.errors import MisuseError, VasomimError

ROWS = Path(__file__).parents[2] / "results" / "main_table"
CARD = json.loads((ROWS / "scratch_0.1_0.json").read_text())["evaluation"]
VALUES = (ROWS / "scratch_0.1_0.csv").read_text()


class Runner:
    """Stands in for the commands: leaves what they leave, and remembers what it was asked for."""

    def __init__(
        self, config: BenchmarkMethodsConfig, fails: str = "", problem: type[BaseException] = VasomimError
    ) -> None:
        self.runs, self.fails, self.problem = runs_of(config), fails, problem
        self.called: list[str] = []

    def __call__(self, job: Job, locks: Sequence[Lock]) -> None:
        assert all(not lock.closed for lock in locks)
        self.called.append(job.name)
        if job.name == self.fails:
            raise self.problem("as asked")
        folder = self.runs / job.name
        folder.mkdir(exist_ok=True)
        if job.arguments[0] == "evaluate":
            (folder / "evaluation.json").write_text(json.dumps(CARD))
            (folder / "per_image.csv").write_text(VALUES)
        else:
            steps = int(job.arguments[job.arguments.index("--steps") + 1]) if "--steps" in job.arguments else 1
            last = {"step": steps, "samples_per_second": 4.0, "val/probe_r2": 0.5}
            (folder / "metrics.jsonl").write_text(json.dumps(last) + "\n")
            record = {"versions": {}, "git": None, "facts": {"data": {"frames": 1, "sha256": str(self.runs)}}}
            (folder / "run.json").write_text(json.dumps(record))


@pytest.fixture
def config(tmp_path: Path) -> BenchmarkMethodsConfig:
    (tmp_path / "out" / "runs").mkdir(parents=True)
    return BenchmarkMethodsConfig(inputs=(tmp_path / "data",), out=tmp_path / "out")


def silent(text: str) -> None:
    """Nobody listens."""


def fill(config: BenchmarkMethodsConfig, runner: Runner, methods: Sequence[str] = ("mae",)) -> list[str]:
    return Lane(config, runner, silent).run(cells(methods, [0.1, 1.0], [0]))


def test_run__one_pre_training_for_all_cells_and_a_whole_row_for_each(config: BenchmarkMethodsConfig) -> None:
    runner = Runner(config)
    assert fill(config, runner) == []
    assert runner.called.count("pretrain_mae") == runner.called.count("vessels") == 1
    rows = read_rows(config.out)
    assert set(rows) == {Cell("mae", "0.1", 0), Cell("mae", "1.0", 0)}
    content = rows[Cell("mae", "0.1", 0)].content
    assert content["budget"]["pretrain_steps"] == 2400
    assert [command.split()[1] for command in content["commands"]] == ["extract", "pretrain", "finetune", "evaluate"]
    text = json.dumps(content)
    assert str(config.out.parent) not in text, "no places of this machine"
    assert "$VASOMIM_DATA/arcade/syntax/val" in text
    assert json.loads((config.out / "pretrain_mae.json").read_text())["validations"][-1]["val/probe_r2"] == 0.5


def test_run__an_encoder_made_elsewhere_leaves_its_hash_and_no_place(
    config: BenchmarkMethodsConfig, tmp_path: Path
) -> None:
    weights = tmp_path / "secret" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"weights")
    config = replace(config, own=(f"mine={weights.parent}",))
    assert Lane(config, Runner(config), silent).run(cells([], [0.1], [0], config.own)) == []
    content = read_rows(config.out)[Cell("mine", "0.1", 0)].content
    assert content["elsewhere"] == {"sha256": hashlib.sha256(b"weights").hexdigest()}
    assert "--init OWN/mine" in content["commands"][0]
    assert "secret" not in json.dumps(content)


def test_run__again_does_nothing_and_rows_alone_suffice_elsewhere(
    config: BenchmarkMethodsConfig, tmp_path: Path
) -> None:
    fill(config, Runner(config))
    again = Runner(config)
    fill(config, again)
    elsewhere = BenchmarkMethodsConfig(inputs=config.inputs, out=config.out, runs=tmp_path / "other")
    there = Runner(elsewhere)
    fill(elsewhere, there)
    assert again.called == there.called == []


def test_run__goes_on_where_it_was_stopped(config: BenchmarkMethodsConfig) -> None:
    with pytest.raises(KeyboardInterrupt):
        fill(config, Runner(config, "finetune_mae_0.1_0", KeyboardInterrupt))
    assert read_rows(config.out) == {}
    after = Runner(config)
    assert fill(config, after) == []
    assert after.called[0] == "finetune_mae_0.1_0", "what was made stays made"


def test_run__a_failure_costs_its_cell_and_no_other(config: BenchmarkMethodsConfig) -> None:
    failures = fill(config, Runner(config, "evaluate_mae_0.1_0"), ["mae", "scratch"])
    assert failures == ["mae_0.1_0: as asked"]
    assert {cell.name for cell in read_rows(config.out)} == {"mae_1.0_0", "scratch_0.1_0", "scratch_1.0_0"}


def test_run__leaves_cells_of_other_lanes_alone(config: BenchmarkMethodsConfig) -> None:
    runner = Runner(config)
    with claimed(runs_of(config) / "mae_0.1_0.claim") as lock:
        assert lock is not None
        grid = cells(["mae"], [0.1, 1.0], [0])
        assert [one.state for one in states(config, grid, {})] == ["running", "not run"]
        fill(config, runner)
    assert [cell.name for cell in read_rows(config.out)] == ["mae_1.0_0"]


def test_run__cells_that_would_wait_come_last(config: BenchmarkMethodsConfig) -> None:
    runner = Runner(config)
    lane = Lane(config, runner, silent)
    with claimed(runs_of(config) / "pretrain_mae.lock"):
        for cell in cells(["mae", "scratch"], [0.1], [0]):
            lane.fill(cell, wait=False)
    assert runner.called == ["finetune_scratch_0.1_0", "evaluate_scratch_0.1_0"]


def test_run__what_other_settings_made_is_refused(config: BenchmarkMethodsConfig) -> None:
    fill(config, Runner(config))
    longer = BenchmarkMethodsConfig(
        inputs=config.inputs, out=config.out.parent / "more", runs=runs_of(config), unlabelled=("elsewhere",)
    )
    (failure, *_) = fill(longer, Runner(longer))
    assert "was made by other settings; give another --out and --runs" in failure
    with pytest.raises(MisuseError):
        Lane(longer, Runner(longer), silent).fill(Cell("mae", "0.1", 0), wait=True)


def test_states__cost_of_what_is_not_run(config: BenchmarkMethodsConfig) -> None:
    fill(config, Runner(config))
    found = states(config, cells(["mae", "unet", "pseudo_labels_third"], [0.1], [0, 1]), read_rows(config.out))
    by_name = {one.cell.name: one for one in found}
    assert by_name["mae_0.1_0"].state == "done"
    assert by_name["mae_0.1_1"].seconds == 400 * 16 / 4.0, "its pre-training is made"
    assert by_name["unet_0.1_0"].seconds == pytest.approx(3.61 * 400 * 16 / 4.0), "by the cost of its steps"
    third = (400 + 2400 / 3) * 16 / 4.0
    assert by_name["pseudo_labels_third_0.1_0"].seconds == pytest.approx(third), "its pre-training is a third as long"
    assert all(one.seconds is None for one in states(config, cells(["dino"], [0.1], [0]), {}))


def test_claimed__without_locks_everybody_may_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows there is no fcntl; no lane may wait there for what nobody can hold."""
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with claimed(tmp_path / "claim") as one, claimed(tmp_path / "claim", wait=True) as other:
        assert one is not None
        assert other is not None
    assert not is_claimed(tmp_path / "claim")


def test_call__a_killed_lane_leaves_its_claim_to_what_still_runs(tmp_path: Path) -> None:
    """No second lane may start what the orphan of a killed one is still writing."""
    statement = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    program = f"""
from pathlib import Path
from vasomim.benchmarks.methods.lanes import call_in_process_of_its_own
from vasomim.benchmarks.methods.locks import claimed
from vasomim.benchmarks.methods.plan import Job
with claimed(Path({str(tmp_path / "claim")!r})) as lock:
    job = Job("x", ("-n", "1", "-r", "1", {statement!r}), module="timeit")
    call_in_process_of_its_own(1)(job, [lock])
"""
    lane = subprocess.Popen([sys.executable, "-c", program])
    wait_for(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text() != "")
    orphan = int((tmp_path / "pid").read_text())
    try:
        lane.kill()
        lane.wait()
        assert is_claimed(tmp_path / "claim")
    finally:
        os.kill(orphan, signal.SIGKILL)
    wait_for(lambda: not is_claimed(tmp_path / "claim"))


def test_ended__stops_the_child_before_it_lets_go() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    with pytest.raises(KeyboardInterrupt), ended(child):
        raise KeyboardInterrupt
    assert child.poll() == -signal.SIGTERM


def wait_for(condition: object, seconds: float = 200) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)
