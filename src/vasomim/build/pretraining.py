"""Pre-training tasks from their settings. A method is a model around the encoder, a task, and the views it looks at."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from torch import nn

from vasomim.build.models import create_normalised, load_segmentor
from vasomim.build.running import build_crop
from vasomim.config import PretrainConfig
from vasomim.data.augment import JointCrop
from vasomim.errors import MisuseError
from vasomim.losses import reconstruction_loss
from vasomim.models.crossmae import CrossMAE
from vasomim.models.grey_as_color import GreyAsColor
from vasomim.models.hpm import HardPatchMiner
from vasomim.models.mae import MaskedAutoencoder
from vasomim.models.projection import ProjectedEncoder, PrototypeHead, norm_mlp
from vasomim.models.registry import create_model
from vasomim.models.simmim import SimMIM
from vasomim.models.sizes import DECODERS, bare_name
from vasomim.models.vit import VisionTransformer
from vasomim.ops.masking import guided_mask
from vasomim.tasks.amt import AMTTask
from vasomim.tasks.crossmae import CrossMAETask
from vasomim.tasks.deblurring import DeblurringTask
from vasomim.tasks.dino import DINOTask
from vasomim.tasks.hpm import HPMTask
from vasomim.tasks.moco import MoCoTask
from vasomim.tasks.pretraining import Loss, Masker, MaskingPlan, PretrainingTask
from vasomim.tasks.simmim import SimMIMTask

HEAD_DIM = 32
"""Channels of one attention head in the published decoder (512 / 16), kept when the width is set."""

Statistics = tuple[float, float]
"""Mean and standard deviation of the pixels in [0, 1]."""


def build_autoencoder(config: PretrainConfig, statistics: Statistics) -> MaskedAutoencoder:
    """Encoder and decoder of `config.model`."""
    mae = create_normalised(config.model, statistics, in_chans=config.channels, **mae_arguments(config))
    if not isinstance(mae, MaskedAutoencoder):
        raise MisuseError(f"model={config.model} is no masked autoencoder; take one of the mae_* models")
    if config.channels == 3:
        mae.input_norm = GreyAsColor(*statistics)
    return mae


def mae_arguments(config: PretrainConfig) -> dict[str, Any]:
    """What `create_model` needs beside the name to make this autoencoder again."""
    width = config.decoder_embed_dim
    decoder = {
        "decoder_embed_dim": width,
        "decoder_depth": config.decoder_depth,
        "decoder_num_heads": None if width is None else max(width // HEAD_DIM, 1),
    }
    return {"img_size": config.img_size, **{name: value for name, value in decoder.items() if value is not None}}


def build_encoder(config: PretrainConfig) -> VisionTransformer:
    """The encoder of `config.model` alone, with the fixed positions that it has in an autoencoder."""
    encoder = create_model(bare_name(config.model), img_size=config.img_size, fixed_positions=True)
    assert isinstance(encoder, VisionTransformer)
    return encoder


def build_vasomim(
    config: PretrainConfig, mae: nn.Module, *, masker: Masker = guided_mask, loss: Loss = reconstruction_loss
) -> PretrainingTask:
    """Guided masking and consistency, with the frozen segmentor where it has an effect.

    A method of one's own gives its masker or its loss by functools.partial: examples/own_guidance.py.
    """
    assert isinstance(mae, MaskedAutoencoder)
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
        prototype_weight=config.prototypes.weight,
        prototype_temperature=config.prototypes.temperature,
        masker=masker,
        loss=loss,
    )


def needs_segmentor(config: PretrainConfig) -> bool:
    """Whether the segmentor has any effect on VasoMIM with these settings."""
    return config.consistency_weight > 0 or config.masking.guidance == "co"


def build_amt(config: PretrainConfig, mae: nn.Module) -> AMTTask:
    """Masks driven by the class token's attention."""
    assert isinstance(mae, MaskedAutoencoder)
    return AMTTask(
        mae,
        mask_ratio=config.masking.mask_ratio,
        throw_ratio=config.amt.throw_ratio,
        start=config.amt.start,
        norm_pix_loss=config.norm_pix_loss,
    )


def build_hpm(config: PretrainConfig, mae: nn.Module) -> HPMTask:
    """Masks driven by predicted losses."""
    assert isinstance(mae, MaskedAutoencoder)
    return HPMTask(
        HardPatchMiner(mae),
        mask_ratio=config.masking.mask_ratio,
        hard_start=config.masking.guided_start,
        hard_end=config.masking.guided_end,
        momentum=config.hpm.momentum,
        ranking_weight=config.hpm.ranking_weight,
        norm_pix_loss=config.norm_pix_loss,
    )


def build_deblurring(config: PretrainConfig, mae: nn.Module) -> DeblurringTask:
    """Blurred frames in, sharp ones out."""
    assert isinstance(mae, MaskedAutoencoder)
    masking, sigma = config.masking, config.deblur.sigma
    return DeblurringTask(mae, mask_ratio=masking.mask_ratio, sigma=sigma, norm_pix_loss=config.norm_pix_loss)


def build_crossmae_model(config: PretrainConfig, statistics: Statistics) -> CrossMAE:
    """Encoder and cross-attention decoder, as wide and deep as that of the autoencoder."""
    decoder = {**DECODERS[bare_name(config.model)], **mae_arguments(config)}
    del decoder["img_size"]
    mean, std = statistics
    return CrossMAE(build_encoder(config), **decoder, mean=mean, std=std)


def build_crossmae(config: PretrainConfig, model: nn.Module) -> CrossMAETask:
    """A share of the hidden patches, read out one by one."""
    assert isinstance(model, CrossMAE)
    return CrossMAETask(
        model,
        mask_ratio=config.masking.mask_ratio,
        predict_ratio=config.crossmae.predict_ratio,
        norm_pix_loss=config.norm_pix_loss,
    )


