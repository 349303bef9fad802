"""`vasomim predict`: frames in, masks out."""

from __future__ import annotations

from vasomim.commands.console import print_result, progress_bar, say, warn
from vasomim.config import PredictConfig
from vasomim.data.open import open_frames
from vasomim.errors import MisuseError
from vasomim.inference.files import outside, predict_files
from vasomim.inference.predictor import Predictor


def run(config: PredictConfig, *, json: bool = False, verbose: bool = False) -> int:
    """Write OUT/masks/ and more, OUT/predictions.json; 1 where a frame could not be used."""
    weights = _check(config)
    frames = outside(open_frames(config.inputs, config.dicom.frames, subtract=config.dicom.subtract), config.out)
    predictor = Predictor.from_pretrained(
        weights, config.device, config.precision, config.batch_size, threshold=config.threshold, mode=config.inference
    )
    if verbose:
        how = ", ".join(f"{name} {value}" for name, value in predictor.settings().items())
        say(f"{predictor.name} on {predictor.device} in {str(predictor.dtype).removeprefix('torch.')}: {how}")
    with progress_bar("predicting", len(frames)) as step:
        summary = predict_files(
            predictor,
            frames,
            config.out,
            overlays=config.overlays,
            probability=config.probability,
            progress=lambda: step(1),
            warn=warn,
        )
    if summary.failures:
        warn(f"{len(summary.failures)} of {summary.frames} frames could not be used; the others are done")
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


def _check(config: PredictConfig) -> str:
    """The weights, once it is clear that inputs and weights are given."""
    if not config.inputs:
        raise MisuseError("got no input; name frames or folders of frames")
    if config.weights is None:
        raise MisuseError("got no weights; give --weights and a run folder of `vasomim finetune`")
    missing = [str(path) for path in config.inputs if not path.exists()]
    if missing:
        raise MisuseError(f"no such file or folder: {', '.join(missing)}")
    return config.weights
