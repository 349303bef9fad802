"""The training verbs on tiny synthetic data: the chain, what a run leaves, resuming, refusing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vasomim.build.running import build_crop
from vasomim.commands import extract, finetune, prepare, pretrain, segmentor
from vasomim.commands.training import open_unlabelled, set_up_computing, training_run
from vasomim.config import (
    CropConfig,
    ExtractConfig,
    FinetuneConfig,
    MaskingConfig,
    OptimConfig,
    PrepareConfig,
    PretrainConfig,
    RunConfig,
    SegmentorConfig,
)
from vasomim.data.frames import write_png
from vasomim.data.open import open_labelled
from vasomim.data.splits import split_holdout
from vasomim.errors import CheckpointError, MisuseError
from vasomim.models.registry import create_model
from vasomim.models.weights import load_pretrained, read_state_dict
from vasomim.synth import generate
from vasomim.vessels import METHOD_VERSION

SIZE = 64
RUN = RunConfig(device="cpu", num_workers=0, log_every=1, save_every=2, validate_every=2)
FEW = OptimConfig(batch_size=4, steps=4, lr=1e-3)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve synthetic frames with masks, in images/ and masks/."""
    root = tmp_path_factory.mktemp("data")
    for index in range(12):
        made = generate(index, size=SIZE)
        write_png(root / "images" / f"{index:02d}.png", made.image)
        write_png(root / "masks" / f"{index:02d}.png", made.mask.astype(np.uint8) * 255)
    return root


