"""`vasomim finetune`: vessel segmentation from few labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import nn

from vasomim import metrics
from vasomim.build import build_finetuning, model_arguments
from vasomim.commands.console import print_result, say, warn
from vasomim.commands.training import (
    device_of,
    export_model,
    extracted,
    fingerprint,
    rasteriser_of,
    train,
    training_run,
    with_anatomy,
)
from vasomim.config import FinetuneConfig
from vasomim.data.open import open_frames, open_labelled
from vasomim.data.partial import PartlyLabelled, partly_labelled
from vasomim.data.samples import FrameDataset, subset, vessels_as_labels
from vasomim.data.sibling_vessels import open_vessels
from vasomim.data.splits import frame_hashes, label_subset, same_frames, split_holdout
from vasomim.data.statistics import pixel_statistics, vessel_shares
from vasomim.engine.calibration import calibrate, choose_cut
from vasomim.engine.fabric import Fabric
from vasomim.engine.processes import first_alone
from vasomim.engine.report import keep_picture, write_report
from vasomim.engine.run_folder import RunFolder
from vasomim.errors import MisuseError
from vasomim.files import write_text
from vasomim.inference.outputs import Output
from vasomim.inference.predictor import Predictor
from vasomim.models.trained_on import read_trained_on
from vasomim.models.weights import is_ours, load_weights, read_config
from vasomim.types import BoolImage, FloatImage, Progress
from vasomim.viz.images import RGB, contact_sheet, error_map, overlay, to_rgb

VALIDATION_FRAMES = 50
CALIBRATION_FRAMES = 200
SHEET_ROWS = 6


@dataclass(frozen=True)
class LabelledData:
    """The frames to learn from, and those to report on (may be empty)."""

    train: FrameDataset
    val: FrameDataset
    statistics: tuple[float, float]
    labels: int
    """Labelled frames in `train`."""
    labelled: tuple[bool, ...] = ()
    """Of each frame of `train`, whether its mask is a label, where others are in it."""
    trained_on: frozenset[str] = frozenset()
    """Hashes of the frames whose labels are learned, now or by the weights to start from."""


def run(config: FinetuneConfig, *, json: bool = False, verbose: bool = False) -> int:  # noqa: ARG001
    """Train on the chosen labels, export to OUT/export, write OUT/report.html."""
    torch.manual_seed(config.run.seed)
    with training_run(config, "finetune") as (fabric, folder):
        data = open_data(config, fabric, folder)
        task = build_finetuning(config, data.statistics, data.labelled)
        start_from(task.model, config, folder)

        def validate(module: nn.Module, progress: Progress) -> Mapping[str, float]:  # noqa: ARG001
            return scores(predictor(task.model, config), data.val)

        result = train(fabric, task, data.train, config, folder, validate if len(data.val) else None)
        if not folder.writes:
            return 0
        # A finished run that is only exported anew may be mirrored now, and was not when it was validated.
        anew = result.resumed_from == result.step and len(data.val) > 0
        final = scores(predictor(task.model, config), data.val) if anew else result.validation
        # On frames of --val nothing may be chosen.
        chosen = Output() if config.val or not len(data.val) else calibrated_output(task.model, config, data.val)
        described = facts(config, chosen)
        described |= {"held_out": final}
        export_model(folder, task.model, described, config, trained_on=data.trained_on)
        keep_picture(folder.path, sheet(predictor(task.model, config, chosen), data.val))
        write_report(folder.path)
    print_result({"out": str(config.out), "step": result.step, "labels": data.labels, **final}, json=json)
    return 0


def open_data(config: FinetuneConfig, fabric: Fabric, folder: RunFolder) -> LabelledData:
    """Set validation frames aside (identical frames and patients together), then take the asked share of labels."""
    labelled = open_masks(config)
    if config.val:
        pool, val = labelled, open_labelled(config.val, rasteriser=config.rasteriser)
    else:
        kept, held = split_holdout(labelled, config.holdout)
        pool, val = subset(labelled, kept), subset(labelled, held)
    chosen = subset(pool, label_subset(pool, config.labels, config.run.seed))
    if not len(chosen):
        raise MisuseError(f"no labelled frame is left to train on: {len(labelled)} in all, {len(val)} set aside")
    warn_of_masks(chosen)
    drawn = open_labelled(config.tree.drawn, rasteriser=config.rasteriser) if config.tree.drawn else None
    taught = [chosen] if drawn is None else [chosen, drawn]
    if config.val or drawn is not None:
        warn_of_shared(taught, val)
    before = frozenset() if config.init == "scratch" else read_trained_on(config.init)
    warn_of_learned(val, before, config.init)
    folder.note(data=fingerprint(chosen), labels=[record.id for record in chosen.records])
    statistics = pretrained_statistics(config.init) or pixel_statistics(chosen)
    data = LabelledData(chosen, val, statistics, len(chosen), trained_on=before | learned_labels(taught, config))
    if not config.tree.learn:
        return data
    with first_alone(fabric):
        joined = join_trees(chosen, drawn, config, folder)
    folder.note(trees=fingerprint(joined.frames))
    return replace(data, train=joined.frames, labelled=joined.labelled)


def learned_labels(taught: Sequence[FrameDataset], config: FinetuneConfig) -> frozenset[str]:
    """Hashes of the frames whose labels are learned, drawn trees too; extracted vessels are no labels."""
    labels = taught[1:] if config.vessels else taught  # --vessels gives the masks of the first
    return frozenset(value for frames in labels for value in frame_hashes(frames))


def warn_of_masks(train: FrameDataset) -> None:
    """Say how many masks are odd: the other way round, or empty where few should be."""
    shares = vessel_shares(train)
    full, empty = sum(share > 0.5 for share in shares), sum(share == 0 for share in shares)
    looked = f"of {len(shares)} masks looked at"
    if full:
        warn(f"{full} {looked} are more than half vessel; invert them if vessels are their black part")
    if empty > len(shares) / 2:
        warn(f"{empty} {looked} hold no vessel; were these frames annotated? `vasomim doctor` lists them")


def warn_of_shared(taught: Sequence[FrameDataset], val: FrameDataset) -> None:
    """Say how many frames to report on are trained on."""
    shared = list(dict.fromkeys(name for frames in taught for name in same_frames(frames, val)))
    if shared:
        warn(
            f"{len(shared)} of {len(val)} frames to report on are trained on, e.g. {shared[0]}: what is reported says "
            "little of other frames; name others, leave --val out for a holdout, or take them out of --tree.drawn"
        )


def warn_of_learned(val: FrameDataset, before: frozenset[str], init: str) -> None:
    """Say how many frames to report on the weights to start from were trained on."""
    learned = sum(value in before for value in frame_hashes(val)) if before else 0
    if learned:
        warn(
            f"{init} was trained on {learned} of the {len(val)} frames to report on: scores and thresholds taken from "
            "them say little of other frames; name others with --val"
        )


def join_trees(
    labelled: FrameDataset, drawn: FrameDataset | None, config: FinetuneConfig, folder: RunFolder
) -> PartlyLabelled:
    """Labelled frames together with those that show what a whole tree is."""

    def with_tree(frames: FrameDataset, name: str) -> FrameDataset:
        return with_anatomy(frames, extracted(frames, config.out / "vessels" / name, extract=folder.writes))

    tree = config.tree
    unlabelled = [with_tree(open_frames(tree.unlabelled), "unlabelled")] if tree.unlabelled else []
    return partly_labelled(with_tree(labelled, "labelled"), unlabelled, [] if drawn is None else [drawn], tree.share)


def open_masks(config: FinetuneConfig) -> FrameDataset:
    """Frames with the masks to learn: labels, or vessels extracted from frames without any."""
    if config.vessels is None:
        return open_labelled(config.inputs, rasteriser=config.rasteriser)
    return vessels_as_labels(with_anatomy(open_frames(config.inputs), open_vessels(config.vessels)))


def pretrained_statistics(init: str) -> tuple[float, float] | None:
    """Mean and standard deviation that the encoder to start from was trained with; None where nothing says so."""
    if init == "scratch" or not is_ours(init):
        return None
    facts = read_config(init)
    return (facts["mean"], facts["std"]) if "mean" in facts and "std" in facts else None


def start_from(model: nn.Module, config: FinetuneConfig, folder: RunFolder) -> None:
    """Load the pre-trained encoder, if any, and keep the table of what matched."""
    if config.init == "scratch":
        return
    table = load_weights(model, config.init).table()
    if folder.writes:
        write_text(folder.path / "init.txt", table + "\n")
    say(table)


def facts(config: FinetuneConfig, main: Output) -> dict[str, object]:
    """What `load_pretrained` and the Predictor need to know of the exported model."""
    outputs = [main.described()]
    if config.tree.learn:
        outputs.append(Output("full-tree").described())
    return {
        "kind": "segmentation",
        "model": config.model,
        "kwargs": model_arguments(config),
        "outputs": outputs,
        "inference": {"mode": config.inference, "size": config.frame_size or config.img_size, "flip": config.flip},
        "labels": config.labels,
        "init": "scratch" if config.init == "scratch" else "pre-trained",
        "rasteriser": rasteriser_of(config),
    }


def predictor(model: nn.Module, config: FinetuneConfig, main: Output = Output()) -> Predictor:  # noqa: B008
    """The model as `vasomim predict` would use it."""
    return Predictor(model, facts(config, main), device=str(device_of(model)), precision="fp32")


def calibrated_output(model: nn.Module, config: FinetuneConfig, held: FrameDataset) -> Output:
    """Calibration and thresholds of the main vessels, on at most 200 frames that were not trained on.

    The frames go through the network twice, since maps of 200 large frames may not fit into memory.
    """
    bare = Output(**asdict(calibrate(pairs(predictor(model, config), held))))
    cut = choose_cut(pairs(predictor(model, config, bare), held))
    return replace(bare, **asdict(cut))


def pairs(predict: Predictor, held: FrameDataset) -> Iterator[tuple[FloatImage, BoolImage]]:
    """Probability and label of the frames to calibrate on."""
    for index in chosen_frames(held, CALIBRATION_FRAMES):
        sample = held[index]
        assert sample.mask is not None
        yield predict.probabilities([sample.image])[0], sample.mask


def chosen_frames(dataset: FrameDataset, limit: int) -> list[int]:
    """At most `limit` indices, evenly spaced."""
    return sorted({round(i) for i in np.linspace(0, len(dataset) - 1, min(limit, len(dataset)))})


def scores(predict: Predictor, val: FrameDataset) -> Mapping[str, float]:
    """Mean per-image Dice and clDice at native size, of at most 50 frames."""
    dice, cldice = [], []
    for index in chosen_frames(val, VALIDATION_FRAMES):
        sample = val[index]
        assert sample.mask is not None
        mask = predict.predict(sample.image).mask
        dice.append(metrics.dice(mask, sample.mask))
        cldice.append(metrics.cldice(mask, sample.mask))
    return {"dice": float(np.mean(dice)), "cldice": float(np.mean(cldice))}


def sheet(predict: Predictor, val: FrameDataset) -> RGB | None:
    """Frame, label and prediction with its errors coloured; None where no frame was set aside."""
    cells = []
    for index in chosen_frames(val, SHEET_ROWS):
        sample = val[index]
        assert sample.mask is not None
        found = predict.predict(sample.image)
        cells.append(
            [
                to_rgb(sample.image),
                overlay(sample.image, sample.mask),
                to_rgb(found.probability),
                error_map(sample.image, found.mask, sample.mask),
            ]
        )
    return contact_sheet(cells, columns=["frame", "label", "probability", "errors"]) if cells else None
