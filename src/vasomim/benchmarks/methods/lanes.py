"""A lane: takes one free cell after another, runs its jobs, writes its row. Several lanes share a folder."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vasomim.benchmarks.methods.grid import Cell, method_of, own_runs
from vasomim.benchmarks.methods.locks import Lock, claimed, is_claimed
from vasomim.benchmarks.methods.plan import Job, Plan, data_of, plan_of, runs_of
from vasomim.benchmarks.methods.rows import budget_of, data_names, write_row
from vasomim.config import BenchmarkMethodsConfig
from vasomim.engine.run_folder import git_commit
from vasomim.errors import MisuseError, VasomimError
from vasomim.files import sha256, write_text
from vasomim.models.weight_files import find_weights

Call = Callable[[Job, Sequence[Lock]], None]
"""Runs a job to its end or raises; the locks stay taken for as long as anything of it lives."""
Say = Callable[[str], None]
VALIDATED = ("val/reconstruction", "val/consistency", "val/probe_r2", "val/dice", "val/cldice")


class Lane:
    """One worker on a grid."""

    def __init__(self, config: BenchmarkMethodsConfig, call: Call, say: Say) -> None:
        """Work below the folders of `config`; `call` runs a job."""
        self.config, self.call, self.say = config, call, say
        self.runs, self.own = runs_of(config), own_runs(config.own)

    def run(self, cells: Sequence[Cell]) -> list[str]:
        """Fill all cells that are free; what failed, in words.

        Cells whose pre-training another lane is making come last: there may be nothing to wait for by then.
        """
        failures: dict[str, str] = {}
        for wait in (False, True):
            for cell in cells:
                if cell.name not in failures and not self.has_row(cell):
                    try:
                        self.fill(cell, wait=wait)
                    except VasomimError as problem:
                        failures[cell.name] = str(problem)
                        self.say(f"{cell.name} failed: {problem}")
        return [f"{name}: {problem}" for name, problem in failures.items()]

    def has_row(self, cell: Cell) -> bool:
        """Whether the cell is finished."""
        return (self.config.out / f"{cell.name}.json").is_file()

    def fill(self, cell: Cell, *, wait: bool) -> None:
        """Run the jobs of a cell and write its row, unless another lane has the cell or makes what it needs."""
        plan = plan_of(cell, self.config)
        with claimed(self.runs / f"{cell.name}.claim") as claim:
            if claim is None or self.has_row(cell) or (not wait and self.waits(plan)):
                return
            if plan.start is not None:
                self.make_all(plan.start, [claim])
                self.write_pretraining(cell.method, plan.start)
            seconds = self.make(plan.finetune, [claim])
            self.make(plan.evaluate, [claim])
            row = self.row_of(cell, plan, seconds)
            write_row(self.config.out, cell, row, self.read(plan.evaluate, "per_image.csv"))
            self.say(f"{cell.name}: Dice {row['evaluation']['metrics']['dice']['mean']:.4f}")

    def waits(self, plan: Plan) -> bool:
        """Whether another lane is making what this cell needs."""
        needed = [] if plan.start is None else list(plan.start.all())
        return any(is_claimed(self.lock_of(job)) for job in needed)

    def make_all(self, job: Job, claims: Sequence[Lock]) -> None:
        """A job after everything it needs."""
        for one in job.all():
            self.make(one, claims)

    def make(self, job: Job, claims: Sequence[Lock]) -> float:
        """Run a job unless it was run before; the seconds it took.

        Raises:
            MisuseError: its folder was made by another command.
        """
        with claimed(self.lock_of(job), wait=True) as lock:
            assert lock is not None
            command = self.spelled(job)
            before = self.note_of(job)
            if before is not None and before["command"] != command:
                raise MisuseError(f"{self.runs / job.name} was made by other settings; give another --out and --runs")
            if before is not None:
                return float(before["seconds"])
            start = time.monotonic()
            self.say(command)
            self.call(job, [*claims, lock])
            seconds = time.monotonic() - start
            write_text(self.runs / f"{job.name}.done", json.dumps({"command": command, "seconds": seconds}) + "\n")
            return seconds

    def lock_of(self, job: Job) -> Path:
        """Where whoever makes a job says so."""
        return self.runs / f"{job.name}.lock"

    def note_of(self, job: Job) -> Mapping[str, Any] | None:
        """What was noted when a job ended; None where it has not."""
        path = self.runs / f"{job.name}.done"
        return json.loads(path.read_text()) if path.is_file() else None

    def spelled(self, job: Job) -> str:
        """A job as one would type it, without the places of this machine."""
        program = "vasomim" if job.module == "vasomim" else f"python -m {job.module}"
        return self.anonymous(" ".join([program, *job.arguments]))

    def anonymous(self, text: str) -> str:
        """Text without the places of this machine."""
        for name, run in self.own.items():
            text = text.replace(str(run), f"OWN/{name}")
        return text.replace(str(self.runs), "RUNS").replace(str(data_of(self.config)), "$VASOMIM_DATA")

    def read(self, job: Job, name: str) -> str:
        """A file that a job has left."""
        return (self.runs / job.name / name).read_text(encoding="utf-8")

    def row_of(self, cell: Cell, plan: Plan, seconds: float) -> dict[str, Any]:
        """What is kept of a finished cell."""
        row = {
            "method": cell.method,
            "labels": cell.labels,
            "seed": cell.seed,
            "budget": dict(budget_of(method_of(cell.method), self.config.budget)),
            "data": dict(data_names(method_of(cell.method), self.config)),
            **self.elsewhere(cell),
            "commands": [self.spelled(job) for job in plan.evaluate.all()],
            "finetune_seconds": round(seconds),
            "hardware": hardware(self.config),
            "commit": (git_commit() or {}).get("commit"),
            "run": self.facts_of(plan.finetune),
            "evaluation": json.loads(self.read(plan.evaluate, "evaluation.json")),
        }
        return dict(json.loads(self.anonymous(json.dumps(row))))

    def elsewhere(self, cell: Cell) -> dict[str, Any]:
        """Which encoder was given, where the grid did not make it."""
        run = self.own.get(cell.method)
        return {} if run is None else {"elsewhere": {"sha256": sha256(find_weights(run))}}

    def write_pretraining(self, method: str, job: Job) -> None:
        """What a pre-training came to: held-out numbers at each validation, and its speed."""
        path = self.config.out / f"pretrain_{method}.json"
        if path.is_file():
            return
        lines = [json.loads(line) for line in self.read(job, "metrics.jsonl").splitlines()]
        validations = [{k: v for k, v in line.items() if k in ("step", *VALIDATED)} for line in lines]
        speeds = sorted(line["samples_per_second"] for line in lines if "samples_per_second" in line) or [0.0]
        content = {
            "command": self.spelled(job),
            "budget": dict(budget_of(method_of(method), self.config.budget)),
            "hardware": hardware(self.config),
            "validations": [line for line in validations if len(line) > 1],
            "samples_per_second": {"median": speeds[len(speeds) // 2], "min": speeds[0], "max": speeds[-1]},
            "run": self.facts_of(job),
        }
        write_text(path, self.anonymous(json.dumps(content, indent=1)) + "\n")

    def facts_of(self, job: Job) -> dict[str, Any]:
        """Versions, data fingerprint and last logged values of a training."""
        record = json.loads(self.read(job, "run.json"))
        last = json.loads(self.read(job, "metrics.jsonl").splitlines()[-1])
        return {"versions": record["versions"], "git": record["git"], "data": record["facts"]["data"], "last": last}


def hardware(config: BenchmarkMethodsConfig) -> str:
    """What the numbers of a row were computed on."""
    threads = f"{config.threads} thread(s) a run" if config.threads else "threads as torch chooses"
    cards = "" if config.device == "cpu" else graphics_cards()
    return ", ".join(filter(None, [f"{os.cpu_count()} CPU cores", platform.machine(), cards, threads]))


def graphics_cards() -> str:
    """Names of NVIDIA cards as their driver gives them; empty where there is none."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    return " + ".join(line.strip() for line in told.splitlines())


def call_in_process_of_its_own(threads: int) -> Call:
    """Jobs as commands in new processes: what one leaves in memory does not burden the next."""
    environment = {**os.environ, **({"OMP_NUM_THREADS": str(threads)} if threads else {})}

    def call(job: Job, locks: Sequence[Lock]) -> None:
        command = [sys.executable, "-m", job.module, *job.arguments, *job.computing]
        # The child keeps the locks open: they outlive this process for as long as the child still writes.
        child = subprocess.Popen(
            command,
            env=environment,
            pass_fds=[lock.fileno() for lock in locks],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        with ended(child):
            status = child.wait()
        if status:
            raise VasomimError(f"`{' '.join(['vasomim', *job.arguments[:1]])}` ended with status {status}; see above")

    return call


@contextmanager
def ended(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stop the child where we are stopped, and give it the time to save."""
    try:
        yield
    except BaseException:
        child.terminate()
        child.wait()
        raise
