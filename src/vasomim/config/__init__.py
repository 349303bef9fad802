"""Every setting of every verb, and the one door through which settings come in. Loads without torch."""

from vasomim.config.benchmarks import BenchmarkMethodsConfig, BenchmarkSpeedConfig
from vasomim.config.finetuning import FinetuneConfig
from vasomim.config.idle import idle_settings
from vasomim.config.loading import dump_config, load_config
from vasomim.config.pretraining import PretrainConfig
from vasomim.config.sections import (
    CropConfig,
    DicomConfig,
    MaskingConfig,
    OptimConfig,
    Precision,
    Rasteriser,
    RunConfig,
    TreeConfig,
)
from vasomim.config.settings import (
    DatasetsConfig,
    DemoConfig,
    DoctorConfig,
    EvaluateConfig,
    ExportConfig,
    ExtractConfig,
    InfoConfig,
    InspectConfig,
    PredictConfig,
    PrepareConfig,
    ReportConfig,
    SegmentorConfig,
    SynthesizeConfig,
)

__all__ = [
    "BenchmarkMethodsConfig",
    "BenchmarkSpeedConfig",
    "CropConfig",
    "DatasetsConfig",
    "DemoConfig",
    "DicomConfig",
    "DoctorConfig",
    "EvaluateConfig",
    "ExportConfig",
    "ExtractConfig",
    "FinetuneConfig",
    "InfoConfig",
    "InspectConfig",
    "MaskingConfig",
    "OptimConfig",
    "Precision",
    "PredictConfig",
    "PrepareConfig",
    "PretrainConfig",
    "Rasteriser",
    "ReportConfig",
    "RunConfig",
    "SegmentorConfig",
    "SynthesizeConfig",
    "TreeConfig",
    "dump_config",
    "idle_settings",
    "load_config",
]
