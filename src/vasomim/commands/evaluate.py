"""`vasomim evaluate`: a segmenter, or a folder of its masks, against labels."""

from __future__ import annotations

import json as json_text
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from vasomim.commands.console import progress_bar, say
from vasomim.config import EvaluateConfig
from vasomim.data.open import open_labelled
from vasomim.data.predictions import PredictedMasks
from vasomim.data.samples import FrameDataset
from vasomim.engine.comparison import check_comparable, compare, read_evaluation
from vasomim.engine.evaluation import EvaluationCard, evaluate
from vasomim.engine.evaluation_page import NAMES, number_text
from vasomim.engine.evaluation_source import EvaluationSource, LabelledFrame, Map, stored_masks
from vasomim.engine.runs import versions
from vasomim.errors import MisuseError
from vasomim.ops.hysteresis import Cut
from vasomim.ops.resize import resize_area

if TYPE_CHECKING:
    from vasomim.inference.predictor import Predictor

OURS = ("evaluation.json", "per_image.csv", "report.html")


def run(config: EvaluateConfig, *, json: bool = False, verbose: bool = False) -> int:
    """Print the card (JSON on stdout with `json`); with `--out` also write it, with pictures, to that folder."""
    check_settings(config)
    other = None if config.compare is None else read_evaluation(config.compare)
    dataset = open_labelled(config.inputs, rasteriser=config.rasteriser)
    opened = open_source(config, dataset)
    check_out(config.out, opened.protocol)
    if other is not None:
        check_comparable([record.id for record in dataset.records], opened.protocol, other)
    with progress_bar("evaluating", len(dataset)) as step:
        card = evaluate(opened.source.cases(), **asdict(opened.cut), protocol=opened.protocol, progress=step)
    if other is not None:
        card = compare(card, other)
    if config.out is not None:
        card.write(config.out, lambda name: opened.source.picture(name, opened.cut))
        if verbose:
            say(f"look at {config.out / 'report.html'}")
    if json:
        print(card.to_json())
    else:
        print_card(card)
    return 0


def check_settings(config: EvaluateConfig) -> None:
    """Refuse settings that contradict each other.

    Raises:
        MisuseError: neither or both of weights and predictions, a threshold for masks, or a number out of range.
    """
    if (config.weights is None) == (config.predictions is None):
        given = "both" if config.weights is not None else "none"
        raise MisuseError(f"got {given} of --weights and --predictions; give one: a model, or a folder of its masks")
    if config.predictions is not None and config.threshold is not None:
        raise MisuseError("--threshold has no effect on --predictions, which are masks already; leave it out")
    for name, value in (("size", config.size), ("batch-size", config.batch_size)):
        if value is not None and value < 1:
            raise MisuseError(f"--{name} must be at least 1, got {value}")


@dataclass(frozen=True)
class Opened:
    """Predictions beside their labels, and what the protocol says of them."""

    source: EvaluationSource
    cut: Cut
    protocol: Mapping[str, Any]


def open_source(config: EvaluateConfig, dataset: FrameDataset) -> Opened:
    """Where predictions come from: masks in files, or a model."""
    opened = open_masks(config, dataset) if config.weights is None else open_weights(config, dataset)
    asked = {
        "size": config.size or "native",
        "rasteriser": config.rasteriser,
        "inputs": [str(p) for p in config.inputs],
    }
    return replace(opened, protocol={**asked, **opened.protocol, "versions": versions()})


def open_masks(config: EvaluateConfig, dataset: FrameDataset) -> Opened:
    """Masks in files."""
    assert config.predictions is not None
    masks = PredictedMasks(config.predictions, dataset.records)
    source = EvaluationSource(dataset, stored_masks(masks), config.size, config.batch_size)
    return Opened(source, Cut(), {"predictions": str(config.predictions), "threshold": None, "high_threshold": None})


