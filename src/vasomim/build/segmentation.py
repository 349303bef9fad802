"""Supervised tasks: the segmentor on extracted anatomy, fine-tuning on labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from vasomim.build.models import create_normalised
from vasomim.config import FinetuneConfig, SegmentorConfig
from vasomim.errors import MisuseError
from vasomim.losses import soft_cldice_loss, soft_dice_loss
from vasomim.models.unet import PlainUNet
from vasomim.tasks.partial import PartialLabelsTask
from vasomim.tasks.segmentation import SegmentationLoss, SegmentationTask, halving_weights

WIDEST_RADIUS = 0.045
"""Radius of the widest vessels as a share of a crop's side; crops of 40 % of a frame's area show them 1.6 times as
large as the frame does."""


def widest_radius(img_size: int) -> int:
    """Radius in pixels, rounded up, that vessels hardly exceed in crops of `img_size`; at least 12."""
    return max(12, math.ceil(WIDEST_RADIUS * img_size))


def build_segmentor(config: SegmentorConfig, statistics: tuple[float, float]) -> SegmentationTask:
    """UNeXt on extracted anatomy: 0.5 BCE + 0.5 Dice over the whole batch (method: step 4)."""
    model = create_normalised(config.model, statistics)
    return SegmentationTask(model, build_loss(dice=0.5, bce=0.5), target="vessels")


def build_loss(*, dice: float, bce: float, cldice: float = 0.0, cldice_iterations: int = 12) -> SegmentationLoss:
    """A weighted sum of segmentation losses; terms of weight 0 are not computed."""
    losses: Mapping[str, tuple[float, Callable[[Tensor, Tensor], Tensor]]] = {
        "dice": (dice, soft_dice_loss),
        "bce": (bce, binary_cross_entropy_with_logits),
        "cldice": (cldice, partial(soft_cldice_loss, iterations=cldice_iterations)),
    }
    active = {name: pair for name, pair in losses.items() if pair[0] > 0}
    return lambda logits, target: {name: weight * loss(logits, target) for name, (weight, loss) in active.items()}


def build_finetuning(
    config: FinetuneConfig, statistics: tuple[float, float], labelled: Sequence[bool] = ()
) -> SegmentationTask | PartialLabelsTask:
    """The segmentation task, from random weights; `labelled` says so of each frame where a tree is learned, too."""
    arguments = {"drop_path_rate": config.drop_path_rate} if has_encoder(config) else {}
    model = create_normalised(config.model, statistics, **model_arguments(config), **arguments)
    loss = build_loss(
        dice=config.dice_weight,
        bce=config.bce_weight,
        cldice=config.cldice_weight,
        cldice_iterations=widest_radius(config.img_size),
    )
    if config.tree.learn:
        return PartialLabelsTask(model, loss, labelled)
    scales: tuple[float, ...] = ()
    if isinstance(model, PlainUNet):
        check_size(config, model)
        scales = halving_weights(len(model.heads))
    return SegmentationTask(model, loss, target="mask", scale_weights=scales)


def model_arguments(config: FinetuneConfig) -> dict[str, int]:
    """What makes the architecture, beside its name."""
    strided = {"stride": config.stride} if config.stride > 1 else {}
    return {"img_size": config.img_size, **strided, **({"num_classes": 2} if config.tree.learn else {})}


def has_encoder(config: FinetuneConfig) -> bool:
    """Whether the model is built around a ViT."""
    return config.model.startswith("vit_")


def check_size(config: FinetuneConfig, model: PlainUNet) -> None:
    """Crops can be halved as often as the model does.

    Raises:
        MisuseError: they cannot.
    """
    if config.img_size % model.multiple:
        near = max(round(config.img_size / model.multiple), 1) * model.multiple
        raise MisuseError(
            f"img_size={config.img_size} is no multiple of {model.multiple}, which {config.model} needs at this size; "
            f"give --img-size {near}"
        )
