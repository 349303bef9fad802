"""The verbs: what each is configured by, where it lives, and what it does in a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from vasomim._version import __version__
from vasomim.config import (
    BenchmarkMethodsConfig,
    BenchmarkSpeedConfig,
    DatasetsConfig,
    DemoConfig,
    DoctorConfig,
    EvaluateConfig,
    ExportConfig,
    ExtractConfig,
    FinetuneConfig,
    InfoConfig,
    InspectConfig,
    PredictConfig,
    PrepareConfig,
    PretrainConfig,
    ReportConfig,
    SegmentorConfig,
    SynthesizeConfig,
)
from vasomim.errors import MisuseError


@dataclass(frozen=True)
class Verb:
    """A verb of the command line."""

    config: type[Any]
    """Its settings, from which its flags are made."""
    module: str
    """Holds `run(config, *, json: bool, verbose: bool) -> int`; imported only when the verb is chosen."""
    help: str
    needs_inputs: bool = True
    """Refused without any INPUT."""


VERBS: dict[str, Verb] = {
    "demo": Verb(DemoConfig, "vasomim.commands.demo", "the whole chain in a few minutes, on synthetic frames", False),
    "info": Verb(InfoConfig, "vasomim.commands.info", "versions, devices, models and recipes at hand", False),
    "doctor": Verb(DoctorConfig, "vasomim.commands.doctor", "audit data before training, and say how to mend it"),
    "synthesize": Verb(
        SynthesizeConfig, "vasomim.commands.synthesize", "make synthetic angiograms with exact masks", False
    ),
    "extract": Verb(ExtractConfig, "vasomim.commands.extract", "extract vessels from frames without any label"),
    "prepare": Verb(PrepareConfig, "vasomim.commands.prepare", "pack frames for fast reading or transport"),
    "segmentor": Verb(
        SegmentorConfig, "vasomim.commands.segmentor", "train the vessel segmentor that guides pre-training"
    ),
    "pretrain": Verb(
        PretrainConfig, "vasomim.commands.pretrain", "pre-train a Vision Transformer on unlabelled frames"
    ),
    "finetune": Verb(FinetuneConfig, "vasomim.commands.finetune", "fine-tune for segmentation with few labels"),
    "evaluate": Verb(EvaluateConfig, "vasomim.commands.evaluate", "measure a segmenter or its masks against labels"),
    "predict": Verb(PredictConfig, "vasomim.commands.predict", "segment vessels in files or folders"),
    "export": Verb(ExportConfig, "vasomim.commands.export", "write a segmenter for ONNX Runtime or OpenVINO"),
    "report": Verb(ReportConfig, "vasomim.commands.report", "make a run's report.html anew from what it left"),
    "datasets": Verb(DatasetsConfig, "vasomim.commands.datasets", "list, fetch and verify public data sets", False),
    "inspect": Verb(InspectConfig, "vasomim.commands.inspect", "say what weight files are; convert them for others"),
    "benchmark speed": Verb(
        BenchmarkSpeedConfig,
        "vasomim.commands.benchmark_speed",
        "time each stage on this machine against a plain reference",
        False,
    ),
    "benchmark methods": Verb(
        BenchmarkMethodsConfig,
        "vasomim.commands.benchmark_methods",
        "compare pre-training methods and ablations on one grid: rows, tables, figures",
        False,
    ),
}
"""By name; a name of two words, such as `benchmark methods`, is one of several parts of its first word."""


def find_verb(arguments: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The verb that the arguments begin with, and what follows it.

    Raises:
        MisuseError: there is none of that name; the message names the nearest, or the parts of a verb of two words.
    """
    for count in (2, 1):
        name = " ".join(arguments[:count])
        if name in VERBS and len(arguments) >= count:
            return name, arguments[count:]
    first = arguments[0]
    if parts := parts_of(first):
        given = arguments[1] if len(arguments) > 1 else "nothing"
        raise MisuseError(f"got {given} after {first}, need one of {', '.join(parts)}")
    raise MisuseError(f"unknown verb {first!r}; {nearest_verb(first)}")


def parts_of(first: str) -> list[str]:
    """Second words of the verbs of two words that begin with `first`."""
    return [name.partition(" ")[2] for name in VERBS if name.startswith(f"{first} ")]


def nearest_verb(name: str) -> str:
    """A hint such as `did you mean pretrain?`, or the list of verbs."""
    near = get_close_matches(name, list(VERBS), 1)
    return f"did you mean {near[0]}?" if near else f"choose one of {', '.join(VERBS)}"


def overview(first: str | None = None) -> str:
    """The text of `vasomim --help`; of a verb of two words, with its first word, only its parts."""
    shown = {name: verb for name, verb in VERBS.items() if first is None or name.startswith(f"{first} ")}
    width = max(len(name) for name in shown)
    verbs = "\n".join(f"  {name:<{width}}  {verb.help}" for name, verb in shown.items())
    if first is not None:
        return f"usage: vasomim {first} PART [INPUT ...] [--out DIR] [--config FILE] [flags]\n\n{verbs}"
    return f"""usage: vasomim VERB [INPUT ...] [--out DIR] [--config FILE] [flags]

Learn vessels in X-ray angiograms from few labels: extract, pre-train, fine-tune, evaluate, predict.

verbs:
{verbs}

  vasomim VERB --help   the flags of a verb, with their defaults (of a recipe too: add --config FILE)
  vasomim --version     {__version__}

Exit status: 0 done, 1 failed, 2 misused. Research use, not a medical device."""
