"""Settings of `vasomim benchmark`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from vasomim.config.checks import at_least, check


@dataclass(frozen=True, kw_only=True)
class BudgetConfig:
    """What every cell of a grid is given; part of the identity of its row."""

    encoder: str = "vit_tiny_patch16"
    """Encoder of all methods that have one."""
    pretrain_steps: int = 2400
    """Optimiser steps of every pre-training, supervised ones included."""
    pretrain_batch: int = 16
    """Samples in each of them."""
    finetune_steps: int = 400
    """Optimiser steps of every fine-tuning, whatever the share of labels."""
    finetune_batch: int = 16
    """Samples in each of them."""
    segmentor_steps: int = 300
    """Optimiser steps of the segmentor that guides, 16 samples each."""
    pretrain_lr: float | None = None
    """Peak learning rate of every pre-training; none takes that of its recipe."""
    size: int = 224
    """Side of the crops, and of the frames that are scored."""

    def __post_init__(self) -> None:
        names = ("pretrain_steps", "pretrain_batch", "finetune_steps", "finetune_batch", "segmentor_steps", "size")
        check(*(at_least(name, getattr(self, name), 1) for name in names))


@dataclass(frozen=True, kw_only=True)
class BenchmarkMethodsConfig:
    """Compare pre-training methods: methods x shares of labels x seeds at equal steps; rows, tables, figures."""

    inputs: tuple[Path, ...] = ()
    """The folder that holds the data sets below."""
    out: Path = Path("benchmark")
    """Folder of the rows: one JSON and one CSV for each finished cell. Several lanes may share it."""
    runs: Path | None = None
    """Folder of weights and whatever else is made on the way; none is OUT/runs."""
    methods: tuple[str, ...] = ()
    """Methods and ablations by name; `main`, `ablations` and `all` stand for many. Left out: main; of a table, those
    that have a row."""
    own: tuple[str, ...] = ()
    """Encoders made elsewhere, as NAME=RUN: fine-tuned, scored and tested as the others."""
    labels: tuple[float, ...] = ()
    """Shares of the labels. Left out: 0.01 0.05 0.1 0.25 1.0; of a table, those that have a row."""
    seeds: tuple[int, ...] = ()
    """Seeds of label subset, order, augmentation and new weights, by which methods are paired. Left out: 0 1 2; of a
    table, those that have a row."""
    unlabelled: tuple[str, ...] = ("arcade/syntax/train", "arcade/stenosis_352/train", "danilov_352")
    """Frames to pre-train on, below INPUT; their labels are not read."""
    train: str = "arcade/syntax/train"
    """Labelled frames to fine-tune on, below INPUT."""
    val: str = "arcade/syntax/val"
    """Labelled frames to score, below INPUT."""
    synthetic_frames: int = 4000
    """Frames made for the methods that learn from synthetic ones."""
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    list: bool = False
    """Say which cells are done, running or not run, and what they may cost; run nothing."""
    table: bool = False
    """Write tables and figures of the rows in OUT; run nothing."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    threads: int = 0
    """Processor threads of each run; 0 leaves that to torch."""
    num_workers: int = 1
    """Processes that read and augment frames."""

    def __post_init__(self) -> None:
        check(
            *(
                (bool(re.fullmatch(r"[A-Za-z]\w*=.+", one)), f"own must be NAME=RUN, such as rows=runs/rows, got {one}")
                for one in self.own
            ),
            (
                all(0 < share <= 1 for share in self.labels),
                f"labels must be shares above 0 and at most 1, got {' '.join(map(str, self.labels))}",
            ),
            at_least("seeds", min(self.seeds, default=0), 0),
            at_least("synthetic_frames", self.synthetic_frames, 1),
            at_least("threads", self.threads, 0),
            at_least("num_workers", self.num_workers, 0),
            (not (self.list and self.table), "list and table are two things; ask for one at a time"),
        )


STAGES = ("extract", "extract_reference", "vesselness", "mask", "data", "step", "step_bf16", "infer")
"""What `benchmark speed` can time, in its order."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkSpeedConfig:
    """Time each stage against what a competent user writes first, in turns on this machine, and name its limits."""

    out: Path | None = None
    """Folder for speed.json; without it the result is only printed."""
    stages: tuple[str, ...] = STAGES
    """Which of them to time."""
    threads: int = 1
    """Threads that each side computes in. With one, times are processor time, which other load disturbs less."""
    quick: bool = False
    """Small networks and few rounds, for a look in seconds; such times are no result."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.stages if name not in STAGES]
        check(
            at_least("threads", self.threads, 1),
            (not unknown, f"stages must be among {', '.join(STAGES)}, got {', '.join(unknown)}"),
            (bool(self.stages), "stages must name at least one"),
        )
