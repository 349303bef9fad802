"""Weights of the package: whole, found by name, used offline."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from vasomim.data.open import open_labelled
from vasomim.data.samples import subset
from vasomim.data.splits import frame_hashes, split_holdout
from vasomim.errors import CheckpointError, MisuseError
from vasomim.inference.predictor import Predictor
from vasomim.models import shipped
from vasomim.models.registry import create_model
from vasomim.models.shipped import FOLDER, SHIPPED, SUMS, shipped_weights
from vasomim.models.trained_on import read_trained_on
from vasomim.models.weight_files import read_licence
from vasomim.models.weights import load_encoder, load_pretrained, save_pretrained
from vasomim.synth import generate

SEGMENTERS = [name for name in SHIPPED if name != "encoder"]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped__is_whole(name: str) -> None:
    found = shipped_weights(name)
    assert found is not None
    files = {file.name for file in found.path.iterdir()}
    expected = {"model.safetensors", "config.json", "README.md"}
    assert files == (expected if name == "encoder" else {*expected, "trained_on.txt"})
    card = (found.path / "README.md").read_text()
    for word in ("not a medical device", "CC0", "Popov", "Seed", "known failures"):
        assert word in card, word
    assert read_licence(found.path / "model.safetensors") == ("apache-2.0", "README.md")
    # Attribution is owed to those whose frames were learned from, and to nobody else.
    assert ("CC BY 4.0" in card) == ("Danilov" in card) == (name != "fast")
    assert "$VASOMIM_DATA" in card or name == "encoder"


def test_shipped__stays_small() -> None:
    sizes = {file: file.stat().st_size / 1e6 for file in FOLDER.rglob("*") if file.is_file()}
    assert max(sizes.values()) < 45
    assert sum(sizes.values()) < 95


@pytest.mark.parametrize("name", SEGMENTERS)
def test_shipped__segments_an_angiogram(name: str) -> None:
    made = generate(3, size=256)
    predictor = Predictor.from_pretrained(name, "cpu", "fp32")
    found = predictor.predict(made.image)
    assert predictor.name == name
    assert found.mask.shape == made.mask.shape
    overlap = 2 * (found.mask & made.mask).sum() / (found.mask.sum() + made.mask.sum())
    assert overlap > 0.4  # frames of this kind were in no training


def test_shipped__full_tree_finds_more_than_the_main_vessels() -> None:
    image = generate(5, size=256).image
    main, tree = (Predictor.from_pretrained(name, "cpu", "fp32").predict(image) for name in ("default", "full-tree"))
    assert tree.mask.sum() > main.mask.sum()
    assert np.mean(tree.mask[main.mask]) > 0.8


def test_shipped__encoder_starts_models() -> None:
    encoder = load_encoder("encoder")
    assert encoder(torch.rand(1, 1, 224, 224)).isfinite().all()
    with pytest.raises(CheckpointError, match="segment nothing yet"):
        Predictor.from_pretrained("encoder")


def test_shipped__is_stored_in_16_bit() -> None:
    for name in ("default", "fast", "encoder"):
        model, config = load_pretrained(name)
        assert config["weights"] == name
        count = sum(parameter.numel() for parameter in model.parameters())
        assert (FOLDER / name / "model.safetensors").stat().st_size < 2.2 * count + 100_000


def test_shipped_weights__other_names_are_paths(tmp_path: Path) -> None:
    assert shipped_weights("./default") is None
    assert shipped_weights(tmp_path) is None
    assert shipped_weights(Path("./default")) is None  # which Path shortens to `default`
    with pytest.raises(MisuseError, match="no weights at defualt; give default, full-tree, fast"):
        Predictor.from_pretrained("defualt")


@pytest.mark.parametrize("there", ["folder", "file"])
def test_from_pretrained__a_dot_makes_a_name_a_path(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    config = {"kind": "segmentation", "model": "vit_test_unet", "kwargs": {"img_size": 32, "widths": [8, 8]}}
    folder = tmp_path / "fast" if there == "folder" else tmp_path
    save_pretrained(folder, create_model("vit_test_unet", img_size=32, widths=[8, 8]), config, "A card.")
    if there == "file":
        (tmp_path / "model.safetensors").rename(tmp_path / "fast")
    monkeypatch.chdir(tmp_path)
    of_package, own = (Predictor.from_pretrained(name, "cpu", "fp32") for name in ("fast", "./fast"))
    assert own.fingerprint() != of_package.fingerprint()


def test_shipped_weights__damaged_or_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(FOLDER, tmp_path / "weights")
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "weights")
    shipped._check.cache_clear()
    file = tmp_path / "weights" / "fast" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    try:
        with pytest.raises(CheckpointError, match="'fast' are damaged"):
            shipped_weights("fast")
        file.unlink()
        with pytest.raises(CheckpointError, match="'fast' cannot be read"):
            shipped_weights("fast")
    finally:
        shipped._check.cache_clear()


def test_sums__name_every_file() -> None:
    listed = [line.split("  ")[1] for line in (FOLDER / SUMS).read_text().splitlines()]
    assert sorted(listed) == sorted(
        f"{item.folder}/model.safetensors" for item in {s.folder: s for s in SHIPPED.values()}.values()
    )
    for folder in {item.folder for item in SHIPPED.values()}:
        assert "run" in json.loads((FOLDER / folder / "config.json").read_text())


def test_shipped__lists_the_frames_of_arcade_that_were_not_held_out() -> None:
    root = Path(os.environ.get("VASOMIM_DATA", "")) / "arcade/syntax"
    if not (os.environ.get("VASOMIM_DATA") and root.is_dir()):
        pytest.skip("VASOMIM_DATA names no folder with arcade/syntax")
    train, val = open_labelled([root / "train"]), open_labelled([root / "val"])
    kept, held = split_holdout(train, 0.05)  # as the recipes of the package have it
    for name in ("default", "fast"):
        listed = read_trained_on(name)
        assert listed == set(frame_hashes(subset(train, kept)))
        assert listed.isdisjoint(frame_hashes(subset(train, held)))
        assert listed.isdisjoint(frame_hashes(val))
