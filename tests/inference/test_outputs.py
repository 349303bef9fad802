"""Outputs by name, their calibration and threshold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vasomim.errors import CheckpointError, MisuseError
from vasomim.inference.outputs import Output, choose_output
from vasomim.inference.predictor import Predictor

TWO = [
    {"name": "main", "threshold": 0.4, "scale": 0.5, "shift": -1.0},
    {"name": "full-tree", "threshold": 0.6},
]


class TwoLogits(nn.Module):
    """Main: dark is vessel; tree: everything is, a little."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(8.0))

    def forward(self, images: Tensor) -> Tensor:
        main = self.gain * (0.5 - images)
        return torch.cat([main, torch.full_like(main, 1.0)], dim=1)


def frame() -> np.ndarray:
    return np.random.default_rng(0).random((32, 32), np.float32)


def test_choose_output__the_first_or_the_one_asked_for() -> None:
    assert choose_output({"outputs": TWO}) == Output("main", 0, 0.4, 0.5, -1.0)
    assert choose_output({"outputs": TWO}, "full-tree") == Output("full-tree", 1, 0.6)
    assert choose_output({"threshold": 0.3}) == Output(threshold=0.3)
    assert choose_output({}) == Output()


def test_choose_output__unknown_and_damaged() -> None:
    with pytest.raises(MisuseError, match="no output 'tree'; there is main and full-tree, nearest full-tree"):
        choose_output({"outputs": TWO}, "tree")
    with pytest.raises(CheckpointError, match="cannot be understood"):
        choose_output({"outputs": [{"threshold": 0.5}]})
    with pytest.raises(CheckpointError, match="cannot be understood"):
        choose_output({"outputs": ["main"]})


def test_output__calibrates_the_logit() -> None:
    logit = np.linspace(-5, 5, 11).astype(np.float32)
    bare = (1 / (1 + np.exp(-logit))).astype(np.float32)
    found = Output(scale=0.5, shift=-1.0).calibrated(bare)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-(0.5 * logit - 1.0))), atol=1e-6)
    assert Output().calibrated(bare) is bare
    assert np.isfinite(Output(scale=2.0).calibrated(np.array([0.0, 1.0], np.float32))).all()


def test_predictor__uses_the_output_asked_for() -> None:
    config = {"outputs": TWO, "inference": {"mode": "resize", "size": 32}}
    main = Predictor(TwoLogits(), config, "cpu", "fp32")
    tree = Predictor(TwoLogits(), config, "cpu", "fp32", output="full-tree")
    image = frame()
    wanted = 1 / (1 + np.exp(-(0.5 * 8.0 * (0.5 - image) - 1.0)))
    found = main.predict(image)
    np.testing.assert_allclose(found.probability, wanted, atol=1e-5)
    np.testing.assert_array_equal(found.mask, found.probability >= 0.4)
    np.testing.assert_allclose(main.probability_at(image[None, None])[0], wanted, atol=1e-5)
    np.testing.assert_allclose(tree.predict(image).probability, 1 / (1 + np.exp(-1)), atol=1e-6)
    assert tree.settings()["output"] == "full-tree"
    assert "output" not in main.settings()
    assert (main.threshold, tree.threshold) == (0.4, 0.6)
