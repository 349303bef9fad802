"""Normalisation and its inverse."""

import pytest
import torch
from torch.testing import assert_close

from vasomim.models.input_norm import InputNorm


def test_input_norm__normalises_and_inverts():
    norm, images = InputNorm(0.4, 0.2), torch.rand(2, 1, 4, 4)
    assert_close(norm(images), (images - 0.4) / 0.2)
    assert_close(norm.inverse(norm(images)), images)


def test_input_norm__has_no_parameters_and_travels_in_the_state():
    norm = InputNorm(0.4, 0.2)
    assert list(norm.parameters()) == []
    other = InputNorm()
    other.load_state_dict(norm.state_dict())
    assert_close(other.mean, torch.tensor(0.4))
    assert InputNorm(persistent=False).state_dict() == {}


def test_input_norm__set_takes_other_statistics():
    norm = InputNorm()
    norm.set(0.3, 0.1)
    assert_close(norm(torch.tensor(0.5)), torch.tensor(2.0))


@pytest.mark.parametrize("std", [0, -1, float("nan")])
def test_input_norm__refuses_no_spread(std):
    with pytest.raises(ValueError, match="std must be above 0"):
        InputNorm(0.5, std)
    with pytest.raises(ValueError, match="std must be above 0"):
        InputNorm().set(0.5, std)
