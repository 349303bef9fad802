"""The demo's report.html: results, pictures and curves of the whole chain on one offline page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vasomim import metrics
from vasomim.data.extraction import VesselStore
from vasomim.data.open import open_frames, open_labelled
from vasomim.engine.report import FOOTER, curves_from_metrics
from vasomim.files import write_text
from vasomim.inference.predictor import Predictor
from vasomim.vessels import extract_vessels
from vasomim.viz.images import ERROR_COLORS, contact_sheet, error_map, overlay, to_rgb
from vasomim.viz.pages import html_charts, html_figure, html_legend, html_page, html_table

Card = Mapping[str, Any]
"""What evaluation.json holds."""
METHODS = {"vasomim": "VasoMIM", "mae": "plain MAE", "scratch": "from scratch"}
SHEET_ROWS = 5


@dataclass(frozen=True)
class Places:
    """Where the demo keeps its parts below OUT."""

    root: Path

    @property
    def unlabelled(self) -> Path:
        """Frames without labels, for extraction, segmentor and pre-training."""
        return self.root / "data" / "unlabelled" / "images"

    @property
    def labelled(self) -> Path:
        """The few labelled frames of the fine-tunings."""
        return self.root / "data" / "labelled"

    @property
    def test(self) -> Path:
        """Labelled frames that nothing is trained on."""
        return self.root / "data" / "test"

    def part(self, name: str) -> Path:
        """The folder of one verb, such as `vessels` or `finetune_mae`."""
        return self.root / name


def write_page(places: Places, cards: Mapping[str, Card], plan: Mapping[str, Any], seconds: float) -> None:
    """OUT/report.html. `plan` is what OUT/plan.json holds, `seconds` what this call of the demo took."""
    real, counts, steps = bool(plan["inputs"]), plan["frames"], plan["steps"]
    lead = (
        f"{counts['unlabelled']} unlabelled and {counts['labelled']} labelled frames of "
        f"{'your own' if real else 'synthetic angiograms'}, {counts['test']} test frames, {seconds / 60:.1f} minutes. "
        f"Every method: the same data and settings, {steps['pretrain']} steps of pre-training where there is one, "
        f"{steps['finetune']} of fine-tuning; one seed."
    )
    sections = [
        ("Results on the test frames", results_table(cards) + caveat(real)),
        ("Predictions, errors coloured", prediction_sheet(places)),
        ("Vascular anatomy, extracted without labels", extraction_section(places)),
        ("Pre-training with guidance and consistency", curves(places.part("pretrain_vasomim")) + last_sheet(places)),
        ("Plain MAE", curves(places.part("pretrain_mae"))),
        *((f"Fine-tuning: {METHODS[name]}", curves(places.part(f"finetune_{name}"))) for name in METHODS),
    ]
    page = html_page("vasomim demo", sections, footer=FOOTER, lead=lead)
    write_text(places.root / "report.html", page)


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


def caveat(real: bool) -> str:
    """What these numbers do and do not say."""
    return (
        "<p>Minutes of training with a tiny network show that the chain works, not which method is better: "
        "where intervals overlap there is no evidence either way.</p>"
        + ("" if real else "<p>Synthetic frames are easier than real ones; no number here carries over.</p>")
    )


def prediction_sheet(places: Places) -> str:
    """Some test frames: frame, truth, and each method's errors."""
    predictors = {name: Predictor.from_pretrained(str(places.part(f"finetune_{name}"))) for name in METHODS}
    test = open_labelled((places.test,))
    cells = []
    for index in range(min(SHEET_ROWS, len(test))):
        sample = test[index]
        assert sample.mask is not None
        found = [predictor.predict(sample.image).mask for predictor in predictors.values()]
        errors = [error_map(sample.image, mask, sample.mask) for mask in found]
        cells.append([to_rgb(sample.image), overlay(sample.image, sample.mask), *errors])
    columns = ["frame", "truth", *METHODS.values()]
    return html_figure(contact_sheet(cells, columns=columns)) + html_legend(ERROR_COLORS)


def extraction_section(places: Places) -> str:
    """Extracted anatomy beside its frames; its agreement with the truth on the labelled frames."""
    store, frames = VesselStore(places.part("vessels")), open_frames((places.unlabelled,))
    chosen = [frames[index] for index in range(min(6, len(frames)))]
    pictures = [overlay(sample.image, store.load(sample.record)) for sample in chosen]
    labelled = open_labelled((places.labelled,))
    pairs = [(extract_vessels(sample.image), sample.mask) for sample in (labelled[k] for k in range(len(labelled)))]
    dice = float(np.mean([metrics.dice(found, mask) for found, mask in pairs if mask is not None]))
    return (
        html_figure(contact_sheet([pictures]))
        + f"<p>Mean Dice against the {len(pairs)} labelled frames: {dice:.3f}.</p>"
    )


def curves(run_path: Path) -> str:
    """The charts of a run."""
    return html_charts(svg for _, svg in curves_from_metrics(run_path / "metrics.jsonl"))


def last_sheet(places: Places) -> str:
    """The newest reconstruction sheet of the guided pre-training."""
    sheets = sorted((places.part("pretrain_vasomim") / "sheets").glob("*.png"))
    picture = cv2.imread(str(sheets[-1])) if sheets else None
    return "" if picture is None else html_figure(picture[..., ::-1])
