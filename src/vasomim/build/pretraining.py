"""Pre-training tasks from their settings."""

from __future__ import annotations

from typing import Any

from vasomim.build.models import create_normalised, load_segmentor
from vasomim.config import PretrainConfig
from vasomim.errors import MisuseError
from vasomim.models.mae import MaskedAutoencoder
from vasomim.tasks.pretraining import MaskingPlan, PretrainingTask

HEAD_DIM = 32
"""Channels of one attention head in the published decoder (512 / 16), kept when the width is set."""


def build_pretraining(config: PretrainConfig, statistics: tuple[float, float]) -> PretrainingTask:
    """The pre-training task: autoencoder, masking plan, and the frozen segmentor where it has an effect."""
    mae = create_normalised(config.model, statistics, **mae_arguments(config))
    if not isinstance(mae, MaskedAutoencoder):
        raise MisuseError(f"model={config.model} is no masked autoencoder; take one of the mae_* models")
    masking = config.masking
    plan = MaskingPlan(
        guidance=masking.guidance,
        mask_ratio=masking.mask_ratio,
        eta=masking.eta,
        guided_start=masking.guided_start,
        guided_end=masking.guided_end,
    )
    return PretrainingTask(
        mae,
        plan,
        load_segmentor(config.segmentor) if needs_segmentor(config) else None,
        norm_pix_loss=config.norm_pix_loss,
        consistency_weight=config.consistency_weight,
    )


def mae_arguments(config: PretrainConfig) -> dict[str, Any]:
    """What `create_model` needs beside the name to make this autoencoder again."""
    width = config.decoder_embed_dim
    decoder = {
        "decoder_embed_dim": width,
        "decoder_depth": config.decoder_depth,
        "decoder_num_heads": None if width is None else max(width // HEAD_DIM, 1),
    }
    return {"img_size": config.img_size, **{name: value for name, value in decoder.items() if value is not None}}


def needs_segmentor(config: PretrainConfig) -> bool:
    """Whether the segmentor has any effect in this run."""
    return config.consistency_weight > 0 or config.masking.guidance == "co"