def build_simmim(config: PretrainConfig, model: nn.Module) -> SimMIMTask:
    """Mask tokens in the encoder, a linear head.

    Raises:
        MisuseError: crops are no multiples of the mask unit.
    """
    assert isinstance(model, SimMIM)
    unit = config.simmim.mask_unit * model.patch_size
    if config.img_size % unit:
        raise MisuseError(
            f"img_size={config.img_size} is no multiple of {unit} px, the side of a mask unit "
            f"(simmim.mask_unit={config.simmim.mask_unit} patches of {model.patch_size}); change one of them"
        )
    return SimMIMTask(model, mask_ratio=config.masking.mask_ratio, mask_unit=config.simmim.mask_unit)


def build_moco_model(config: PretrainConfig, statistics: Statistics) -> ProjectedEncoder:
    """Encoder and projector."""
    encoder, own = build_encoder(config), config.mocov3
    encoder.patch_embed.requires_grad_(own.train_patch_embed)
    return ProjectedEncoder(encoder, norm_mlp(encoder.embed_dim, own.hidden_dim, own.out_dim, 3), *statistics)


def build_moco(config: PretrainConfig, student: nn.Module) -> MoCoTask:
    """Contrast between two views."""
    assert isinstance(student, ProjectedEncoder)
    own = config.mocov3
    predictor = norm_mlp(own.out_dim, own.hidden_dim, own.out_dim, 2)
    return MoCoTask(student, predictor, temperature=own.temperature, momentum=own.momentum)


def build_dino_model(config: PretrainConfig, statistics: Statistics) -> ProjectedEncoder:
    """Encoder and prototype head.

    Raises:
        MisuseError: small crops are no multiples of the patch.
    """
    encoder, own = build_encoder(config), config.dino
    if own.local_crops and own.local_size % encoder.patch_size:
        raise MisuseError(
            f"dino.local_size={own.local_size} is no multiple of the patch size {encoder.patch_size}; change it"
        )
    head = PrototypeHead(encoder.embed_dim, own.hidden_dim, own.bottleneck_dim, own.num_prototypes)
    return ProjectedEncoder(encoder, head, *statistics)


def build_dino(config: PretrainConfig, student: nn.Module) -> DINOTask:
    """Self-distillation between views."""
    assert isinstance(student, ProjectedEncoder)
    own = config.dino
    return DINOTask(
        student,
        own.num_prototypes,
        student_temperature=own.student_temperature,
        teacher_temperatures=own.teacher_temperatures,
        temperature_warmup=own.temperature_warmup,
        fixed_share=own.fixed_share,
        momentum=own.momentum,
        center_momentum=own.center_momentum,
    )


def dino_views(config: PretrainConfig) -> list[JointCrop]:
    """A second large crop, and the small ones."""
    small = dataclasses.replace(config.crop, scale=config.dino.local_scale)
    return [
        build_crop(config.crop, config.img_size),
        *(build_crop(small, config.dino.local_size) for _ in range(config.dino.local_crops)),
    ]


@dataclass(frozen=True)
class PretrainingMethod:
    """How a method is made from settings."""

    model: Callable[[PretrainConfig, Statistics], nn.Module]
    """The encoder and what is trained around it; `config.init` is loaded into this."""
    task: Callable[[PretrainConfig, nn.Module], nn.Module]
    """Model -> task; see `vasomim.tasks.interface` for what a task offers."""
    views: Callable[[PretrainConfig], Sequence[JointCrop]] = lambda config: ()  # noqa: ARG005
    """Further views of each frame, in the batch as `view1`, `view2`, ..."""


METHODS: dict[str, PretrainingMethod] = {
    "vasomim": PretrainingMethod(build_autoencoder, build_vasomim),
    "simmim": PretrainingMethod(lambda config, stats: SimMIM(build_encoder(config), *stats), build_simmim),
    "amt": PretrainingMethod(build_autoencoder, build_amt),
    "hpm": PretrainingMethod(build_autoencoder, build_hpm),
    "deblur": PretrainingMethod(build_autoencoder, build_deblurring),
    "crossmae": PretrainingMethod(build_crossmae_model, build_crossmae),
    "mocov3": PretrainingMethod(
        build_moco_model, build_moco, lambda config: [build_crop(config.crop, config.img_size)]
    ),
    "dino": PretrainingMethod(build_dino_model, build_dino, dino_views),
}
"""Every method by its name in `PretrainConfig.method`. Add a line to try one of your own: examples/own_masking.py."""


def method_of(config: PretrainConfig) -> PretrainingMethod:
    """The method that the settings name.

    Raises:
        MisuseError: there is none of that name.
    """
    if config.method not in METHODS:
        near = get_close_matches(config.method, METHODS) or list(METHODS)
        raise MisuseError(f"no method is called {config.method!r}; did you mean {' or '.join(near)}?")
    return METHODS[config.method]


def build_pretraining(
    config: PretrainConfig, statistics: Statistics, start: Callable[[nn.Module], object] | None = None
) -> nn.Module:
    """The pre-training task of `config.method`.

    Args:
        config: the settings.
        statistics: mean and standard deviation of the pixels.
        start: called with the model before the task makes copies of it, to load weights into it.

    Raises:
        MisuseError: there is no such method, or its settings do not fit the model.
    """
    method = method_of(config)
    model = method.model(config, statistics)
    if start is not None:
        start(model)
    return method.task(config, model)


def build_views(config: PretrainConfig) -> Sequence[JointCrop]:
    """Further views of each frame that the method looks at."""
    return method_of(config).views(config)
