"""The whole chain through the command line on fifty real angiograms, where there are some."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from vasomim.cli.app import main

FRAMES = 50
SHORT = ["--img-size", "64", "--batch-size", "8", "--num-workers", "0", "--device", "cpu", "--json"]


@pytest.fixture
def arcade(tmp_path: Path) -> Path:
    """Fifty frames of ARCADE's vessel task in its own layout, linked, not copied."""
    data = os.environ.get("VASOMIM_DATA")
    if not data or not Path(data).is_dir():
        pytest.skip("VASOMIM_DATA is unset: no real angiograms here")
    source = Path(data) / "arcade" / "syntax" / "train"
    content = json.loads((source / "annotations" / "train.json").read_text())
    images = content["images"][:FRAMES]
    kept = {image["id"] for image in images}
    content |= {"images": images, "annotations": [a for a in content["annotations"] if a["image_id"] in kept]}
    root = tmp_path / "arcade"
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    (root / "annotations" / "train.json").write_text(json.dumps(content))
    for image in images:
        (root / "images" / image["file_name"]).symlink_to(source / "images" / image["file_name"])
    return root


@pytest.mark.real
def test_main__whole_chain_on_real_frames(arcade: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*arguments: object) -> dict[str, object]:
        assert main([str(argument) for argument in arguments]) == 0
        return dict(json.loads(capsys.readouterr().out))

    vessels, guide, encoder, model, out = (tmp_path / name for name in ("vessels", "guide", "encoder", "model", "out"))
    assert call("extract", arcade, "--out", vessels, "--workers", 1, "--json")["extracted"] == FRAMES
    call("segmentor", arcade, "--vessels", vessels, "--out", guide, "--model", "unext_test", "--steps", 20, *SHORT)
    guided = ["--vessels", vessels, "--segmentor", guide, "--model", "mae_vit_test"]
    result = call("pretrain", arcade, *guided, "--out", encoder, "--steps", 20, *SHORT)
    assert 0 < float(str(result["reconstruction"])) < 2
    tune = ["--init", encoder, "--labels", "0.5", "--model", "vit_test_unet", "--steps", 40]
    call("finetune", arcade, *tune, "--out", model, *SHORT)
    card = call("evaluate", arcade, "--weights", model, "--size", 64, "--device", "cpu", "--json")
    assert card["n"] == FRAMES
    assert card["metrics"]["dice"]["mean"] > 0.1  # type: ignore[index]  # guessing everything vessel scores 0.07
    assert call("predict", arcade, "--weights", model, "--out", out, "--device", "cpu", "--json")["predicted"] == FRAMES
    mask = cv2.imread(str(sorted((out / "masks").rglob("*.png"))[0]), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (512, 512)
    assert set(np.unique(mask)) <= {0, 255}
