"""Resuming to the bit with the real tasks, the real sample stream and its augmentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_tools import SETTINGS, Trained, assert_same, train
from torch import Tensor, nn

from vasomim.build import build_pretraining, build_views
from vasomim.build.pretraining import METHODS
from vasomim.config import CropConfig, MaskingConfig, OptimConfig, PretrainConfig
from vasomim.config.methods import DINOConfig, MoCoV3Config, PrototypeConfig
from vasomim.data.augment import JointCrop
from vasomim.data.stream import SampleStream, make_loader
from vasomim.losses import soft_dice_loss
from vasomim.models.registry import create_model
from vasomim.tasks.pretraining import MaskingPlan, PretrainingTask
from vasomim.tasks.segmentation import SegmentationTask
from vasomim.types import Record, Sample

BATCH, STEPS = 4, 8


class Frames:
    """Ten made-up frames of 40 x 48 with a bright-to-dark ramp and one dark band each."""

    def __init__(self) -> None:
        self.records = [Record(f"frame{index}", Path(f"frame{index}.png")) for index in range(10)]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        image = np.linspace(0.4, 0.9, 40 * 48, dtype=np.float32).reshape(40, 48) + 0.05 * rng.random((40, 48)).astype(
            "f"
        )
        band = np.zeros((40, 48), bool)
        band[4 + 3 * index : 8 + 3 * index] = True
        image[band] *= 0.5
        return Sample(self.records[index], image.clip(0, 1), mask=band, vessels=band)


def pretraining() -> nn.Module:
    segmentor = create_model("unext_test")
    plan = MaskingPlan(guidance="co", guided_end=0.5)
    return PretrainingTask(create_model("mae_vit_test", img_size=32, drop_path_rate=0.3), plan, segmentor)


def segmentation() -> nn.Module:
    model = create_model("vit_test_unet", img_size=32, drop_path_rate=0.3)
    return SegmentationTask(model, lambda logits, target: {"dice": soft_dice_loss(logits, target)})


def settings_of(method: str) -> PretrainConfig:
    """A tiny run of a method that changes all that a method can keep in its state."""
    return PretrainConfig(
        method=method,  # type: ignore[arg-type]
        model="mae_vit_test",
        img_size=32,
        crop=CropConfig(rotation=20, intensity=0.5),
        masking=MaskingConfig(guidance="anatomy", mask_ratio=0.5),
        consistency_weight=0.0,
        prototypes=PrototypeConfig(weight=0.1),
        mocov3=MoCoV3Config(hidden_dim=16, out_dim=8),
        dino=DINOConfig(local_crops=1, local_size=16, num_prototypes=12, hidden_dim=16, bottleneck_dim=8),
        optim=OptimConfig(steps=STEPS, batch_size=BATCH),
    )


def batches(
    workers: int, stop_at: int | None = None, views: Sequence[JointCrop] = ()
) -> Callable[[int], Iterable[dict[str, Tensor]]]:
    """Augmented batches of the stream; reading fails at step `stop_at`."""
    crop = JointCrop(32, vertical_flip=0.5, rotation=20, intensity=0.5)
    stream = SampleStream(Frames(), crop, seed=1, length=STEPS * BATCH, views=views)

    def make(start: int) -> Iterator[dict[str, Tensor]]:
        for step, batch in enumerate(make_loader(stream, BATCH, start=start, num_workers=workers), start=start):
            if step == stop_at:
                raise ZeroDivisionError
            yield batch

    return make


def run(folder: Path, make_task: Callable[[], nn.Module], source: Callable) -> Trained:
    settings = replace(SETTINGS, total_steps=STEPS, steps_per_epoch=10 / BATCH, save_every=3, log_every=1)
    return train(folder, source, settings, make_task)


@pytest.mark.parametrize("make_task", [pretraining, segmentation])
def test_fit__resumes_real_tasks_to_the_bit_in_the_middle_of_an_epoch(tmp_path, make_task):
    whole = run(tmp_path / "whole", make_task, batches(0))
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "cut", make_task, batches(0, stop_at=4))
    resumed = run(tmp_path / "cut", make_task, batches(2))
    assert resumed.result.resumed_from == 3, "frame 2 of the second epoch"
    assert_same(resumed, whole)


@pytest.mark.parametrize("method", METHODS)
def test_fit__resumes_every_method_to_the_bit(tmp_path, method):
    config = settings_of(method)
    views = build_views(config)

    def make_task() -> nn.Module:
        return build_pretraining(config, (0.6, 0.2))

    whole = run(tmp_path / "whole", make_task, batches(0, views=views))
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "cut", make_task, batches(0, stop_at=4, views=views))
    resumed = run(tmp_path / "cut", make_task, batches(0, views=views))
    assert resumed.result.resumed_from == 3, "frame 2 of the second epoch"
    assert_same(resumed, whole)
    keeps = {"hpm": "miner.", "mocov3": "student.", "dino": "student."}
    if method in keeps:
        pairs = [(name, name.replace("teacher.net.", keeps[method])) for name in whole.weights if "teacher." in name]
        assert pairs
        assert any(not torch.equal(whole.weights[teacher], whole.weights[student]) for teacher, student in pairs)
    if method == "dino":
        assert whole.weights["center.mean"].any()


def test_fit__a_bad_batch_leaves_no_trace_in_the_center(tmp_path):
    config = settings_of("dino")

    def poisoned(start: int) -> Iterator[dict[str, Tensor]]:
        for step, batch in enumerate(batches(0, views=build_views(config))(start), start=start):
            yield {**batch, "image": batch["image"] * torch.nan} if step == 2 else batch

    trained = run(tmp_path, lambda: build_pretraining(config, (0.6, 0.2)), poisoned)
    assert trained.result.skipped == 1
    assert all(torch.isfinite(value).all() for value in trained.weights.values())


def test_fit__never_touches_the_frozen_segmentor(tmp_path):
    before: dict[str, Tensor] = {}

    def make() -> nn.Module:
        task = pretraining()
        before.update({name: value.clone() for name, value in task.segmentor.state_dict().items()})
        return task

    task = run(tmp_path, make, batches(0)).task
    assert before
    assert all(torch.equal(value, before[name]) for name, value in task.segmentor.state_dict().items())
