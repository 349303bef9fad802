"""No task waits for its device: tensors of the meta device have no numbers, and whoever looks at one fails."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from method_tools import MIDWAY, SIZE, make_batch, make_encoder, make_mae
from torch import nn

from vasomim.losses import soft_dice_loss
from vasomim.models.crossmae import CrossMAE
from vasomim.models.hpm import HardPatchMiner
from vasomim.models.projection import ProjectedEncoder, PrototypeHead, norm_mlp
from vasomim.models.registry import create_model
from vasomim.models.simmim import SimMIM
from vasomim.tasks.amt import AMTTask
from vasomim.tasks.crossmae import CrossMAETask
from vasomim.tasks.deblurring import DeblurringTask
from vasomim.tasks.dino import DINOTask
from vasomim.tasks.hpm import HPMTask
from vasomim.tasks.moco import MoCoTask
from vasomim.tasks.partial import PartialLabelsTask
from vasomim.tasks.pretraining import MaskingPlan, PretrainingTask
from vasomim.tasks.segmentation import SegmentationTask
from vasomim.tasks.simmim import SimMIMTask

TASKS: dict[str, Callable[[], nn.Module]] = {
    "vasomim": lambda: PretrainingTask(make_mae(), MaskingPlan(), create_model("unext_test"), prototype_weight=0.1),
    "mae": lambda: PretrainingTask(make_mae(), MaskingPlan(guidance="none"), consistency_weight=0.0),
    "amt": lambda: AMTTask(make_mae(), start=0.0),
    "hpm": lambda: HPMTask(HardPatchMiner(make_mae())),
    "deblurring": lambda: DeblurringTask(make_mae(), sigma=0),
    "crossmae": lambda: CrossMAETask(CrossMAE(make_encoder(), 32, 2, 2)),
    "simmim": lambda: SimMIMTask(SimMIM(make_encoder())),
    "moco": lambda: MoCoTask(ProjectedEncoder(make_encoder(), norm_mlp(32, 24, 16, 3)), norm_mlp(16, 24, 16, 2)),
    "dino": lambda: DINOTask(ProjectedEncoder(make_encoder(), PrototypeHead(32, 24, 16, 12)), 12),
    "partial labels": lambda: PartialLabelsTask(
        create_model("vit_test_unet", img_size=SIZE, num_classes=2),
        lambda *pair: {"dice": soft_dice_loss(*pair)},
        (True, False) * 8,
    ),
    "segmentation": lambda: SegmentationTask(
        create_model("vit_test_unet", img_size=SIZE), lambda *pair: {"dice": soft_dice_loss(*pair)}, target="vessels"
    ),
}


@pytest.mark.parametrize("name", TASKS)
def test_task__looks_at_no_number_of_its_device(name: str) -> None:
    task, batch = TASKS[name]().train(), make_batch((SIZE, 32, 32))
    batch["mask"] = batch["vessels"]
    task(batch, MIDWAY).loss.backward()
    elsewhere = copy.deepcopy(task).to("meta")
    elsewhere.zero_grad()
    elsewhere({key: value.to("meta") for key, value in batch.items()}, MIDWAY).loss.backward()
    reached = {key for key, weight in elsewhere.named_parameters() if weight.grad is not None}
    assert reached == {key for key, weight in task.named_parameters() if weight.grad is not None} != set()
