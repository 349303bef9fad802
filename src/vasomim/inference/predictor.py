"""Vessel probability and mask of frames at their native size, from weights or exported networks."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast, overload

import numpy as np

from vasomim.data.frames import is_constant
from vasomim.errors import CheckpointError, MisuseError
from vasomim.inference.backends import Backend, BackendName, Images, Maps, choose_backend, open_runtime
from vasomim.inference.contrast import with_usual_contrast
from vasomim.inference.doubts import doubt_about
from vasomim.inference.given import Frame, as_frames, as_image, check_places, check_unit
from vasomim.inference.outputs import choose_output
from vasomim.inference.sliding import Windows, slide
from vasomim.inference.whole import predict_whole
from vasomim.models.shipped import SEGMENTERS, shipped_weights
from vasomim.ops.hysteresis import Cut
from vasomim.types import FloatImage, Prediction

if TYPE_CHECKING:
    from torch import Tensor, nn

Mode = Literal["resize", "tile"]

RULES = 3
"""Raised when the same weights and settings come to give other results.

2: aspect ratios, borders, faint frames; 3: the window of DICOM runs with padding.
"""
OVERLAP = 0.25
_KINDS = ("segmentation", "segmentor")
_CONSTANT = "all pixels are equal: no vessel can be seen in this frame"


class Predictor:
    """A segmentation network and how it is used.

    In mode `resize` a frame is brought to as many pixels as the network was trained on, S x S, in its own aspect ratio
    and without empty borders, and the probability back to the frame's size; in mode `tile` windows of S pixels slide
    over the frame at its native pixel size.
    """

    def __init__(
        self,
        model: nn.Module | Backend,
        config: Mapping[str, Any],
        device: str = "auto",
        precision: str = "auto",
        batch_size: int = 4,
        name: str = "",
        output: str | None = None,
    ) -> None:
        """Use `model`, (B, 1, H, W) in [0, 1] -> logits (B, K, H, W), as `config` says.

        Args:
            model: is moved to the device; its training mode is put back after each prediction. Or a backend, which is
                where it is: device and precision have no effect then.
            config: `inference` with `mode`, `size` and optionally `overlap` and `flip`; `outputs`, see
                `choose_output`, or `threshold` (0.5 if absent).
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            precision: `auto`, `fp32`, `bf16` or `fp16`.
            batch_size: frames or windows computed together.
            name: what `meta` calls the weights.
            output: which of the K logits, by name; the first one if none is asked for.

        Raises:
            MisuseError: a value out of range or out of place, or an unknown device, precision or output.
        """
        check_places(config)
        inference = config.get("inference", {})
        self.output = choose_output(config, output)
        channel = self.output.channel
        self.backend = model if isinstance(model, Backend) else _torch_backend(model, device, precision, channel)
        self.mode = cast(Mode, inference.get("mode", "resize"))
        self.size = int(inference.get("size", 224))
        self.overlap = float(inference.get("overlap", OVERLAP))
        self.flip = bool(inference.get("flip", False))
        self.threshold = self.output.threshold
        self.high_threshold = self.output.high_threshold
        self.batch_size = batch_size
        self.name = name or str(config.get("model", type(model).__name__))
        _check(self)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        device: str = "auto",
        precision: str = "auto",
        batch_size: int = 4,
        *,
        threshold: float | None = None,
        mode: Mode | None = None,
        flip: bool | None = None,
        backend: BackendName = "auto",
        output: str | None = None,
    ) -> Self:
        """Load weights of the package, a run folder, a folder of `vasomim export`, an export folder or the file in it.

        Args:
            name_or_path: `default`, `full-tree`, `fast`, or where the weights are.
            device: as for the class.
            precision: as for the class.
            batch_size: as for the class.
            threshold: overrides the one stored with the weights.
            mode: overrides how the weights were made to be used.
            flip: average with the mirrored frame, which takes twice the time; None does what the weights are made for.
            backend: `torch`, `onnx` (ONNX Runtime) or `openvino`; `auto` takes the fastest that the folder is made for
                and that is installed.
            output: `main` or `full-tree`, of weights that have both.

        Raises:
            MisuseError: nothing is there, or it is not made for that backend, device or precision.
            MissingExtraError: the backend is not installed.
            CheckpointError: corrupt weights, or weights of something that does not segment.
        """
        shipped = shipped_weights(name_or_path)
        path = shipped.path if shipped else Path(name_or_path)
        if not path.exists():
            raise MisuseError(
                f"no weights at {name_or_path}; give {', '.join(SEGMENTERS)}, a run folder of `vasomim finetune` (or "
                "`segmentor`), its export folder, or the .safetensors file in it"
            )
        model, config = _open_segmenter(path, backend, device, precision)
        _check_segments(config, name_or_path)
        asked = output or (shipped.output if shipped else None)
        name = str(name_or_path) if shipped else str(config.get("name") or weights_name(path))
        config = {**config, "inference": {**config.get("inference", {}), **_given(mode=mode, flip=flip)}}
        predictor = cls(model, config, device, precision, batch_size, name, asked)
        predictor.threshold = predictor.threshold if threshold is None else threshold
        _check(predictor)
        return predictor

    def predict(self, image_or_path: Frame) -> Prediction:
        """Segment one frame.

        Returns:
            Probability and mask at native size; `meta` holds size, thresholds, weights, mode, seconds, the path if one
            was given, `warning` where the frame is constant (then nothing is vessel), and `doubt` where it does not
            look like an angiogram with dark vessels.

        Raises:
            MisuseError: there is no such file, or it is neither file nor pixels on the CPU.
            DataError: the frame is unreadable, of another shape, holds NaN, or floats outside [0, 1].
        """
        return self.predict_batch([image_or_path])[0]

    def predict_batch(self, frames: Sequence[Frame]) -> list[Prediction]:
        """Segment several frames of any sizes, computed together; errors as in `predict`.

        `seconds` in `meta` is an even share of the time the whole batch took.
        """
        began = time.perf_counter()
        frames = as_frames(frames)
        images = [as_image(frame) for frame in frames]
        found = self.probabilities(images)
        seconds = (time.perf_counter() - began) / max(len(images), 1)
        return [
            self._prediction(frame, probability, None if is_constant(image) else image, seconds)
            for frame, probability, image in zip(frames, found, images, strict=True)
        ]

    def probabilities(self, images: Sequence[FloatImage]) -> list[FloatImage]:
        """Vessel probability (H, W) float32 of frames (H, W) float32 in [0, 1], each at its own size.

        That of a constant frame is 0 throughout.
        """
        constant = [is_constant(image) for image in images]
        maps = iter(self._seen([image for image, empty in zip(images, constant, strict=True) if not empty]))
        return [np.zeros_like(image) if empty else next(maps) for image, empty in zip(images, constant, strict=True)]

    def _seen(self, images: Sequence[FloatImage]) -> list[FloatImage]:
        """What the network finds."""
        images = [with_usual_contrast(image) for image in images]
        if self.mode == "tile":
            maps = slide(images, self._predict_windows, self.size, self.overlap, self.batch_size)
            # A mean of ones may round to a little more.
            return [self.output.calibrated(np.clip(value, 0, 1)) for value in maps]
        return predict_whole(images, self._predict_windows, self.size, self.batch_size, self.output.calibrated)

    @overload
    def probability_at(self, images: Images) -> Maps: ...

    @overload
    def probability_at(self, images: Tensor) -> Tensor: ...

    def probability_at(self, images: Images | Tensor) -> Maps | Tensor:
        """Vessel probability of frames exactly as they are, without resizing or tiling.

        Args:
            images: (B, 1, H, W) in [0, 1], array or tensor.

        Returns:
            (B, H, W) float32 in [0, 1], an array for an array, a tensor on the CPU for a tensor.

        Raises:
            MisuseError: a pixel lies outside [0, 1].
            VasomimError: the device's memory does not suffice.
        """
        if isinstance(images, np.ndarray):
            check_unit(images)
            return self.output.calibrated(self._bare(images))
        from torch import from_numpy

        return from_numpy(self.probability_at(images.detach().cpu().float().numpy()))

    def fingerprint(self) -> str:
        """Hash of the weights, 32 hexadecimal digits: equal for equal tensors under equal names."""
        return self.backend.fingerprint()

    def settings(self) -> dict[str, Any]:
        """What else the result depends on."""
        tiling = {"overlap": self.overlap} if self.mode == "tile" else {}
        chosen = {"output": self.output.name} if self.output.channel else {}
        mirrored = {"flip": True} if self.flip else {}
        cut = dataclasses.asdict(self.cut)
        return {"rules": RULES, "mode": self.mode, "size": self.size, **mirrored, **tiling, **cut, **chosen}

    @property
    def cut(self) -> Cut:
        """From probability to mask."""
        return Cut(self.threshold, self.high_threshold)

    def _predict_windows(self, windows: Windows) -> Windows:
        return self._bare(windows[:, None])

    def _bare(self, images: Images) -> Maps:
        """Probability (B, H, W) before calibration of frames (B, 1, H, W)."""
        found = self.backend.probabilities(images)
        if not self.flip:
            return found
        mirrored = self.backend.probabilities(np.ascontiguousarray(images[..., ::-1]))
        return np.asarray((found + mirrored[..., ::-1]) / 2, np.float32)

    def _prediction(
        self, frame: Frame, probability: FloatImage, image: FloatImage | None, seconds: float
    ) -> Prediction:
        """The result for a frame; `image` is None where it is constant."""
        doubt = None if image is None else doubt_about(image)
        meta: dict[str, Any] = {
            **({"path": str(frame)} if isinstance(frame, str | Path) else {}),
            "size": list(probability.shape),
            **dataclasses.asdict(self.cut),
            "weights": self.name,
            "mode": self.mode,
            "seconds": seconds,
            **({"warning": _CONSTANT} if image is None else {}),
            **({"doubt": doubt} if doubt else {}),
        }
        mask = np.zeros(probability.shape, np.bool_) if image is None else self.cut(probability)
        return Prediction(probability, mask, meta)


def _torch_backend(model: nn.Module, device: str, precision: str, channel: int) -> Backend:
    """Loads torch, which exported networks can do without."""
    from vasomim.inference.torch_backend import TorchBackend

    return TorchBackend(model, device, precision, channel)


def _open_segmenter(
    path: Path, backend: BackendName, device: str, precision: str
) -> tuple[nn.Module | Backend, dict[str, Any]]:
    """The network, in torch or where its runtime computes it, and its config.

    Raises:
        MisuseError: it is not made for that backend, device or precision.
        MissingExtraError: the backend is not installed.
        CheckpointError: corrupt weights.
    """
    chosen, entry = choose_backend(path, backend, device)
    model: nn.Module | Backend
    if chosen == "torch":
        model, config = _load_weights(entry)
    else:
        model, config = open_runtime(chosen, entry, device, precision)
    return model, config


def _check_segments(config: Mapping[str, Any], asked: str | Path) -> None:
    kind = config.get("kind", "segmentation")
    if kind not in _KINDS:
        raise CheckpointError(
            f"{asked} holds weights of kind {kind!r}, which segment nothing yet; fine-tune them first: "
            f"vasomim finetune DATA --init {asked}"
        )


def _given(**settings: object) -> dict[str, object]:
    """Those that are not None."""
    return {name: value for name, value in settings.items() if value is not None}


def _load_weights(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    from vasomim.models.weights import load_pretrained

    return load_pretrained(path)


def _check(predictor: Predictor) -> None:
    if predictor.mode not in ("resize", "tile"):
        raise MisuseError(f"inference mode must be resize or tile, got {predictor.mode!r}")
    if predictor.size < 1:
        raise MisuseError(f"inference size must be at least 1, got {predictor.size}")
    if not 0 < predictor.threshold < 1:
        raise MisuseError(f"threshold must lie strictly between 0 and 1, got {predictor.threshold}")
    if not 0 <= predictor.high_threshold <= 1:
        raise MisuseError(f"high_threshold must lie in [0, 1], got {predictor.high_threshold}")
    if not 0 <= predictor.overlap < 1:
        raise MisuseError(f"overlap must lie in [0, 1), got {predictor.overlap}")
    if predictor.batch_size < 1:
        raise MisuseError(f"batch_size must be at least 1, got {predictor.batch_size}")


def weights_name(path: Path) -> str:
    """The run's name, for weights that do not say theirs: of the run, its export folder or the file in it; no path."""
    path = path.resolve()
    folder = path.parent if path.is_file() else path
    return folder.parent.name if folder.name == "export" else folder.name