@pytest.fixture(scope="module")
def guide(frames: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segmentor run on those frames."""
    out = tmp_path_factory.mktemp("guide") / "segmentor"
    config = SegmentorConfig(
        inputs=(frames / "images",), out=out, model="unext_test", img_size=SIZE, optim=FEW, run=RUN, holdout=0.25
    )
    assert segmentor.run(config) == 0
    return out


def pretraining(frames: Path, guide: Path, out: Path, **changes: object) -> PretrainConfig:
    base = PretrainConfig(
        inputs=(frames / "images",),
        out=out,
        vessels=guide / "vessels",
        segmentor=guide,
        model="mae_vit_test",
        img_size=SIZE,
        crop=CropConfig(scale=(0.5, 1.0)),
        optim=FEW,
        run=RUN,
        holdout=0.25,
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def finetuning(frames: Path, out: Path, **changes: object) -> FinetuneConfig:
    base = FinetuneConfig(
        inputs=(frames,), out=out, model="vit_test_unet", img_size=SIZE, optim=FEW, run=RUN, holdout=0.25
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def losses(run: Path) -> list[tuple[int, float | None]]:
    """Step and loss of every line of metrics.jsonl."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line.get("loss")) for line in lines]


def test_segmentor__leaves_what_a_run_leaves(guide: Path) -> None:
    made = ("config.yaml", "run.json", "metrics.jsonl", "held_out.png", "report.html")
    for name in (*made, "export/README.md", "vessels/masks/00.png"):
        assert (guide / name).is_file(), name
    model, facts = load_pretrained(guide)
    assert facts["kind"] == "segmentor"
    assert torch.isfinite(model(torch.rand(1, 1, SIZE, SIZE))).all()
    assert "val/dice" in json.loads((guide / "metrics.jsonl").read_text().splitlines()[-1])


def test_finetune__measures_the_held_out_frames_once_at_the_end(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([0.25, 0.5])  # after steps 2 and 4, and no more

    def score(predict: object, val: object) -> dict[str, float]:  # noqa: ARG001
        return {"dice": next(found)}

    monkeypatch.setattr(finetune, "scores", score)
    assert finetune.run(finetuning(frames, tmp_path / "run")) == 0
    assert load_pretrained(tmp_path / "run")[1]["held_out"] == {"dice": 0.5}


def test_set_up_computing__convolutions_of_a_vit_unet_lie_channels_last_and_those_of_a_plain_one_first() -> None:
    for name, last in (("vit_test_unet", True), ("unet_test", False)):
        model = create_model(name, img_size=SIZE)
        set_up_computing(model, RUN)
        kernels = [part.weight for part in model.modules() if isinstance(part, nn.Conv2d) and part.kernel_size[0] == 3]
        told = [kernel for kernel in kernels if min(kernel.shape[:2]) > 1]  # others lie both ways
        assert told, name
        assert all(kernel.is_contiguous() != last for kernel in told), name


def test_segmentor__says_what_extracted_and_repeated_exports_the_same_weights(frames: Path, tmp_path: Path) -> None:
    """Measuring a finished run must not train its normalisation layers."""
    optim = dataclasses.replace(FEW, steps=2)
    data: dict[str, Any] = {"inputs": (frames / "images",), "model": "unext_test", "img_size": SIZE, "holdout": 0.25}
    vessels = tmp_path / "vessels"
    assert extract.run(ExtractConfig(inputs=data["inputs"], out=vessels, method="reference", workers=1)) == 0
    config = SegmentorConfig(**data, vessels=vessels, out=tmp_path / "run", optim=optim, run=RUN)
    weights = config.out / "export" / "model.safetensors"
    assert segmentor.run(config) == 0
    assert load_pretrained(config.out)[1]["extraction"] == f"reference {METHOD_VERSION}", "whatever the settings say"
    first = weights.read_bytes()
    assert segmentor.run(config) == 0
    assert weights.read_bytes() == first


def test_finetune__every_seed_holds_out_the_same_frames(frames: Path, tmp_path: Path) -> None:
    """A run that goes on from another's weights must not be judged by what that one learned from."""
    learned = []
    for seed in (0, 1, 2):
        config = finetuning(frames, tmp_path / str(seed), run=dataclasses.replace(RUN, seed=seed))
        assert finetune.run(dataclasses.replace(config, optim=dataclasses.replace(FEW, steps=1))) == 0
        learned.append(set(json.loads((config.out / "run.json").read_text())["facts"]["labels"]))
    assert learned[0] == learned[1] == learned[2]
    assert len(learned[0]) == 9


def test_pretrain__every_seed_holds_out_the_same_frames(frames: Path, guide: Path, tmp_path: Path) -> None:
    held = []
    for seed in (0, 1, 2):
        config = pretraining(frames, guide, tmp_path / str(seed), run=dataclasses.replace(RUN, seed=seed))
        with training_run(config, "pretrain") as (fabric, folder):
            held.append([record.id for record in open_unlabelled(config, fabric, folder).held.records])
    assert held[0] == held[1] == held[2]
    assert len(held[0]) == 3


def test_pretrain__whole_then_finetune(frames: Path, guide: Path, tmp_path: Path) -> None:
    before = read_state_dict(guide)
    config = pretraining(frames, guide, tmp_path / "pretrain")
    assert pretrain.run(config) == 0
    after = read_state_dict(guide)
    trained = torch.load(tmp_path / "pretrain" / "checkpoints" / "step_00000004.pt", weights_only=True)["task"]
    for name, value in before.items():
        assert torch.equal(value, after[name])
        assert torch.equal(value, trained[f"segmentor.net.{name}"]), f"{name} changed while it guided"
    assert sorted(path.name for path in (tmp_path / "pretrain" / "sheets").iterdir())
    encoder, facts = load_pretrained(tmp_path / "pretrain")
    assert facts["kind"] == "encoder"
    tuned = finetuning(frames, tmp_path / "finetune", init=str(tmp_path / "pretrain"), labels="4")
    assert finetune.run(tuned) == 0
    model, facts = load_pretrained(tmp_path / "finetune")
    assert (facts["mean"], facts["std"]) == pytest.approx(
        (float(encoder.input_norm.mean), float(encoder.input_norm.std))
    )
    assert "matched" in (tmp_path / "finetune" / "init.txt").read_text()
    assert len(json.loads((tmp_path / "finetune" / "run.json").read_text())["facts"]["labels"]) == 4
    assert model(torch.rand(1, 1, 70, 50)).shape == (1, 1, 70, 50)


def test_pretrain__in_bf16_validates_and_draws_its_sheets(frames: Path, guide: Path, tmp_path: Path) -> None:
    run = dataclasses.replace(RUN, precision="bf16")
    assert pretrain.run(pretraining(frames, guide, tmp_path / "pretrain", run=run)) == 0
    assert sorted((tmp_path / "pretrain" / "sheets").iterdir())


def test_pretrain__resumed_equals_uninterrupted_to_the_bit(frames: Path, guide: Path, tmp_path: Path) -> None:
    whole = pretraining(frames, guide, tmp_path / "whole")
    pretrain.run(whole)
    stopped = tmp_path / "stopped"
    pretrain.run(dataclasses.replace(whole, out=stopped))
    (stopped / "checkpoints" / "step_00000004.pt").unlink()  # as if it had been killed after step 3
    pretrain.run(dataclasses.replace(whole, out=stopped))
    one, two = read_state_dict(tmp_path / "whole" / "export_mae"), read_state_dict(stopped / "export_mae")
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert losses(stopped) == losses(tmp_path / "whole")


def test_pretrain__plain_mae_needs_no_segmentor(frames: Path, guide: Path, tmp_path: Path) -> None:
    config = pretraining(
        frames,
        guide,
        tmp_path / "mae",
        segmentor=None,
        masking=MaskingConfig(guidance="none"),
        consistency_weight=0.0,
    )
    assert pretrain.run(config) == 0


def test_pretrain__says_that_the_segmentor_is_missing(frames: Path, guide: Path, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="vasomim segmentor"):
        pretrain.run(pretraining(frames, guide, tmp_path / "out", segmentor=None))


def test_pretrain__refuses_weights_of_another_kind(frames: Path, guide: Path, tmp_path: Path) -> None:
    finetune.run(finetuning(frames, tmp_path / "tuned", optim=dataclasses.replace(FEW, steps=1)))
    with pytest.raises(CheckpointError, match="segmentor"):
        pretrain.run(pretraining(frames, guide, tmp_path / "out", segmentor=tmp_path / "tuned"))


def test_finetune__refuses_the_folder_of_another_run(frames: Path, tmp_path: Path) -> None:
    config = finetuning(frames, tmp_path / "run", optim=dataclasses.replace(FEW, steps=2))
    finetune.run(config)
    with pytest.raises(MisuseError, match="another run"):
        finetune.run(dataclasses.replace(config, dice_weight=0.5))


def test_finetune__goes_on_with_a_run_from_before_a_setting_was_known(frames: Path, tmp_path: Path) -> None:
    config = finetuning(frames, tmp_path / "run", optim=dataclasses.replace(FEW, steps=2))
    finetune.run(config)
    record = json.loads((config.out / "run.json").read_text())
    known = record["identity"].splitlines(keepends=True)
    record["identity"] = "".join(line for line in known if "writing:" not in line)
    assert record["identity"].count("\n") == len(known) - 1
    (config.out / "run.json").write_text(json.dumps(record))
    with pytest.raises(MisuseError, match=r"another run: .*writing: 0\.5"):
        finetune.run(dataclasses.replace(config, crop=dataclasses.replace(config.crop, writing=0.5)))
    assert finetune.run(config) == 0


def test_finetune__goes_on_with_a_run_from_before_pictures_were_files(frames: Path, tmp_path: Path) -> None:
    config = finetuning(frames, tmp_path / "run", optim=dataclasses.replace(FEW, steps=2))
    finetune.run(config)
    page = (config.out / "report.html").read_text()
    (config.out / "held_out.png").unlink()
    assert finetune.run(config) == 0
    assert (config.out / "held_out.png").is_file()

    def figures(html: str) -> list[str]:
        return [part.partition("</figure>")[0] for part in html.split("<figure")[1:]]

    assert len(figures(page)) == 1
    assert figures((config.out / "report.html").read_text()) == figures(page)


def test_build_crop__hands_every_setting_on() -> None:
    """A setting that the crop knows, and that does not reach it, would be a silent no-op."""
    usual = build_crop(CropConfig(), 32)
    others = {"scale": (0.3, 0.4), "ratio": (0.5, 0.6), "vessel_aware": 7}
    for setting in dataclasses.fields(CropConfig):
        value = others.get(setting.name, 0.123)
        assert getattr(usual, setting.name) != value
        assert getattr(build_crop(CropConfig(**{setting.name: value}), 32), setting.name) == value


def test_finetune__validation_frames_are_never_trained_on(frames: Path, tmp_path: Path) -> None:
    finetune.run(finetuning(frames, tmp_path / "run", optim=dataclasses.replace(FEW, steps=1)))
    labels = json.loads((tmp_path / "run" / "run.json").read_text())["facts"]["labels"]
    labelled = open_labelled([frames])
    held = {labelled.records[index].id for index in split_holdout(labelled, 0.25)[1]}
    assert len(held) == 3
    assert {record.id for record in labelled.records} - held == set(labels)


def test_model_card__holds_no_path(frames: Path, tmp_path: Path) -> None:
    finetune.run(finetuning(frames, tmp_path / "run", optim=dataclasses.replace(FEW, steps=1)))
    card = (tmp_path / "run" / "export" / "README.md").read_text()
    assert str(tmp_path) not in card
    assert "not a medical device" in card


def test_finetune__tile_mode_trains_at_native_pixel_size(frames: Path, tmp_path: Path) -> None:
    config = finetuning(
        frames, tmp_path / "run", inference="tile", img_size=32, optim=dataclasses.replace(FEW, steps=1)
    )
    assert finetune.run(config) == 0
    assert load_pretrained(tmp_path / "run")[1]["inference"] == {"mode": "tile", "size": 32, "flip": False}


def test_pretrain__takes_a_decoder_of_another_size(frames: Path, guide: Path, tmp_path: Path) -> None:
    config = pretraining(frames, guide, tmp_path / "out", decoder_embed_dim=64, decoder_depth=3)
    assert pretrain.run(dataclasses.replace(config, optim=dataclasses.replace(FEW, steps=1))) == 0
    model, _ = load_pretrained(tmp_path / "out" / "export_mae")
    assert len(model.decoder_blocks) == 3  # type: ignore[arg-type]


def test_training__from_a_pack_is_training_from_its_folder(frames: Path, guide: Path, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    packing = PrepareConfig(inputs=(frames,), out=pack, extraction="default", labels=True, workers=1)
    assert prepare.run(packing) == 0
    both = pretraining(frames, guide, tmp_path / "a"), pretraining(frames, guide, tmp_path / "b", inputs=(pack,))
    for config in (both[0], dataclasses.replace(both[1], vessels=None)):
        assert pretrain.run(config) == 0
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    tuned = finetuning(frames, tmp_path / "c"), finetuning(frames, tmp_path / "d", inputs=(pack,))
    for config in tuned:
        assert finetune.run(config) == 0
    for first, second in (("a", "b"), ("c", "d")):
        weights = read_state_dict(tmp_path / first), read_state_dict(tmp_path / second)
        assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_segmentor__extracts_from_a_pack_without_vessels(frames: Path, guide: Path, tmp_path: Path) -> None:
    assert prepare.run(PrepareConfig(inputs=(frames / "images",), out=tmp_path / "pack", workers=1)) == 0
    config = SegmentorConfig(
        inputs=(tmp_path / "pack",), out=tmp_path / "run", model="unext_test", img_size=SIZE, optim=FEW, run=RUN
    )
    assert segmentor.run(dataclasses.replace(config, holdout=0.25)) == 0
    assert losses(tmp_path / "run") == losses(guide)
    masks = [sorted((run / "vessels" / "masks").rglob("*.png")) for run in (tmp_path / "run", guide)]
    assert [path.read_bytes() for path in masks[0]] == [path.read_bytes() for path in masks[1]]


def test_pretrain__crops_made_in_batches_are_the_same_crops(frames: Path, guide: Path, tmp_path: Path) -> None:
    pack, batch = tmp_path / "pack", dataclasses.replace(RUN, augment="batch")
    packing = PrepareConfig(inputs=(frames / "images",), out=pack, vessels=guide / "vessels", workers=1)
    assert prepare.run(packing) == 0
    base = pretraining(frames, guide, tmp_path / "a", inputs=(pack,), vessels=None)
    assert pretrain.run(base) == 0
    assert pretrain.run(dataclasses.replace(base, out=tmp_path / "b", run=batch)) == 0
    pairs = [(a, b) for a, b in zip(losses(tmp_path / "a"), losses(tmp_path / "b"), strict=True) if a[1] is not None]
    assert len(pairs) == 4
    assert all(a[0] == b[0] and a[1] == pytest.approx(b[1], rel=1e-3) for a, b in pairs)
    with pytest.raises(MisuseError, match="need one pack with frames of one size"):
        pretrain.run(pretraining(frames, guide, tmp_path / "c", run=batch))


@pytest.mark.parametrize(("black", "told"), [(0, "12 of 12 masks looked at are more than half vessel"), (255, "")])
def test_finetune__masks_the_other_way_round_are_told(
    tmp_path: Path, black: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(12):
        made = generate(index, size=SIZE)
        write_png(tmp_path / "images" / f"{index}.png", made.image)
        write_png(tmp_path / "masks" / f"{index}.png", np.where(made.mask, black, 255 - black).astype(np.uint8))
    optim = dataclasses.replace(FEW, steps=1)
    assert finetune.run(finetuning(tmp_path, tmp_path / "run", holdout=0.0, optim=optim)) == 0
    told_lines = [line for line in capsys.readouterr().err.splitlines() if "masks looked at" in line]
    assert len(told_lines) == bool(told)
    assert all(told in line for line in told_lines)


@pytest.mark.parametrize("shared", [True, False])
def test_finetune__frames_of_val_that_are_trained_on_are_told(
    frames: Path, tmp_path: Path, shared: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    made = generate(99, size=SIZE)
    write_png(tmp_path / "other" / "images" / "a.png", made.image)
    write_png(tmp_path / "other" / "masks" / "a.png", made.mask.astype(np.uint8) * 255)
    config = FinetuneConfig(
        inputs=(frames,),
        out=tmp_path / "run",
        val=(frames if shared else tmp_path / "other",),
        model="vit_test_unet",
        img_size=SIZE,
        optim=dataclasses.replace(FEW, steps=1),
        run=RUN,
    )
    assert finetune.run(config) == 0
    assert ("12 of 12 frames to report on are trained on, e.g. 00" in capsys.readouterr().err) == shared
