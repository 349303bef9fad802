"""Split weights: what one process can show of them. The rest is in test_processes.py."""

from __future__ import annotations

import pytest
import torch
from task_tools import pretraining
from torch import nn

from vasomim.engine.sharding import WholeTask, gathered, scattered
from vasomim.errors import MisuseError
from vasomim.tasks.teacher import Teacher


def test_whole_task__is_the_same_task_again_and_takes_no_memory():
    task = pretraining(drop_path_rate=0.0).eval()
    whole = WholeTask(task)
    assert all(weight.is_meta for weight in whole.template.parameters())
    before = {name: value.clone() for name, value in task.state_dict().items()}
    frozen = {name for name, weight in task.named_parameters() if not weight.requires_grad}
    tokens = task.mae.encoder.forward_features(torch.ones(1, 1, 32, 32))
    with whole.applied():
        assert torch.equal(task.mae.encoder.forward_features(torch.ones(1, 1, 32, 32)), tokens)
        with torch.no_grad():
            task.mae.mask_token.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
    whole.restore()
    assert not task.training
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
    assert {name for name, weight in task.named_parameters() if not weight.requires_grad} == frozen != set()


def test_whole_task__refuses_a_teacher():
    task = nn.ModuleDict({"student": nn.Linear(2, 2)})
    task["teacher"] = Teacher(task["student"])
    with pytest.raises(MisuseError, match="take ddp"):
        WholeTask(task)


def test_gathered_and_scattered__leave_whole_states_alone():
    state = {"a": torch.ones(2), "b": [1, {"c": None}]}
    assert gathered(state) == state
    assert scattered(state, state) == state
    with pytest.raises(KeyError):
        scattered({}, {"a": torch.ones(2)})
