"""`vasomim demo`: the whole chain in a few minutes, on synthetic angiograms or on labelled frames of one's own."""

from __future__ import annotations

import contextlib
import dataclasses
import json as json_text
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vasomim import metrics
from vasomim.commands import evaluate, extract, finetune, predict, pretrain, segmentor
from vasomim.commands.console import print_result, say
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
from vasomim.data.extraction import VesselStore
from vasomim.data.frames import write_png
from vasomim.data.open import open_frames, open_labelled
from vasomim.data.samples import FrameDataset
from vasomim.data.splits import split_holdout
from vasomim.engine.report import curves_from_metrics
from vasomim.errors import MisuseError
from vasomim.inference.predictor import Predictor
from vasomim.synth import generate
from vasomim.vessels import extract_vessels
from vasomim.viz.images import ERROR_COLORS, contact_sheet, error_map, overlay, to_rgb
from vasomim.viz.pages import html_figure, html_legend, html_page, html_table

SIZE = 128
"""Side of the frames the networks see; small, so that two cores are enough."""
UNLABELLED, LABELLED, TEST = 160, 10, 24
METHODS = {"vasomim": "VasoMIM", "mae": "plain MAE", "scratch": "from scratch"}
STEPS = {"segmentor": 100, "pretrain": 300, "finetune": 150}
"""Optimiser steps at the default budget of 4 minutes; every method gets the same."""


Card = Mapping[str, Any]
"""What evaluation.json holds."""


@dataclass(frozen=True)
class Places:
    """Where the demo keeps its parts."""

    root: Path

    def __getattr__(self, name: str) -> Path:
        return self.root / name.replace("__", "/")


def run(config: DemoConfig, *, json: bool = False, verbose: bool = False) -> int:
    """Run the chain into OUT and write OUT/report.html."""
    start = time.monotonic()
    places = Places(config.out)
    with contextlib.redirect_stdout(sys.stderr):  # the verbs print their own results
        make_data(config, places)
        train_all(config, places, verbose=verbose)
        scores = evaluate_all(places)
        predict.run(
            PredictConfig(
                inputs=(places.data__test__images,), out=places.predictions, weights=str(places.finetune_vasomim)
            )
        )
        write_page(config, places, scores, time.monotonic() - start)
    result = {METHODS[name]: scores[name]["metrics"]["dice"]["mean"] for name in METHODS}
    print_result(
        {"report": str(config.out / "report.html"), "seconds": round(time.monotonic() - start), **result}, json=json
    )
    return 0


def make_data(config: DemoConfig, places: Places) -> None:
    """Frames into OUT/data: unlabelled ones, a few labelled ones, and a test part that nothing is trained on."""
    if (places.data / "made.json").exists():
        return
    say("demo: making frames")
    counts = write_real(config, places) if config.inputs else write_synthetic(config, places)
    (places.data / "made.json").write_text(json_text.dumps(counts) + "\n")


def write_synthetic(config: DemoConfig, places: Places) -> dict[str, int]:
    """Synthetic angiograms, no scene twice."""
    for index in range(UNLABELLED + LABELLED + TEST):
        made = generate(config.seed * 100_003 + index, size=2 * SIZE)
        part = "unlabelled" if index < UNLABELLED else "labelled" if index < UNLABELLED + LABELLED else "test"
        write_pair(places.data / part, f"{index:04d}", made.image, None if part == "unlabelled" else made.mask)
    return {"unlabelled": UNLABELLED, "labelled": LABELLED, "test": TEST}


