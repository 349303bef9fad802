"""Every setting of every verb, and the one door through which settings come in. Loads without torch."""

from vasomim.config.loading import dump_config, load_config
from vasomim.config.methods import idle_settings
from vasomim.config.sections import CropConfig, MaskingConfig, OptimConfig, Precision, Rasteriser, RunConfig
from vasomim.config.settings import (
    DemoConfig,
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
    "idle_settings",
    "load_config",
]
