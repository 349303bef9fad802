"""`vasomim finetune` with a second output for the whole vessel tree."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vasomim.commands import finetune
from vasomim.config import FinetuneConfig, OptimConfig, RunConfig, TreeConfig
from vasomim.data.frames import frame_hash, write_png
from vasomim.inference.outputs import Output
from vasomim.models.trained_on import read_trained_on
from vasomim.models.weights import load_pretrained, read_state_dict
from vasomim.synth import generate

SIZE = 64
RUN = RunConfig(device="cpu", num_workers=0, log_every=1, save_every=2, validate_every=10)


def make(root: Path, first: int, count: int, *, masks: bool) -> Path:
    for index in range(first, first + count):
        made = generate(index, size=SIZE)
        write_png(root / "images" / f"{index:02d}.png", made.image)
        if masks:
            write_png(root / "masks" / f"{index:02d}.png", made.mask.astype(np.uint8) * 255)
    return root


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> FinetuneConfig:
    root = tmp_path_factory.mktemp("data")
    return FinetuneConfig(
        inputs=(make(root / "labelled", 0, 8, masks=True),),
        tree=TreeConfig(
            learn=True,
            unlabelled=(make(root / "unlabelled", 8, 4, masks=False) / "images",),
            drawn=(make(root / "drawn", 12, 3, masks=True),),
        ),
        model="vit_test_unet",
        img_size=48,
        frame_size=SIZE,
        stride=2,
        optim=OptimConfig(batch_size=4, steps=4, lr=1e-3),
        run=RUN,
        holdout=0.25,
    )


def test_finetune__learns_main_vessels_and_tree(config: FinetuneConfig, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert finetune.run(dataclasses.replace(config, out=out)) == 0
    model, facts = load_pretrained(out)
    main, tree = facts["outputs"]
    assert (main["name"], tree) == ("main", Output("full-tree").described())
    assert 0.2 <= main["threshold"] <= 0.8
    assert main["scale"] > 0
    assert facts["kwargs"] == {"img_size": 48, "stride": 2, "num_classes": 2}
    assert facts["inference"] == {"mode": "resize", "size": SIZE, "flip": False}
    assert model(torch.rand(1, 1, SIZE, SIZE)).shape == (1, 2, SIZE, SIZE)
    record = json.loads((out / "run.json").read_text())["facts"]
    assert len(record["labels"]) == 6  # a quarter of eight is held out
    assert (out / "vessels" / "unlabelled" / "masks" / "08.png").is_file()
    line = json.loads((out / "metrics.jsonl").read_text().splitlines()[0])
    assert {"main_dice", "main_bce", "tree_dice", "tree_bce"} <= line.keys()
    (drawn,) = config.tree.drawn
    masked = {frame_hash(path) for path in (drawn / "images").iterdir()}
    assert masked <= read_trained_on(out), "drawn trees are labels, too"
    assert len(read_trained_on(out)) == 6 + 3


def test_finetune__tells_of_drawn_trees_that_are_held_out(
    config: FinetuneConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = make(tmp_path / "again", 0, 8, masks=True)
    tree = dataclasses.replace(config.tree, unlabelled=(), drawn=(again,))
    few = OptimConfig(batch_size=4, steps=1)
    finetune.run(dataclasses.replace(config, out=tmp_path / "run", tree=tree, optim=few))
    assert "2 of 2 frames to report on are trained on" in capsys.readouterr().err


def test_finetune__a_finished_run_is_exported_anew_with_mirrored_frames(
    config: FinetuneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune, "scores", lambda predict, _: {"dice": 0.9 if predict.flip else 0.5})
    bare = dataclasses.replace(config, out=tmp_path / "run", tree=TreeConfig())
    finetune.run(bare)
    before, weights = load_pretrained(bare.out)[1], read_state_dict(bare.out / "export")
    finetune.run(dataclasses.replace(bare, flip=True))
    after = load_pretrained(bare.out)[1]
    assert (before["inference"]["flip"], after["inference"]["flip"]) == (False, True)
    assert after["outputs"] != before["outputs"]  # fitted to what it gives now
    assert all(torch.equal(value, weights[name]) for name, value in read_state_dict(bare.out / "export").items())
    assert (before["held_out"]["dice"], after["held_out"]["dice"]) == (0.5, 0.9), "of what is exported"


def test_finetune__with_trees_goes_on_where_it_was_stopped(
    config: FinetuneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped before the first step: the extracted vessels are there and the frames are joined in the same order."""

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    whole, cut = (dataclasses.replace(config, out=tmp_path / name) for name in ("whole", "cut"))
    finetune.run(whole)
    with monkeypatch.context() as patch:
        patch.setattr(finetune, "train", stop)
        with pytest.raises(KeyboardInterrupt):
            finetune.run(cut)
    finetune.run(cut)
    ours, theirs = (read_state_dict(c.out / "export") for c in (whole, cut))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tree": {"learn": False, "drawn": (Path("x"),)}}, "need --tree.learn"),
        ({"tree": {"learn": True, "share": 1.0}}, "strictly between 0 and 1"),
    ],
)
def test_tree_config__refuses(changes: dict[str, dict[str, object]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TreeConfig(**changes["tree"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stride": 3}, "stride must be 1 or 2, got 3"),
        ({"stride": 2, "model": "unext_s"}, "models with a ViT"),
        ({"frame_size": 0}, "frame_size must be at least 1, got 0"),
        ({"tree": TreeConfig(learn=True), "vessels": Path("v")}, "stand in for labels"),
        ({"tree": TreeConfig(learn=True), "model": "unet_plain"}, "cannot learn a tree"),
    ],
)
def test_finetune_config__refuses(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FinetuneConfig(**changes)  # type: ignore[arg-type]
