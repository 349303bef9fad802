"""`vasomim demo`: the whole chain in a few minutes, on synthetic angiograms or on labelled frames of one's own."""

from __future__ import annotations

import contextlib
import dataclasses
import json as json_text
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vasomim.build import build_loss
from vasomim.commands import evaluate, extract, finetune, predict, pretrain, segmentor
from vasomim.commands.console import print_result, say
from vasomim.commands.demo_page import METHODS, Card, Places, write_page
from vasomim.config import (
    CropConfig,
    DemoConfig,
    EvaluateConfig,
    ExtractConfig,
    FinetuneConfig,
    MaskingConfig,
    OptimConfig,
    PredictConfig,
    PretrainConfig,
    RunConfig,
    SegmentorConfig,
)
from vasomim.data.frames import write_png
from vasomim.data.open import open_labelled
from vasomim.data.samples import FrameDataset
from vasomim.data.splits import split_holdout
from vasomim.errors import MisuseError
from vasomim.files import write_text
from vasomim.models.mae import MaskedAutoencoder
from vasomim.models.registry import create_model
from vasomim.synth import generate
from vasomim.tasks.pretraining import MaskingPlan, PretrainingTask
from vasomim.tasks.segmentation import SegmentationTask
from vasomim.types import Progress

SIZE = 128
"""Side of the frames the networks see; small, so that two cores are enough."""
FRAMES = {"unlabelled": 160, "labelled": 10, "test": 24}
STEPS = {"segmentor": 300, "pretrain": 240, "finetune": 200}
"""Optimiser steps where the time allows; on a slow machine all shrink alike. Every method gets the same."""
BATCH = {"segmentor": 16, "pretrain": 32, "finetune": 8}
SEGMENTOR, AUTOENCODER, SEGMENTER = "unext_s", "mae_vit_test", "vit_test_unet"
READ_SECONDS = 0.002
"""Reading and cropping one frame."""
FIXED_SECONDS = 50
"""What the rest of the chain takes: frames, extraction, validation, evaluation, pictures."""


def run(config: DemoConfig, *, json: bool = False, verbose: bool = False) -> int:
    """Run the chain into OUT and write OUT/report.html; the same command goes on where it was stopped."""
    start = time.monotonic()
    # Networks this small gain nothing from more threads, and threads that wait for a busy core cost minutes.
    torch.set_num_threads(1)
    places = Places(config.out)
    with contextlib.redirect_stdout(sys.stderr):  # the verbs print their own results
        plan = make_plan(config, places)
        pretrain_both(config, places, plan["steps"], verbose=verbose)
        finetune_all(config, places, plan["steps"])
        cards = evaluate_all(places)
        weights = str(places.part("finetune_vasomim"))
        predict.run(PredictConfig(inputs=(places.test / "images",), out=places.part("predictions"), weights=weights))
        write_page(places, cards, plan, time.monotonic() - start)
    dice = {label: cards[name]["metrics"]["dice"]["mean"] for name, label in METHODS.items()}
    seconds = round(time.monotonic() - start)
    print_result({"report": str(config.out / "report.html"), "seconds": seconds, **dice}, json=json)
    return 0


def make_plan(config: DemoConfig, places: Places) -> dict[str, Any]:
    """Frames into OUT/data and the steps of every run into OUT/plan.json, or what an earlier call has put there.

    Raises:
        MisuseError: OUT holds something else, or a demo of other settings.
    """
    asked = {"inputs": [str(path) for path in config.inputs], "seed": config.seed, "minutes": config.minutes}
    path = config.out / "plan.json"
    if path.is_file():
        plan: dict[str, Any] = json_text.loads(path.read_text())
        if {name: plan[name] for name in asked} != asked:
            raise MisuseError(f"{config.out} holds a demo of other settings; choose another --out, or delete it")
        return plan
    if config.out.is_dir() and any(entry.name != "data" for entry in config.out.iterdir()):
        raise MisuseError(f"{config.out} is not empty and holds no demo; choose another --out")
    say("demo: making frames")
    counts = write_real(config, places) if config.inputs else write_synthetic(config, places)
    plan = {**asked, "frames": counts, "steps": plan_steps(config)}
    write_text(path, json_text.dumps(plan, indent=2) + "\n")
    return plan