def open_weights(config: EvaluateConfig, dataset: FrameDataset) -> Opened:
    """A model; loads torch, which masks in files can do without."""
    from vasomim.inference.predictor import Predictor

    assert config.weights is not None
    predictor = Predictor.from_pretrained(
        config.weights,
        config.device,
        config.precision,
        config.batch_size,
        threshold=config.threshold,
        flip=config.flip,
        backend=config.backend,
        output=config.output,
    )
    source = EvaluationSource(dataset, model_maps(predictor, config.size), config.size, config.batch_size)
    protocol = {
        "weights": {"name": predictor.name, "fingerprint": predictor.fingerprint()},
        "inference": how_used(predictor, config.size),
        **asdict(predictor.cut),
        "computed_by": {name: getattr(predictor.backend, name) for name in ("name", "device", "precision")},
    }
    return Opened(source, predictor.cut, protocol)


def is_own_size(predictor: Predictor, size: int) -> bool:
    """Whether the weights are made for whole frames of that size."""
    return predictor.mode == "resize" and predictor.size == size


def how_used(predictor: Predictor, size: int | None) -> dict[str, Any]:
    """How `model_maps` uses the weights, for the protocol."""
    if size is None or is_own_size(predictor, size):
        return predictor.settings()
    return {**predictor.settings(), "averaged_to": size}


def model_maps(predictor: Predictor, size: int | None) -> Callable[[Sequence[LabelledFrame]], Sequence[Map]]:
    """Probabilities as the weights are made to be used: of whole frames at the asked size where that is their own.

    Weights for another size see native frames, and what they find is averaged over area, as the labels are.
    """
    own = size is None or is_own_size(predictor, size)

    def maps(frames: Sequence[LabelledFrame]) -> Sequence[Map]:
        found = predictor.probabilities([frame.image if own else frame.native for frame in frames])
        return found if own or size is None else [resize_area(value, size) for value in found]

    return maps


def check_out(out: Path | None, protocol: Mapping[str, Any]) -> None:
    """Refuse a folder that holds anything but an earlier evaluation of the same weights on the same inputs.

    Raises:
        MisuseError: it does.
    """
    if out is None or not out.exists():
        return
    if not out.is_dir():
        raise MisuseError(f"{out} is a file; name a folder for --out")
    entries = sorted(entry.name for entry in out.iterdir() if not entry.name.startswith("."))
    if not entries:
        return
    foreign = [name for name in entries if name not in OURS]
    if foreign:
        raise MisuseError(f"{out} is not empty and holds {foreign[0]}; choose another --out, or empty it")
    try:
        there = json_text.loads((out / "evaluation.json").read_text(encoding="utf-8"))["protocol"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return  # an evaluation that was cut off before its last file
    same = ("weights", "predictions", "inputs", "size", "rasteriser", "threshold", "high_threshold", "inference")
    changed = [name for name in same if there.get(name) != protocol.get(name)]
    if changed:
        raise MisuseError(f"{out} holds another evaluation (other {', '.join(changed)}); choose another --out")


def print_card(card: EvaluationCard) -> None:
    """Tables for the person at the terminal."""
    console = Console(highlight=False)
    values = card.to_dict()
    scores = Table("metric", "mean", "95 % interval", "pooled", title=f"{values['n']} frames, means per image")
    for name, score in values["metrics"].items():
        low, high = score["ci95"]
        pooled = number_text(values["pooled"].get(name)) or ""
        scores.add_row(NAMES[name], number_text(score["mean"]), f"{low:.4f} - {high:.4f}", pooled)
    console.print(scores)
    widths = Table("width (px)", "recall", "precision", "centreline recall", title="by vessel width, pooled")
    for name, row in values["by_width"].items():
        columns = ("recall", "precision", "centreline_recall")
        widths.add_row(name, *(number_text(row[column]) or "-" for column in columns))
    console.print(widths)
    if "comparison" in values:
        _print_comparison(console, values["comparison"])


def _print_comparison(console: Console, comparison: Mapping[str, Any]) -> None:
    table = Table("metric", "this", "other", "difference", "95 % interval", "p", title=f"against {comparison['other']}")
    for name, result in comparison["metrics"].items():
        low, high = result["ci95"]
        means = (number_text(result["mean"]), number_text(result["other_mean"]))
        interval = f"{low:+.4f} - {high:+.4f}"
        table.add_row(NAMES[name], *means, f"{result['difference']:+.4f}", interval, f"{result['p_value']:.2g}")
    console.print(table)
