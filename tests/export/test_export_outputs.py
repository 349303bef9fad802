"""Exported networks of weights with two outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vasomim.export.folder import load_segmenter, write_export
from vasomim.inference.predictor import Predictor
from vasomim.models.registry import create_model
from vasomim.models.weights import save_pretrained

OUTPUTS = [{"name": "main", "threshold": 0.4, "scale": 0.5, "shift": -0.3}, {"name": "full-tree", "threshold": 0.6}]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    kwargs = {"img_size": 32, "widths": [8, 8], "stride": 2, "num_classes": 2}
    model = create_model("vit_test_unet", **kwargs)
    torch.nn.init.normal_(model.head.weight, std=3.0)
    facts = {"kind": "segmentation", "model": "vit_test_unet", "kwargs": kwargs, "outputs": OUTPUTS}
    folder = tmp_path_factory.mktemp("two") / "run"
    save_pretrained(folder / "export", model, {**facts, "inference": {"mode": "resize", "size": 32}}, "A card.")
    return folder


@pytest.mark.parametrize("output", ["main", "full-tree"])
def test_write_export__takes_the_output_asked_for(weights: Path, tmp_path: Path, output: str) -> None:
    pytest.importorskip("onnxscript")
    frame = np.random.default_rng(0).random((1, 1, 32, 32), np.float32)
    network, config = load_segmenter(weights, output)
    write_export(network, config, "card", tmp_path / "net", "onnx", [frame])
    exported = Predictor.from_pretrained(tmp_path / "net", backend="onnx")
    torchs = Predictor.from_pretrained(weights, "cpu", "fp32", output=output)
    for image in (frame[0, 0], np.random.default_rng(1).random((50, 41), np.float32)):
        one, other = exported.predict(image), torchs.predict(image)
        np.testing.assert_allclose(one.probability, other.probability, atol=2e-4)
    assert (exported.output.name, exported.threshold) == (output, torchs.threshold)
