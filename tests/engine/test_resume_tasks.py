"""Resuming to the bit with the real tasks, the real sample stream and its augmentation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from engine_tools import assert_same
from task_tools import BATCH, STEPS, frame_batches, pretraining, run, segmentation
from torch import Tensor, nn

from vasomim.build import build_pretraining, build_views
from vasomim.build.pretraining import METHODS
from vasomim.config import CropConfig, MaskingConfig, OptimConfig, PretrainConfig
from vasomim.config.methods import DINOConfig, MoCoV3Config, PrototypeConfig


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


@pytest.mark.parametrize("make_task", [pretraining, segmentation])
def test_fit__resumes_real_tasks_to_the_bit_in_the_middle_of_an_epoch(tmp_path, make_task):
    whole = run(tmp_path / "whole", make_task, frame_batches())
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "cut", make_task, frame_batches(stop_at=4))
    resumed = run(tmp_path / "cut", make_task, frame_batches(workers=2))
    assert resumed.result.resumed_from == 3, "frame 2 of the second epoch"
    assert_same(resumed, whole)


@pytest.mark.parametrize("method", METHODS)
def test_fit__resumes_every_method_to_the_bit(tmp_path, method):
    config = settings_of(method)
    views = build_views(config)

    def make_task() -> nn.Module:
        return build_pretraining(config, (0.6, 0.2))

    whole = run(tmp_path / "whole", make_task, frame_batches(views=views))
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "cut", make_task, frame_batches(stop_at=4, views=views))
    resumed = run(tmp_path / "cut", make_task, frame_batches(views=views))
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
        for step, batch in enumerate(frame_batches(views=build_views(config))(start), start=start):
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

    task = run(tmp_path, make, frame_batches()).task
    assert before
    assert all(torch.equal(value, before[name]) for name, value in task.segmentor.state_dict().items())
