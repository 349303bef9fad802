"""Every setting of every verb, and the one door through which settings come in. Loads without torch."""

from vasomim.config.loading import dump_config, load_config
from vasomim.config.sections import CropConfig, MaskingConfig, OptimConfig, Precision, Rasteriser, RunConfig
from vasomim.config.settings import (
    DemoConfig,
    DoctorConfig,
    EvaluateConfig,
    ExtractConfig,
    FinetuneConfig,
    InfoConfig,
    PredictConfig,
    PretrainConfig,
    SegmentorConfig,
    SynthesizeConfig,
)

__all__ = [
    "CropConfig",
    "DemoConfig",
    "DoctorConfig",
    "EvaluateConfig",
    "ExtractConfig",
    "FinetuneConfig",
    "InfoConfig",
    "MaskingConfig",
    "OptimConfig",
    "Precision",
    "PredictConfig",
    "PretrainConfig",
    "Rasteriser",
    "RunConfig",
    "SegmentorConfig",
    "SynthesizeConfig",
    "dump_config",
    "load_config",
]
