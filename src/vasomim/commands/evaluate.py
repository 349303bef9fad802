"""`vasomim evaluate`: a segmenter, or a folder of its masks, against labels."""

from __future__ import annotations

import json as json_text
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vasomim.commands.console import progress_bar, say, warn
from vasomim.config import EvaluateConfig
from vasomim.data.frames import frame_hash, is_constant
from vasomim.data.open import open_labelled
from vasomim.data.predictions import PredictedMasks
from vasomim.data.samples import FrameDataset
from vasomim.engine.comparison import StoredEvaluation, check_comparable, compare, read_evaluation
from vasomim.engine.evaluation import EvaluationCard, evaluate
from vasomim.engine.evaluation_page import NAMES, count_text, number_text
from vasomim.engine.evaluation_source import EvaluationSource, LabelledFrame, Map, stored_masks
from vasomim.engine.run_folder import versions
from vasomim.errors import MisuseError, VasomimError
from vasomim.files import make_folder
from vasomim.models.trained_on import read_trained_on
from vasomim.ops.borders import content
from vasomim.ops.hysteresis import Cut
from vasomim.ops.resize import resize_area

if TYPE_CHECKING:
    from vasomim.inference.predictor import Predictor

OURS = ("evaluation.json", "per_image.csv", "report.html")


def run(config: EvaluateConfig, *, json: bool = False, verbose: bool = False) -> int:
    """Print the card (JSON on stdout with `json`); with `--out` also write it, with pictures, to that folder.

    Returns:
        1 where a frame could not be measured, else 0.
    """
    check_given(config)
    other = None if config.compare is None else read_evaluation(config.compare)
    dataset = open_labelled(config.inputs, rasteriser=config.rasteriser)
    opened = open_source(config, dataset)
    if other is not None:
        check_comparable([record.id for record in dataset.records], opened.protocol, other)
    check_out(config.out, opened.protocol)
    card = measure(opened)
    card, refusal = compared(card, other)
    # On stdout first: a disk that is full by now must not take the numbers with it.
    if json:
        print(card.to_json())
    else:
        print_card(card)
    if config.out is not None:
        card.write(config.out, lambda name: opened.source.picture(name, opened.cut))
        if verbose:
            say(f"look at {config.out / 'report.html'}")
    if refusal is not None:
        raise refusal
    return 1 if card.failures else 0


def check_given(config: EvaluateConfig) -> None:
    """There is something to evaluate.

    Raises:
        MisuseError: neither weights nor predictions.
    """
    if config.weights is None and config.predictions is None:
        raise MisuseError("got none of --weights and --predictions; give one: a model, or a folder of its masks")


@dataclass(frozen=True)
class Opened:
    """Predictions beside their labels, and what the protocol says of them."""

    source: EvaluationSource
    cut: Cut
    protocol: Mapping[str, Any]
    doubts: Mapping[str, str] = field(default_factory=dict)
    """What is wrong with frames that look like no angiogram with dark vessels, by id; filled as they are predicted."""
    learned: Collection[str] | None = None
    """Ids of frames whose labels the weights have learned, filled alike; None where the weights do not say."""


def measure(opened: Opened) -> EvaluationCard:
    """Every frame measured; those that cannot be, and doubts about the others, are said on stderr.

    Raises:
        DataError: no frame can be measured.
    """
    with progress_bar("evaluating", len(opened.source.dataset)) as step:
        card = evaluate(
            opened.source.cases(),
            **asdict(opened.cut),
            protocol=opened.protocol,
            progress=step,
            failed=lambda failure: warn(failure.reason),
        )
    doubted = [name for name in card.ids if name in opened.doubts]
    if doubted:
        warn(
            f"{len(doubted)} of {len(card)} frames look inverted or like no angiogram, e.g. {doubted[0]}: "
            f"{opened.doubts[doubted[0]]}"
        )
    warn_of_masks(card)
    warn_of_one_patient(card)
    if opened.learned is None:
        return card
    learned = [name for name in card.ids if name in opened.learned]
    if learned:
        warn(
            f"the weights were trained on {len(learned)} of {len(card)} frames, e.g. {learned[0]}: scores say little "
            "of other frames; name others"
        )
    return replace(card, trained_on=len(learned))


def warn_of_masks(card: EvaluationCard) -> None:
    """Say how many labels are mostly vessel, as those that are the other way round."""
    counts = {frame.id: frame.counts for frame in card.frames}
    full = [name for name, (tp, fp, fn, tn) in counts.items() if tp + fn > fp + tn]
    if full:
        warn(f"{len(full)} of {len(card)} masks are more than half vessel, e.g. of {full[0]}; vessels must be bright")


