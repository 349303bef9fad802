"""The weight average."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch
from torch import nn

from vasomim.engine.ema import Ema


def model_of(value: float) -> nn.Module:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1), nn.Linear(1, 1, bias=False))
    model[2].requires_grad_(False)
    nn.init.constant_(model[0].weight, value)
    return model


def test_update__follows_the_closed_form():
    model = model_of(0.0)
    ema = Ema(model, 0.3)
    expected = 0.0
    for n, value in enumerate((1.0, 5.0, -2.0, 4.0), start=1):
        nn.init.constant_(model[0].weight, value)
        ema.update(model)
        decay = min(0.3, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
        assert float(ema.weights["0.weight"]) == pytest.approx(expected, rel=1e-6)


def test_ema__holds_trainable_weights_only():
    assert sorted(Ema(model_of(0.0), 0.9).weights) == ["0.weight", "1.bias", "1.weight"]


def test_applied__swaps_and_restores_to_the_bit_even_after_an_error():
    model = model_of(0.1)
    ema = Ema(model, 0.5)
    nn.init.constant_(model[0].weight, 0.7)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    seen = []
    with suppress(ZeroDivisionError), ema.applied(model):
        seen.append(float(model[0].weight.detach()))
        raise ZeroDivisionError
    assert seen == pytest.approx([0.1])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    ema.copy_to(model)
    assert float(model[0].weight.detach()) == pytest.approx(0.1)


def test_state_dict__round_trip():
    model = model_of(0.0)
    ema = Ema(model, 0.5)
    nn.init.constant_(model[0].weight, 1.0)
    ema.update(model)
    other = Ema(model_of(9.0), 0.5)
    other.load_state_dict(ema.state_dict())
    assert other.num_updates == 1
    assert all(torch.equal(value, ema.weights[name]) for name, value in other.weights.items())
    other.update(model)
    assert not torch.equal(other.weights["0.weight"], ema.weights["0.weight"]), "no memory is shared"


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_ema__refuses_a_bad_decay(decay):
    with pytest.raises(ValueError, match="must lie in"):
        Ema(model_of(0.0), decay)