def write_real(config: DemoConfig, places: Places) -> dict[str, int]:
    """Labelled frames of one's own: a tenth at most is tested on, the labels of all but a few are never read."""
    frames = open_labelled(config.inputs)
    if len(frames) < 10:
        raise MisuseError(f"got {len(frames)} labelled frames, need at least 10; name more folders")
    kept, held = split_holdout(frames, min(0.25, TEST / len(frames)), config.seed)
    order = np.random.default_rng(config.seed).permutation(kept)
    labelled = order[: min(LABELLED, len(order) // 2)]
    parts = {"labelled": labelled, "unlabelled": order[len(labelled) :][:UNLABELLED], "test": np.array(held[:TEST])}
    for part, indices in parts.items():
        copy_frames(frames, indices.tolist(), places.data / part, labelled=part != "unlabelled")
    return {part: len(indices) for part, indices in parts.items()}


def copy_frames(frames: FrameDataset, indices: Sequence[int], folder: Path, *, labelled: bool) -> None:
    """Write frames, and their masks where asked, as PNG below `folder`."""
    for index in indices:
        sample = frames[index]
        image = (sample.image * 255).round().astype(np.uint8)
        write_pair(folder, sample.record.id.replace("/", "_"), image, sample.mask if labelled else None)


def write_pair(folder: Path, name: str, image: np.ndarray, mask: np.ndarray | None) -> None:
    """One frame and its mask in the layout of `open_labelled`."""
    write_png(folder / "images" / f"{name}.png", image)
    if mask is not None:
        write_png(folder / "masks" / f"{name}.png", mask.astype(np.uint8) * 255)


def train_all(config: DemoConfig, places: Places, *, verbose: bool) -> None:
    """Extraction, segmentor, two pre-trainings, three fine-tunings; each a run that could stand alone."""
    scale = config.minutes / 4
    settings = RunConfig(seed=config.seed, num_workers=0, save_every=100, validate_every=50, log_every=5)
    frames = (places.data__unlabelled__images,)
    vessels = places.vessels

    def optim(verb: str, batch_size: int, lr: float, **more: object) -> OptimConfig:
        return dataclasses.replace(
            OptimConfig(batch_size=batch_size, steps=max(2, round(STEPS[verb] * scale)), lr=lr),
            **more,  # type: ignore[arg-type]
        )

    say("demo: extracting vessels")
    extract.run(ExtractConfig(inputs=frames, out=vessels, workers=1), verbose=verbose)
    segmentor.run(
        SegmentorConfig(
            inputs=frames,
            out=places.segmentor,
            vessels=vessels,
            img_size=SIZE,
            optim=optim("segmentor", 16, 2e-3, warmup=0.0),
            run=settings,
        )
    )
    guided = PretrainConfig(
        inputs=frames,
        out=places.pretrain_vasomim,
        vessels=vessels,
        segmentor=places.segmentor,
        model="mae_vit_test",
        img_size=SIZE,
        crop=CropConfig(scale=(0.4, 1.0)),
        optim=optim("pretrain", 32, 2e-3),
        run=settings,
        holdout=0.15,
    )
    pretrain.run(guided)
    plain = dataclasses.replace(
        guided,
        out=places.pretrain_mae,
        segmentor=None,
        masking=MaskingConfig(guidance="none"),
        consistency_weight=0.0,
    )
    pretrain.run(plain)
    for method in METHODS:
        finetune.run(
            FinetuneConfig(
                inputs=(places.data__labelled,),
                holdout=0.0,
                out=places.root / f"finetune_{method}",
                model="vit_test_unet",
                init="scratch" if method == "scratch" else str(places.root / f"pretrain_{method}"),
                img_size=SIZE,
                optim=optim("finetune", 8, 2e-3, layer_decay=0.75, betas=(0.9, 0.999), clip_grad=1.0),
                run=settings,
            )
        )


def evaluate_all(places: Places) -> dict[str, Card]:
    """The evaluation card of each method on the test frames."""
    cards = {}
    for method in METHODS:
        out = places.root / f"evaluate_{method}"
        evaluate.run(
            EvaluateConfig(inputs=(places.data__test,), out=out, weights=str(places.root / f"finetune_{method}"))
        )
        cards[method] = json_text.loads((out / "evaluation.json").read_text())
    return cards


def write_page(config: DemoConfig, places: Places, cards: Mapping[str, Card], seconds: float) -> None:
    """OUT/report.html: results, what was extracted, how training went, pictures; opens offline."""
    source = "your frames" if config.inputs else "synthetic angiograms"
    counts = json_text.loads((places.data / "made.json").read_text())
    lead = (
        f"{counts['unlabelled']} unlabelled and {counts['labelled']} labelled frames of {source}, {counts['test']} "
        f"test frames, {seconds / 60:.1f} minutes. Every method: the same data, steps and settings; one seed."
    )
    sections = [
        ("Results on the test frames", results_table(cards) + caveat(config)),
        ("Predictions, errors coloured", prediction_sheet(places)),
        ("Vascular anatomy, extracted without labels", extraction_section(places)),
        ("Pre-training with guidance and consistency", curves(places.pretrain_vasomim) + last_sheet(places)),
        ("Plain MAE", curves(places.pretrain_mae)),
        *((f"Fine-tuning: {METHODS[name]}", curves(places.root / f"finetune_{name}")) for name in METHODS),
    ]
    page = html_page("vasomim demo", sections, footer="Research use, not a medical device.", lead=lead)
    (config.out / "report.html").write_text(page, encoding="utf-8")


def results_table(cards: Mapping[str, Card]) -> str:
    """Dice, clDice, precision and recall of each method, means of per-image values with 95 % bootstrap intervals."""
    names = ("dice", "cldice", "precision", "recall")
    rows = []
    for method, card in cards.items():
        scores = [card["metrics"][name] for name in names]
        rows.append([METHODS[method], *(f"{x['mean']:.3f} [{x['ci95'][0]:.3f}, {x['ci95'][1]:.3f}]" for x in scores)])
    return html_table(
        rows, ["start", "Dice", "clDice", "precision", "recall"], "per-image means [95 % interval], native size"
    )


def caveat(config: DemoConfig) -> str:
    """What these numbers do and do not say."""
    return (
        "<p>Minutes of training with a tiny network show that the chain works, not which method is better: "
        "where intervals overlap there is no evidence either way.</p>"
        + ("" if config.inputs else "<p>Synthetic frames are easier than real ones; no number here carries over.</p>")
    )


def prediction_sheet(places: Places, rows: int = 5) -> str:
    """Some test frames: frame, truth, and each method's errors."""
    predictors = {name: Predictor.from_pretrained(str(places.root / f"finetune_{name}")) for name in METHODS}
    test = open_labelled((places.data__test,))
    cells = []
    for index in range(min(rows, len(test))):
        sample = test[index]
        assert sample.mask is not None
        found = [predictor.predict(sample.image).mask for predictor in predictors.values()]
        errors = [error_map(sample.image, mask, sample.mask) for mask in found]
        cells.append([to_rgb(sample.image), overlay(sample.image, sample.mask), *errors])
    columns = ["frame", "truth", *METHODS.values()]
    return html_figure(contact_sheet(cells, columns=columns)) + html_legend(ERROR_COLORS)


def extraction_section(places: Places) -> str:
    """Extracted anatomy beside its frames; its agreement with the truth on the labelled frames."""
    store, frames = VesselStore(places.vessels), open_frames((places.data__unlabelled__images,))
    chosen = [frames[index] for index in range(min(6, len(frames)))]
    pictures = [overlay(sample.image, store.load(sample.record)) for sample in chosen]
    labelled = open_labelled((places.data__labelled,))
    pairs = [(extract_vessels(sample.image), sample.mask) for sample in (labelled[k] for k in range(len(labelled)))]
    dice = float(np.mean([metrics.dice(found, mask) for found, mask in pairs if mask is not None]))
    return (
        html_figure(contact_sheet([pictures]))
        + f"<p>Mean Dice against the {len(pairs)} labelled frames: {dice:.3f}.</p>"
    )


def curves(run_path: Path) -> str:
    """The charts of a run."""
    return "".join(svg for _, svg in curves_from_metrics(run_path / "metrics.jsonl"))


def last_sheet(places: Places) -> str:
    """The newest reconstruction sheet of the guided pre-training."""
    sheets = sorted((places.pretrain_vasomim / "sheets").glob("*.png"))
    picture = cv2.imread(str(sheets[-1])) if sheets else None
    return "" if picture is None else html_figure(picture[..., ::-1])