def warn_of_one_patient(card: EvaluationCard) -> None:
    """Say where the intervals, which are over patients, have none to draw from."""
    patients = {frame.patient for frame in card.frames}
    if len(card) > 1 and len(patients) == 1 and None not in patients:
        warn("all frames are of one patient: the intervals have no width and say nothing of other patients")


def compared(card: EvaluationCard, other: StoredEvaluation | None) -> tuple[EvaluationCard, VasomimError | None]:
    """The card with the comparison that was asked for, or as it is with what forbids one: its numbers are kept."""
    if other is None:
        return card, None
    try:
        return compare(card, other), None
    except VasomimError as error:
        return card, error


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
    doubts: dict[str, str] = {}
    learned: set[str] = set()
    known = read_trained_on(config.weights)

    def note(frame: LabelledFrame) -> None:
        note_doubt(frame, doubts)
        if known and (frame.record.digest or frame_hash(frame.native)) in known:
            learned.add(frame.record.id)

    maps = noting(model_maps(predictor, config.size), note)
    source = EvaluationSource(dataset, maps, config.size, config.batch_size)
    protocol = {
        "weights": {"name": predictor.name, "fingerprint": predictor.fingerprint()},
        "inference": how_used(predictor, config.size),
        **asdict(predictor.cut),
        "computed_by": {name: getattr(predictor.backend, name) for name in ("name", "device", "precision")},
    }
    return Opened(source, predictor.cut, protocol, doubts, learned if known else None)


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

    Weights for another size see native frames, and what they find is averaged over area, as the labels are; so do all
    weights where resizing to a square has changed proportions, which `vasomim predict` never does.
    """
    own = size is not None and is_own_size(predictor, size)

    def maps(frames: Sequence[LabelledFrame]) -> Sequence[Map]:
        whole = [own and keeps_proportions(frame) for frame in frames]
        shown = [frame.image if as_is else frame.native for frame, as_is in zip(frames, whole, strict=True)]
        found = predictor.probabilities(shown)
        if size is None:
            return found
        return [value if as_is else resize_area(value, size) for value, as_is in zip(found, whole, strict=True)]

    return maps


def keeps_proportions(frame: LabelledFrame) -> bool:
    """Whether the network sees the resized frame as it is, nothing stretched: it is square, without empty borders."""
    height, width = frame.native.shape
    # Averaging may have made a border empty that was not; without it the rest would be enlarged.
    return height == width and all(
        content(image) == (slice(0, image.shape[0]), slice(0, image.shape[1])) for image in (frame.native, frame.image)
    )


def noting(
    predict: Callable[[Sequence[LabelledFrame]], Sequence[Map]], note: Callable[[LabelledFrame], None]
) -> Callable[[Sequence[LabelledFrame]], Sequence[Map]]:
    """The same predictions; each frame is shown to `note` as it is predicted."""

    def maps(frames: Sequence[LabelledFrame]) -> Sequence[Map]:
        for frame in frames:
            note(frame)
        return predict(frames)

    return maps


def note_doubt(frame: LabelledFrame, doubts: dict[str, str]) -> None:
    """Put what `vasomim predict` would doubt about the native frame into `doubts`, by id."""
    from vasomim.inference.doubts import doubt_about

    doubt = None if is_constant(frame.native) else doubt_about(frame.native)
    if doubt:
        doubts[frame.record.id] = doubt


def check_out(out: Path | None, protocol: Mapping[str, Any]) -> None:
    """Refuse a folder that holds anything but an earlier evaluation of the same weights on the same inputs.

    A missing folder is made now, as one that cannot be written would be noticed only after all the work.

    Raises:
        MisuseError: it holds something else, or is a file.
        VasomimError: nothing can be written there.
    """
    if out is None:
        return
    if out.is_file():
        raise MisuseError(f"{out} is a file; name a folder for --out")
    make_folder(out)
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
    scores = Table("metric", "mean", "95 % interval", "pooled", title=f"{count_text(values)}, means per image")
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
    title = Text(f"against {comparison['other']}")  # a path, which may hold brackets
    table = Table("metric", "this", "other", "difference", "95 % interval", "p", title=title)
    for name, result in comparison["metrics"].items():
        low, high = result["ci95"]
        means = (number_text(result["mean"]), number_text(result["other_mean"]))
        interval = f"{low:+.4f} - {high:+.4f}"
        table.add_row(NAMES[name], *means, f"{result['difference']:+.4f}", interval, f"{result['p_value']:.2g}")
    console.print(table)
