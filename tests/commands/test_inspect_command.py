"""`vasomim inspect`: text and JSON, conversion, and one clear line for every misuse."""

import json
import shutil

import pytest
import torch

from vasomim.cli import main
from vasomim.models.registry import create_model
from vasomim.models.shipped import FOLDER, SHIPPED
from vasomim.models.weights import save_pretrained


@pytest.fixture
def weights(tmp_path):
    """A MAE checkpoint of another project, and an export of ours."""
    torch.manual_seed(0)
    model = create_model("mae_vit_test", img_size=32)
    torch.save({"model": model.state_dict()}, tmp_path / "mae.pth")
    config = {"kind": "mae", "model": "mae_vit_test", "kwargs": {"img_size": 32}}
    save_pretrained(tmp_path / "ours", model, config, "---\nlicense: apache-2.0\n---\n")
    return tmp_path


def test_inspect__says_what_files_are(weights, capsys):
    assert main(["inspect", str(weights / "mae.pth"), str(weights / "ours")]) == 0
    foreign, ours = capsys.readouterr().out.split("\n\n")
    assert "format        torch.save, keys of mae" in foreign
    assert "architecture  ViT, width 32, 2 blocks, 2 heads" in foreign
    assert "made for      32 x 32 pixels, patch 8, 1 channel(s)" in foreign
    assert "decoder       width 32, 1 blocks" in foreign
    assert "licence       unknown: no file says it" in foreign
    assert "licence       apache-2.0 (README.md)" in ours
    assert "keys of vasomim [mae_vit_test (mae)]" in ours
    assert "matched, 0 resized, 0 converted, 0 left, 0 missing" in ours


def test_inspect__json_holds_the_same(weights, capsys):
    assert main(["inspect", str(weights / "mae.pth"), "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["architecture"]["patch_size"] == 8
    assert [found["model"] for found in facts["models"]] == ["vit_test", "mae_vit_test", "vit_test_unet"]


def test_inspect__a_model_shows_the_table(weights, capsys):
    assert main(["inspect", str(weights / "mae.pth"), "--model", "vit_test_unet"]) == 0
    assert "encoder.pos_embed: grid 4x4 -> 28x28" in capsys.readouterr().out


@pytest.mark.parametrize("target", ["timm", "hf-vit", "hf-vitmae"])
def test_inspect__exports_and_reads_its_own_export(weights, capsys, target):
    out = weights / "out"
    assert main(["inspect", str(weights / "ours"), "--export", target, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"out: {out}\n"
    assert "read it with" in printed.err
    assert main(["inspect", str(out), "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["layout"] == target
    assert facts["licence"]["name"] == "apache-2.0"
    assert facts["statistics"] == {"mean": [0.5], "std": [0.25], "applied": False}


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--export", "timm"], 2, "needs --out DIR"),
        (["--out", "x"], 2, "out has an effect with export alone"),
        (["--model", "vit_tset"], 2, "did you mean vit_test"),
        (["--export", "timm", "--out", "{tmp}"], 2, "is not empty; choose another --out"),
        (["--export", "keras", "--out", "x"], 2, "one of timm, hf-vit, hf-vitmae"),
    ],
)
def test_inspect__misuse_is_one_line(weights, capsys, flags, status, message):
    flags = [flag.format(tmp=weights) for flag in flags]
    assert main(["inspect", str(weights / "mae.pth"), *flags]) == status
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_inspect__damaged_files_fail_with_one_line(weights, capsys):
    (weights / "page.pth").write_text("<!DOCTYPE html>")
    assert main(["inspect", str(weights / "page.pth")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", SHIPPED)
def test_inspect__takes_weights_of_the_package_by_name(capsys, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", name, "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["file"] == str(SHIPPED[name].path / "model.safetensors")


def test_inspect__exports_the_encoder_of_the_package(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", "encoder", "--export", "timm", "--out", "encoder_timm"]) == 0
    assert capsys.readouterr().out == "out: encoder_timm\n"
    assert "Made from encoder/model.safetensors" in (tmp_path / "encoder_timm" / "README.md").read_text()


@pytest.mark.parametrize("there", ["folder", "file"])
def test_inspect__a_dot_makes_a_name_a_path(weights, capsys, monkeypatch, there):
    monkeypatch.chdir(weights)
    shutil.copytree("ours", "fast") if there == "folder" else shutil.copy("mae.pth", "fast")
    assert main(["inspect", "./fast", "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)
    assert not facts["file"].startswith(str(FOLDER))
    assert facts["architecture"]["embed_dim"] == 32
    assert main(["inspect", "./fast", "--export", "timm", "--out", "out"]) == 0
    assert json.loads((weights / "out" / "config.json").read_text())["num_features"] == 32


@pytest.mark.parametrize("name", ["defualt", "./default"])
def test_inspect__what_is_not_there_is_one_line_with_the_names(capsys, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", name]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"vasomim: error: {name} does not exist; give a run folder, an export folder")
    assert "default, full-tree, fast, encoder" in error
    assert error.count("\n") == 1
