"""The verbs: what each is configured by, where it lives, and what it does in a line."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from vasomim._version import __version__
from vasomim.config import (
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
}


def nearest_verb(name: str) -> str:
    """A hint such as `did you mean pretrain?`, or the list of verbs."""
    near = get_close_matches(name, list(VERBS), 1)
    return f"did you mean {near[0]}?" if near else f"choose one of {', '.join(VERBS)}"


def overview() -> str:
    """The text of `vasomim --help`."""
    width = max(len(name) for name in VERBS)
    verbs = "\n".join(f"  {name:<{width}}  {verb.help}" for name, verb in VERBS.items())
    return f"""usage: vasomim VERB [INPUT ...] [--out DIR] [--config FILE] [flags]

Learn vessels in X-ray angiograms from few labels: extract, pre-train, fine-tune, evaluate, predict.

verbs:
{verbs}

  vasomim VERB --help   the flags of a verb, with their defaults (of a recipe too: add --config FILE)
  vasomim --version     {__version__}

Exit status: 0 done, 1 failed, 2 misused. Research use, not a medical device."""
