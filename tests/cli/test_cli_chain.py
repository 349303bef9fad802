"""The whole chain through the command line, tiny: every verb ends with one JSON object on stdout and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from vasomim.cli.app import main
from vasomim.config import PretrainConfig, load_config

TINY = ["--img-size", "32", "--steps", "2", "--batch-size", "4", "--num-workers", "0", "--device", "cpu"]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*arguments: object, status: int = 0) -> Any:
        got = main([*map(str, arguments), "--json"])
        shown = capsys.readouterr()
        assert got == status, shown.err
        return json.loads(shown.out) if status == 0 else shown.err

    return run


def test_main__whole_chain(tmp_path: Path, call: Callable[..., Any]) -> None:
    frames, vessels, guide, encoder, model, masks = (
        tmp_path / name for name in ("syn", "vessels", "segmentor", "pretrain", "finetune", "predictions")
    )
    assert call("synthesize", "--out", frames, "--num-frames", 8, "--size", 64, "--workers", 1)["made"] == 8
    images = frames / "images"
    assert call("extract", images, "--out", vessels, "--workers", 1)["extracted"] == 8
    call("segmentor", images, "--vessels", vessels, "--out", guide, "--model", "unext_test", *TINY)
    guided = ["--vessels", vessels, "--segmentor", guide, "--model", "mae_vit_test"]
    result = call("pretrain", images, *guided, "--out", encoder, *TINY)
    assert result["step"] == 2
    assert load_config(PretrainConfig, encoder / "config.yaml").optim.steps == 2
    result = call(
        "finetune", frames, "--init", encoder, "--out", model, "--model", "vit_test_unet", "--labels", "4", *TINY
    )
    assert result["labels"] == 4
    card = call("evaluate", frames, "--weights", model, "--out", tmp_path / "evaluation", "--device", "cpu")
    assert card["n"] == 8
    assert 0 <= card["metrics"]["dice"]["ci95"][0] <= card["metrics"]["dice"]["mean"] <= 1
    assert call("predict", images, "--weights", model, "--out", masks, "--device", "cpu")["predicted"] == 8
    written = sorted((masks / "masks").glob("*.png"))
    assert [path.stem for path in written] == sorted(path.stem for path in images.glob("*.png"))
    assert cv2.imread(str(written[0]), cv2.IMREAD_UNCHANGED).shape == (64, 64)
    assert call("evaluate", frames, "--predictions", masks / "masks")["n"] == 8

    # The same command continues (here: is already done); another run in the same folder is refused.
    assert call("pretrain", images, *guided, "--out", encoder, *TINY)["step"] == 2
    problem = call("pretrain", images, *guided, "--out", encoder, *TINY, "--seed", 1, status=2)
    assert str(encoder) in problem
    assert len(problem.strip().splitlines()) == 1
