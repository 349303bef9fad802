"""Every pre-training method, tiny, through the command line: steps, a sheet, an encoder that fine-tuning takes."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from vasomim.cli.app import main
from vasomim.config.methods import Method
from vasomim.models.vit import VisionTransformer
from vasomim.models.weights import load_pretrained, read_state_dict

TINY = ["--img-size", "32", "--steps", "3", "--batch-size", "4", "--num-workers", "0", "--device", "cpu"]
OTHERS = [method for method in get_args(Method) if method != "vasomim"]
OWN = {
    "mocov3": ["--mocov3.hidden-dim", "16", "--out-dim", "8"],
    "dino": ["--local-crops", "1", "--local-size", "16", "--num-prototypes", "16", "--dino.hidden-dim", "16"],
}


def call(*arguments: object, status: int = 0) -> Any:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        got = main([*map(str, arguments), "--json"])
    assert got == status, err.getvalue()
    return {**json.loads(out.getvalue()), "said": err.getvalue()} if status == 0 else err.getvalue()


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight synthetic frames with masks in images/ and masks/, and extracted vessels in vessels/."""
    root = tmp_path_factory.mktemp("methods")
    call("synthesize", "--out", root / "data", "--num-frames", 8, "--size", 64, "--workers", 1)
    call("extract", root / "data" / "images", "--out", root / "vessels", "--workers", 1)
    return root


@pytest.mark.parametrize("method", OTHERS)
def test_pretrain__every_method_leads_to_a_segmenter(frames: Path, tmp_path: Path, method: str) -> None:
    place = ["--vessels", frames / "vessels", "--out", tmp_path / "run", "--model", "mae_vit_test", "--holdout", "0.25"]
    result = call("pretrain", frames / "data" / "images", *place, "--method", method, *OWN.get(method, []), *TINY)
    assert result["step"] == 3
    assert -10 < result["probe_r2"] < 1
    assert "warning" not in result["said"]
    assert ("reconstruction" in result) == (method not in ("mocov3", "dino"))
    assert (tmp_path / "run" / "export_mae").is_dir() == (method in ("amt", "hpm", "deblur"))
    assert len(list((tmp_path / "run" / "sheets").glob("*.png"))) == 1
    encoder, facts = load_pretrained(tmp_path / "run")
    assert isinstance(encoder, VisionTransformer)
    assert (facts["kind"], facts["model"], facts["method"]) == ("encoder", "vit_test", method)
    tuned = ["--init", tmp_path / "run", "--out", tmp_path / "tuned", "--model", "vit_test_unet", "--labels", "4"]
    call("finetune", frames / "data", *tuned, *TINY, "--steps", "1")
    table = (tmp_path / "tuned" / "init.txt").read_text()
    assert f"matched   {len(encoder.state_dict()):>4}  encoder" in table, table
    assert "resized      0" in table


def test_pretrain__methods_start_from_weights_of_each_other(frames: Path, tmp_path: Path) -> None:
    place = ["--vessels", frames / "vessels", "--model", "mae_vit_test", "--holdout", "0"]
    call("pretrain", frames / "data" / "images", *place, "--out", tmp_path / "a", "--method", "simmim", *TINY)
    still = ["--init", tmp_path / "a", "--lr", "0", "--method", "dino", *OWN["dino"]]
    call("pretrain", frames / "data" / "images", *place, "--out", tmp_path / "b", *still, *TINY)
    first, second = read_state_dict(tmp_path / "a"), read_state_dict(tmp_path / "b")
    assert all(torch.equal(value, second[name]) for name, value in first.items()), "teacher and student began there"


def test_pretrain__warns_of_what_the_method_never_reads(frames: Path, tmp_path: Path) -> None:
    place = ["--vessels", frames / "vessels", "--out", tmp_path, "--model", "mae_vit_test", "--holdout", "0"]
    idle = ["--method", "simmim", "--sigma", "2", "--guided-end", "0.9"]
    said = call("pretrain", frames / "data" / "images", *place, *idle, *TINY)["said"]
    assert "warning: masking.guided_end has no effect: method is simmim" in said
    assert "warning: deblur.sigma has no effect: method is simmim" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--method", "simmim", "--mask-unit", "3"], "no multiple of 24 px"),
        (["--method", "dino", "--local-size", "20"], "no multiple of the patch size 8"),
        (["--method", "amt", "--mask-ratio", "0.7"], "add up to less than 1"),
    ],
)
def test_pretrain__refuses_sizes_that_do_not_fit(frames: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    place = ["--vessels", frames / "vessels", "--out", tmp_path / "run", "--model", "mae_vit_test"]
    problem = call("pretrain", frames / "data" / "images", *place, *arguments, *TINY, status=2)
    assert said in problem
    assert "Traceback" not in problem


def test_finetune__pseudo_labels_then_labels_take_over_the_whole_model(frames: Path, tmp_path: Path) -> None:
    model = ["--model", "vit_test_unet", *TINY]
    pseudo = ["--vessels", frames / "vessels", "--out", tmp_path / "pseudo", "--holdout", "0.25"]
    assert call("finetune", frames / "data" / "images", *pseudo, *model)["labels"] == 6
    assert json.loads((tmp_path / "pseudo" / "run.json").read_text())["facts"]["rasteriser"] == "extraction"
    still = ["--init", tmp_path / "pseudo", "--out", tmp_path / "tuned", "--lr", "0"]
    call("finetune", frames / "data", *still, *model)
    table = (tmp_path / "tuned" / "init.txt").read_text()
    assert "missing      0" in table
    assert "left         0" in table
    first, second = read_state_dict(tmp_path / "pseudo"), read_state_dict(tmp_path / "tuned")
    assert any(name.startswith("decoder.") for name in first)
    assert all(torch.equal(value, second[name]) for name, value in first.items()), "the decoder included"


@pytest.mark.parametrize("model", ["unet_test", "unext_test"])
def test_finetune__convolutional_models(frames: Path, tmp_path: Path, model: str) -> None:
    out = ["--out", tmp_path / "run", "--model", model, "--holdout", "0.25"]
    said = call("finetune", frames / "data", *out, *TINY, "--drop-path-rate", "0.2")["said"]
    assert f"warning: drop_path_rate has no effect: {model} has no ViT" in said
    trained, facts = load_pretrained(tmp_path / "run")
    assert facts["model"] == model
    assert trained(torch.rand(1, 1, 40, 33)).shape == (1, 1, 40, 33)
    again = ["--init", tmp_path / "run", "--out", tmp_path / "again", "--lr", "0", "--model", model]
    call("finetune", frames / "data", *again, *TINY)
    weights = dict(trained.named_parameters())
    for name, value in dict(load_pretrained(tmp_path / "again")[0].named_parameters()).items():
        assert torch.equal(value, weights[name]), name


def test_finetune__says_which_size_a_plain_unet_takes(frames: Path, tmp_path: Path) -> None:
    arguments = ["--out", tmp_path / "run", "--model", "unet_test", *TINY, "--img-size", "100"]
    assert "give --img-size 96" in call("finetune", frames / "data", *arguments, status=2)
