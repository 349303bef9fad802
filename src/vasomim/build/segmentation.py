"""Supervised tasks: the segmentor on extracted anatomy, fine-tuning on labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from vasomim.build.models import create_normalised
from vasomim.config import FinetuneConfig, SegmentorConfig
from vasomim.losses import soft_cldice_loss, soft_dice_loss
from vasomim.tasks.segmentation import SegmentationLoss, SegmentationTask


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


def build_finetuning(config: FinetuneConfig, statistics: tuple[float, float]) -> SegmentationTask:
    """The segmentation task, from random weights."""
    model = create_normalised(config.model, statistics, img_size=config.img_size, drop_path_rate=config.drop_path_rate)
    loss = build_loss(dice=config.dice_weight, bce=config.bce_weight, cldice=config.cldice_weight)
    return SegmentationTask(model, loss, target="mask")
