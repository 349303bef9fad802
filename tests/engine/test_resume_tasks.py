"""Resuming to the bit with the real tasks, the real sample stream and its augmentation."""

from __future__ import annotations

import pytest
import torch
from engine_tools import assert_same
from task_tools import frame_batches, pretraining, run, segmentation
from torch import Tensor, nn


@pytest.mark.parametrize("make_task", [pretraining, segmentation])
def test_fit__resumes_real_tasks_to_the_bit_in_the_middle_of_an_epoch(tmp_path, make_task):
    whole = run(tmp_path / "whole", make_task, frame_batches())
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "cut", make_task, frame_batches(stop_at=4))
    resumed = run(tmp_path / "cut", make_task, frame_batches(workers=2))
    assert resumed.result.resumed_from == 3, "frame 2 of the second epoch"
    assert_same(resumed, whole)


def test_fit__never_touches_the_frozen_segmentor(tmp_path):
    before: dict[str, Tensor] = {}

    def make() -> nn.Module:
        task = pretraining()
        before.update({name: value.clone() for name, value in task.segmentor.state_dict().items()})
        return task

    task = run(tmp_path, make, frame_batches()).task
    assert before
    assert all(torch.equal(value, before[name]) for name, value in task.segmentor.state_dict().items())