def write_synthetic(config: DemoConfig, places: Places) -> dict[str, int]:
    """Synthetic angiograms into the three parts, no scene twice."""
    parts = [part for part, count in FRAMES.items() for _ in range(count)]
    for index, part in enumerate(parts):
        made = generate(config.seed * 100_003 + index, size=2 * SIZE)
        write_pair(places, part, f"{index:04d}", made.image, made.mask)
    return FRAMES


def write_real(config: DemoConfig, places: Places) -> dict[str, int]:
    """Frames of one's own: a quarter at most is tested on; the labels of the unlabelled part are never read."""
    frames = open_labelled(config.inputs)
    if len(frames) < 10:
        raise MisuseError(f"got {len(frames)} labelled frames, need at least 10; name more folders")
    kept, held = split_holdout(frames, min(0.25, FRAMES["test"] / len(frames)), config.seed)
    order = np.random.default_rng(config.seed).permutation(kept).tolist()
    labelled = order[: min(FRAMES["labelled"], len(order) // 2)]
    unlabelled = order[len(labelled) :][: FRAMES["unlabelled"]]
    parts = {"unlabelled": unlabelled, "labelled": labelled, "test": held[: FRAMES["test"]]}
    for part, indices in parts.items():
        copy_frames(frames, indices, places, part)
    return {part: len(indices) for part, indices in parts.items()}


def copy_frames(frames: FrameDataset, indices: Sequence[int], places: Places, part: str) -> None:
    """Write frames and masks as 8-bit PNG into a part."""
    for index in indices:
        sample = frames[index]
        assert sample.mask is not None
        image = (sample.image * 255).round().astype(np.uint8)
        write_pair(places, part, sample.record.id.replace("/", "_"), image, sample.mask)


def write_pair(
    places: Places, part: str, name: str, image: npt.NDArray[np.uint8 | np.uint16], mask: npt.NDArray[np.bool_]
) -> None:
    """One frame, and its mask unless the part is the unlabelled one."""
    folder = places.root / "data" / part
    write_png(folder / "images" / f"{name}.png", image)
    if part != "unlabelled":
        write_png(folder / "masks" / f"{name}.png", mask.astype(np.uint8) * 255)


def plan_steps(config: DemoConfig) -> dict[str, int]:
    """Steps of each verb, all shrunk alike where this machine would need more than the minutes asked for."""
    seconds = sum(STEPS[verb] * (cost + BATCH[verb] * READ_SECONDS) for verb, cost in step_seconds())
    scale = min(1.0, max(60 * config.minutes - FIXED_SECONDS, 0) / seconds)
    return {verb: max(2, round(steps * scale)) for verb, steps in STEPS.items()}


def step_seconds() -> list[tuple[str, float]]:
    """The six trainings of the demo: verb, and how long one step of it computes here."""
    guide, autoencoder = create_model(SEGMENTOR), create_model(AUTOENCODER, img_size=SIZE)
    segmenter = create_model(SEGMENTER, img_size=SIZE)
    assert isinstance(autoencoder, MaskedAutoencoder)
    learn_guide = SegmentationTask(guide, build_loss(dice=0.5, bce=0.5), "vessels")
    finetuning = pass_seconds(SegmentationTask(segmenter, build_loss(dice=1, bce=1), "vessels"), "finetune")
    plain = PretrainingTask(autoencoder, MaskingPlan(guidance="none"), consistency_weight=0)
    return [
        ("segmentor", pass_seconds(learn_guide, "segmentor")),
        ("pretrain", pass_seconds(plain, "pretrain")),
        ("pretrain", pass_seconds(PretrainingTask(autoencoder, MaskingPlan(), guide), "pretrain")),
        *[("finetune", finetuning) for _ in METHODS],
    ]


def pass_seconds(task: nn.Module, verb: str) -> float:
    """Seconds of one forward and backward pass of a task over random frames, after one to warm up."""
    size = BATCH[verb]
    batch = {
        "image": torch.rand(size, 1, SIZE, SIZE),
        "vessels": torch.rand(size, SIZE, SIZE).round(),
        "index": torch.arange(size),
        "epoch": torch.zeros(size, dtype=torch.int64),
    }
    for _ in range(2):
        start = time.monotonic()
        task(batch, Progress(0, 1, 0, 1)).loss.backward()
    return time.monotonic() - start


def optim(verb: str, steps: Mapping[str, int], **more: Any) -> OptimConfig:
    """Steps and batch size of a verb; the learning rate suits the tiny networks."""
    return OptimConfig(batch_size=BATCH[verb], steps=steps[verb], lr=2e-3, **more)


def settings(config: DemoConfig) -> RunConfig:
    """Small runs: everything in this process, a checkpoint now and then."""
    return RunConfig(seed=config.seed, num_workers=0, save_every=100, validate_every=100, log_every=10)


def pretrain_both(config: DemoConfig, places: Places, steps: Mapping[str, int], *, verbose: bool) -> None:
    """Extraction, segmentor, VasoMIM, and plain MAE with the same settings."""
    frames, vessels = (places.unlabelled,), places.part("vessels")
    say("demo: extracting vessels")
    extract.run(ExtractConfig(inputs=frames, out=vessels, workers=1), verbose=verbose)
    shared: dict[str, Any] = {"inputs": frames, "vessels": vessels, "img_size": SIZE, "holdout": 0.15}
    guide = places.part("segmentor")
    say("demo: training the segmentor on the extracted vessels")
    segmentor.run(
        SegmentorConfig(
            **shared, out=guide, model=SEGMENTOR, optim=optim("segmentor", steps, warmup=0.0), run=settings(config)
        )
    )
    guided = PretrainConfig(
        **shared,
        out=places.part("pretrain_vasomim"),
        segmentor=guide,
        model=AUTOENCODER,
        crop=CropConfig(scale=(0.4, 1.0)),
        optim=optim("pretrain", steps),
        run=settings(config),
    )
    say("demo: pre-training with guided masking and consistency")
    pretrain.run(guided)
    say("demo: pre-training plain MAE")
    plain: dict[str, Any] = {"segmentor": None, "masking": MaskingConfig(guidance="none"), "consistency_weight": 0.0}
    pretrain.run(dataclasses.replace(guided, out=places.part("pretrain_mae"), **plain))


def finetune_all(config: DemoConfig, places: Places, steps: Mapping[str, int]) -> None:
    """The same fine-tuning from both encoders and from random weights."""
    for method, label in METHODS.items():
        say(f"demo: fine-tuning, {label}")
        finetune.run(
            FinetuneConfig(
                inputs=(places.labelled,),
                holdout=0.0,
                out=places.part(f"finetune_{method}"),
                model=SEGMENTER,
                init="scratch" if method == "scratch" else str(places.part(f"pretrain_{method}")),
                img_size=SIZE,
                optim=optim("finetune", steps, layer_decay=0.75, betas=(0.9, 0.999), clip_grad=1.0),
                run=settings(config),
            )
        )


def evaluate_all(places: Places) -> dict[str, Card]:
    """The evaluation card of each method on the test frames."""
    cards = {}
    for method in METHODS:
        out = places.part(f"evaluate_{method}")
        evaluate.run(EvaluateConfig(inputs=(places.test,), out=out, weights=str(places.part(f"finetune_{method}"))))
        cards[method] = json_text.loads((out / "evaluation.json").read_text())
    return cards
