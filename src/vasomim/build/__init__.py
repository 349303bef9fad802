"""From settings to objects: the only place that knows both. Below this floor everything takes plain arguments."""

from vasomim.build.models import create_normalised, load_segmentor, set_statistics
from vasomim.build.pretraining import build_pretraining, build_views, needs_segmentor
from vasomim.build.running import (
    Length,
    build_batches,
    build_crop,
    build_length,
    build_schedule,
    build_settings,
    build_trainer,
)
from vasomim.build.segmentation import build_finetuning, build_loss, build_segmentor, model_arguments

__all__ = [
    "Length",
    "build_batches",
    "build_crop",
    "build_finetuning",
    "build_length",
    "build_loss",
    "build_pretraining",
    "build_schedule",
    "build_segmentor",
    "build_settings",
    "build_trainer",
    "build_views",
    "create_normalised",
    "load_segmentor",
    "model_arguments",
    "needs_segmentor",
    "set_statistics",
]
