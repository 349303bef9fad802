"""What a cell runs: commands of the package, each with what it needs, as data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vasomim.benchmarks.methods.catalogue import Method, Start
from vasomim.benchmarks.methods.grid import Cell, method_of, own_runs
from vasomim.config import BenchmarkMethodsConfig

LAPTOP_ENCODER = "vit_tiny_patch16"
"""The encoder whose decoder the recipes set; any other takes its own."""


@dataclass(frozen=True)
class Job:
    """One command, run once for all cells that need what it makes."""

    name: str
    """Of the folder it writes, below that of the runs."""
    arguments: tuple[str, ...]
    """What follows `vasomim`, or the name of the module."""
    needs: tuple[Job, ...] = ()
    module: str = "vasomim"
    computing: tuple[str, ...] = ()
    """Further arguments, which do not change what is made: device and processes."""

    def all(self) -> Iterator[Job]:
        """This job after everything it needs, each once."""
        seen: dict[str, Job] = {}
        for job in self.needs:
            seen |= {one.name: one for one in job.all()}
        yield from {**seen, self.name: self}.values()


@dataclass(frozen=True)
class Plan:
    """The jobs of a cell."""

    start: Job | None
    """The pre-training, shared by all cells of a method."""
    finetune: Job
    evaluate: Job


def plan_of(cell: Cell, config: BenchmarkMethodsConfig) -> Plan:
    """Pre-training, fine-tuning and evaluation of a cell."""
    method, runs = method_of(cell.method), runs_of(config)
    start = None if method.start is None else start_job(cell.method, method.start, config)
    finetune = finetune_job(cell, method, start, config)
    evaluate = Job(
        f"evaluate_{cell.name}",
        (
            *("evaluate", str(data_of(config) / config.val), "--weights", str(runs / finetune.name)),
            *("--size", str(config.budget.size), "--out", str(runs / f"evaluate_{cell.name}")),
        ),
        (finetune,),
        computing=("--device", config.device),
    )
    return Plan(start, finetune, evaluate)


def finetune_job(cell: Cell, method: Method, start: Job | None, config: BenchmarkMethodsConfig) -> Job:
    """The same steps for every method and every share of labels; all labels of `train` may be used."""
    budget, runs = config.budget, runs_of(config)
    model = ("--model", f"{budget.encoder}_unet") if method.has_encoder else ()
    encoder = own_runs(config.own).get(cell.method) if start is None else runs / start.name
    return Job(
        f"finetune_{cell.name}",
        (
            *("finetune", str(data_of(config) / config.train), "--out", str(runs / f"finetune_{cell.name}")),
            *("--config", method.finetune, *model, "--init", str(encoder or "scratch")),
            *("--labels", cell.labels, "--run.seed", str(cell.seed), "--holdout", "0"),
            *lengths(budget.finetune_steps, budget.finetune_batch, budget.size),
        ),
        () if start is None else (start,),
        computing=computing(config),
    )


def start_job(name: str, start: Start, config: BenchmarkMethodsConfig) -> Job:
    """The pre-training of a method."""
    budget, runs = config.budget, runs_of(config)
    frames, needs = frames_of(start.frames, config)
    out = runs / f"pretrain_{name}"
    flags: list[str] = []
    if start.frames != "synthetic":
        vessels = extraction_job(start, config)
        flags += ["--vessels", str(runs / vessels.name)]
        needs = (*needs, vessels)
    if start.segmentor != "none":
        guide = segmentor_job(start, config)
        flags += ["--segmentor", str(runs / guide.name)]
        needs = (*needs, guide)
    if start.verb == "finetune":
        flags += ["--model", f"{budget.encoder}_unet", "--holdout", "0.05"]  # as much as pre-training holds out
    else:
        flags += ["--model", f"mae_{budget.encoder}"]
        if budget.encoder != LAPTOP_ENCODER:
            flags += ["--decoder-embed-dim", "none", "--decoder-depth", "none"]
    if budget.pretrain_lr is not None:
        flags += ["--lr", str(budget.pretrain_lr)]
    steps = max(1, round(start.share * budget.pretrain_steps))
    length = lengths(steps, budget.pretrain_batch, budget.size)
    arguments = (start.verb, *frames, "--out", str(out), "--config", start.recipe, *flags, *length, *start.flags)
    return Job(out.name, arguments, needs, computing=computing(config))


def frames_of(kind: str, config: BenchmarkMethodsConfig) -> tuple[list[str], tuple[Job, ...]]:
    """The frames to pre-train on, and what makes them."""
    real = [str(data_of(config) / part) for part in config.unlabelled]
    if kind == "real":
        return real, ()
    made = synthesis_job(config)
    folder = str(runs_of(config) / made.name)
    return ([folder] if kind == "synthetic" else [*real, folder]), (made,)


def synthesis_job(config: BenchmarkMethodsConfig) -> Job:
    """Synthetic frames with masks."""
    out = runs_of(config) / "synthetic"
    return Job(out.name, ("synthesize", "--out", str(out), "--num-frames", str(config.synthetic_frames)))


def extraction_job(start: Start, config: BenchmarkMethodsConfig) -> Job:
    """Vessels of the frames of a pre-training."""
    frames, needs = frames_of(start.frames, config)
    suffix = "" if start.frames == "real" else f"_{start.frames}"
    how = () if start.extraction == "default" else ("--method", start.extraction)
    out = runs_of(config) / f"{vessels_name(start)}{suffix}"
    return Job(out.name, ("extract", *frames, "--out", str(out), *how), needs)


def vessels_name(start: Start) -> str:
    """Of the folder of the vessels of the real frames."""
    return "vessels" if start.extraction == "default" else f"vessels_{start.extraction}"


def segmentor_job(start: Start, config: BenchmarkMethodsConfig) -> Job:
    """The segmentor, trained on the vessels of the real frames; or a damaged copy of it."""
    runs, budget = runs_of(config), config.budget
    real = Start(recipe=start.recipe, extraction=start.extraction)
    frames, _ = frames_of("real", config)
    vessels = extraction_job(real, config)
    out = runs / f"segmentor{vessels.name.removeprefix('vessels')}"
    length = lengths(budget.segmentor_steps, 16, budget.size)
    given = ("--vessels", str(runs / vessels.name), "--out", str(out), "--config", "segmentor_laptop", *length)
    trained = Job(out.name, ("segmentor", *frames, *given), (vessels,), computing=computing(config))
    if start.segmentor == "trained":
        return trained
    damaged = runs / f"{out.name}_damaged"
    return Job(damaged.name, (str(out), str(damaged)), (trained,), module="vasomim.benchmarks.methods.damage")


def lengths(steps: int, batch: int, size: int) -> tuple[str, ...]:
    """Flags of a budget."""
    return ("--steps", str(steps), "--batch-size", str(batch), "--img-size", str(size))


def computing(config: BenchmarkMethodsConfig) -> tuple[str, ...]:
    """Flags of a training that do not change what it makes."""
    return ("--device", config.device, "--num-workers", str(config.num_workers))


def data_of(config: BenchmarkMethodsConfig) -> Path:
    """The folder of the data sets; the working folder where none is given, for lists and tables."""
    return (config.inputs[0] if config.inputs else Path()).absolute()


def runs_of(config: BenchmarkMethodsConfig) -> Path:
    """The folder of weights and of all else that is made on the way."""
    return (config.out / "runs" if config.runs is None else config.runs).absolute()
