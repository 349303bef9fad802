"""The examples run, and do what they say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from vasomim.build.pretraining import METHODS
from vasomim.data.frames import write_png
from vasomim.models.weights import load_pretrained
from vasomim.synth import generate

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example of that name as a module; what it adds to the methods is taken back."""
    monkeypatch.setattr("vasomim.build.pretraining.METHODS", dict(METHODS))
    spec = importlib.util.spec_from_file_location(request.param, EXAMPLES / f"{request.param}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("example", ["own_masking"], indirect=True)
def test_own_masking__pretrains_probes_and_exports(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(6):
        write_png(tmp_path / "frames" / f"{index}.png", (generate(index, size=64).image / 1).astype(np.uint8))
    arguments = [str(tmp_path / "frames"), "--out", str(tmp_path / "out"), "--steps", "3"]
    monkeypatch.setattr(sys, "argv", ["own_masking.py", *arguments])
    assert example.main() == 0
    assert "probe_r2" in capsys.readouterr().out
    assert load_pretrained(tmp_path / "out")[1]["method"] == "rows"
    assert len(list((tmp_path / "out" / "sheets").glob("*.png"))) == 1


@pytest.mark.parametrize("example", ["own_masking"], indirect=True)
def test_own_masking__hides_rows(example: ModuleType) -> None:
    mask = example.row_mask((4, 6), 0.5, torch.rand(3, 4)).reshape(3, 4, 6)
    assert (mask.all(2) | ~mask.any(2)).all()
    assert mask[:, :, 0].sum(1).tolist() == [2, 2, 2]
    pred, target, hidden = torch.rand(1, 4, 3), torch.rand(1, 4, 3), torch.tensor([[True, False, True, False]])
    loss = example.charbonnier_loss(pred, target, hidden, eps=0.0)
    torch.testing.assert_close(loss, (pred - target)[hidden].abs().mean())
