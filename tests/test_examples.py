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
from vasomim.models.weights import load_encoder, load_pretrained
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


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """A folder of six synthetic frames."""
    for index in range(6):
        write_png(tmp_path / "frames" / f"{index}.png", generate(index, size=64).image.astype(np.uint8))
    return tmp_path / "frames"


@pytest.mark.parametrize(
    ("example", "method"), [("own_masking", "rows"), ("own_guidance", "fullest")], indirect=["example"]
)
def test_own_method__pretrains_probes_and_exports(
    example: ModuleType,
    method: str,
    frames: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = frames.parent / "out"
    monkeypatch.setattr(sys, "argv", ["example.py", str(frames), "--out", str(out), "--steps", "3"])
    assert example.main() == 0
    assert "probe_r2" in capsys.readouterr().out
    assert load_pretrained(out)[1]["method"] == method
    assert len(list((out / "sheets").glob("*.png"))) == 1


@pytest.mark.parametrize("example", ["own_masking", "own_guidance"], indirect=True)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{}/none"], "no such file or folder: {}/none"),
        (["{}", "--model", "mae_vit_tset"], "did you mean mae_vit_test"),
    ],
)
def test_own_method__mistakes_are_one_line(
    example: ModuleType,
    arguments: list[str],
    message: str,
    frames: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [argument.format(frames) for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["example.py", *given, "--out", str(frames.parent / "out")])
    assert example.main() == 2
    said = capsys.readouterr().err
    assert message.format(frames) in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("example", ["own_guidance"], indirect=True)
def test_own_guidance__hides_the_fullest_patches_first(example: ModuleType) -> None:
    vessels = torch.zeros(2, 16, 16)
    vessels[0, :4, :4], vessels[0, 4:8, :2], vessels[1, 12, 12] = 1.0, 1.0, 0.5
    mask = example.fullest_mask(vessels, 4, mask_ratio=0.5, guided_fraction=0.125, noise=torch.rand(2, 2, 16))
    assert mask.sum(1).tolist() == [8, 8]
    assert mask[0, 0]
    assert mask[1, 15]


@pytest.mark.parametrize("example", ["own_masking"], indirect=True)
def test_own_masking__hides_rows(example: ModuleType) -> None:
    mask = example.row_mask((4, 6), 0.5, torch.rand(3, 4)).reshape(3, 4, 6)
    assert (mask.all(2) | ~mask.any(2)).all()
    assert mask[:, :, 0].sum(1).tolist() == [2, 2, 2]
    pred, target, hidden = torch.rand(1, 4, 3), torch.rand(1, 4, 3), torch.tensor([[True, False, True, False]])
    loss = example.charbonnier_loss(pred, target, hidden, eps=0.0)
    torch.testing.assert_close(loss, (pred - target)[hidden].abs().mean())


@pytest.mark.parametrize("example", ["features"], indirect=True)
def test_features__are_those_of_the_encoder(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = generate(0, size=64).image[:60].astype(np.uint8)
    write_png(tmp_path / "a.png", image)
    arguments = ["features.py", str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), "--blocks", "2", "11"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert example.main() == 0
    with np.load(tmp_path / "out" / "a.npz") as stored:
        found = {name: stored[name] for name in stored.files}
    assert {name: value.shape for name, value in found.items()} == {"block_2": (192, 4, 4), "block_11": (192, 4, 4)}
    padded = np.pad(image, ((0, 4), (0, 0)), mode="edge").astype(np.float32) / np.float32(255)
    with torch.inference_mode():
        tokens = load_encoder("encoder").forward_features(torch.from_numpy(padded)[None, None])[0, 1:]
    np.testing.assert_allclose(found["block_11"].reshape(192, -1).T, tokens.numpy(), rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(sys, "argv", [*arguments, "--weights", "enconder"])
    assert example.main() == 2
    assert "enconder does not exist" in capsys.readouterr().err
