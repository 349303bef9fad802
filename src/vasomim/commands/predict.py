"""`vasomim predict`: frames and DICOM runs in, masks out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from vasomim.commands.console import print_result, progress_bar, say, warn
from vasomim.config import PredictConfig
from vasomim.data.dicom.parsing import is_dicom, require_pydicom
from vasomim.data.listing import RUN_SUFFIXES, list_frames
from vasomim.data.open import open_frames
from vasomim.data.samples import FrameDataset, subset
from vasomim.inference.files import PredictionSummary, combine, open_folder, outside, predict_into
from vasomim.inference.predictor import Predictor
from vasomim.inference.writers import Parts, PredictionFolder
from vasomim.types import Record


def run(config: PredictConfig, *, json: bool = False, verbose: bool = False) -> int:
    """Write OUT/masks/ and more, OUT/runs/ of DICOM files, OUT/predictions.json; 1 where a file could not be used."""
    frames = outside(open_frames(config.inputs, config.dicom.frames, subtract=config.dicom.subtract), config.out)
    predictor = Predictor.from_pretrained(
        config.weights,
        config.device,
        config.precision,
        config.batch_size,
        threshold=config.threshold,
        mode=config.inference,
        flip=config.flip,
        backend=config.backend,
        output=config.output,
    )
    if verbose:
        how = ", ".join(f"{name} {value}" for name, value in predictor.settings().items())
        backend = predictor.backend
        say(f"{predictor.name} on {backend.device} in {backend.precision} by {backend.name}: {how}")
    parts = Parts(overlays=config.overlays, probability=config.probability)
    settings = {
        "smoothing": config.smoothing,
        "subtract": config.dicom.subtract,
        "keep_identity": config.keep_identity,
    }
    with (
        open_folder(predictor, config.out, parts, settings) as folder,
        progress_bar("predicting", len(frames)) as step,
    ):
        summary = _predict(predictor, frames, folder, config, step)
    if summary.failures:
        warn(f"{len(summary.failures)} file(s) could not be used; the others are done")
    result = {
        "out": str(config.out),
        "weights": predictor.name,
        **predictor.settings(),
        "frames": summary.frames,
        "predicted": summary.predicted,
        "skipped": summary.skipped,
        "failed": len(summary.failures),
        "vessel_share": summary.vessel_share,
        "seconds_per_frame": summary.seconds,
    }
    print_result({name: value for name, value in result.items() if json or value is not None}, json=json)
    return 1 if summary.failures else 0


def _predict(
    predictor: Predictor,
    frames: FrameDataset,
    folder: PredictionFolder,
    config: PredictConfig,
    step: Callable[[int], object],
) -> PredictionSummary:
    """Pictures one by one, DICOM files run by run."""
    in_runs = [record.frame is not None or is_called_run(record.path) for record in frames.records]
    pictures = [k for k, inside in enumerate(in_runs) if not inside]
    records = [record for record, inside in zip(frames.records, in_runs, strict=True) if inside]
    records += no_runs(config.inputs, config.out)
    if config.smoothing and pictures:
        warn(f"--smoothing is for DICOM runs; {len(pictures)} picture(s) are predicted one by one, without it")
    summary = predict_into(predictor, subset(frames, pictures), folder, progress=lambda: step(1), warn=warn)
    return combine(summary, _predict_runs(predictor, records, folder, config, step)) if records else summary


def _predict_runs(
    predictor: Predictor,
    records: Sequence[Record],
    folder: PredictionFolder,
    config: PredictConfig,
    step: Callable[[int], object],
) -> PredictionSummary:
    require_pydicom()
    from vasomim.inference.run_files import group_by_file
    from vasomim.inference.run_outputs import RunParts
    from vasomim.inference.runs import RunOptions, predict_runs

    options = RunOptions(
        parts=RunParts(dicom=config.dicom_objects, movie=config.movie),
        smoothing=config.smoothing,
        keep_identity=config.keep_identity,
    )
    return predict_runs(predictor, group_by_file(records), folder, options, progress=step, warn=warn)


def no_runs(inputs: Sequence[Path], out: Path) -> list[Record]:
    """Files in the folders named that are called like DICOM files and are none: they are to be missed, not passed over.

    Each is one frame of a run that nobody can read.
    """
    return [
        Record(path.name, path, source=str(root), frame=0)
        for root in inputs
        if root.is_dir()
        for path in list_frames(root, is_frame=lambda path: is_called_run(path) and not is_dicom(path))
        if out.resolve() not in path.resolve().parents
    ]


def is_called_run(path: Path) -> bool:
    """Whether a file's name says that it is DICOM."""
    return path.suffix.lower() in RUN_SUFFIXES
