"""Every setting of every verb, as frozen dataclasses. A default lives here, once; a field's docstring is its help.

Nothing here imports torch, so that `--help` and configuration mistakes are answered at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vasomim.config.checks import above_zero, at_least, check, known_model
from vasomim.config.sections import (
    CropConfig,
    DicomConfig,
    OptimConfig,
    Precision,
    Rasteriser,
    RunConfig,
)


@dataclass(frozen=True, kw_only=True)
class ExtractConfig:
    """Extract vessels from frames without any label."""

    inputs: tuple[Path, ...] = ()
    """Folders or files of frames."""
    dicom: DicomConfig = field(default_factory=DicomConfig)
    out: Path = Path("vessels")
    """Folder for masks/, vesselness/ and preview.png."""
    method: Literal["default", "reference"] = "default"
    """Ours, or bit-equal to the published recipe."""
    vesselness: bool = False
    """Also write the float vesselness as 16-bit PNG."""
    workers: int = 0
    """Processes; 0 takes one a core."""
    device: str = "cpu"
    """Where ridges are filtered: `cpu`, `cuda`, `cuda:N`, or `auto` for CUDA where there is one."""
    batch_size: int = 32
    """Frames filtered together on a CUDA device."""

    def __post_init__(self) -> None:
        check(at_least("batch_size", self.batch_size, 1), at_least("workers", self.workers, 0))


@dataclass(frozen=True, kw_only=True)
class DoctorConfig:
    """Audit data before training: broken, doubled, leaking, misplaced and odd files, and the fix for each."""

    inputs: tuple[Path, ...] = ()
    """Folders of frames, labelled or not. Sub-folders named train, val or test are splits, else each folder is one."""
    out: Path | None = None
    """Folder for report.html and doctor.json; without it only the table is printed."""
    keep_list: Path | None = None
    """Text file (.txt) to write: frames left when one of all copies is kept; other verbs read it as INPUT."""
    workers: int = 0
    """Processes; 0 takes one a core."""

    def __post_init__(self) -> None:
        listed = self.keep_list is None or self.keep_list.suffix.lower() == ".txt"
        check(
            (listed, f"keep_list must end in .txt, so that it is known for a list, got {self.keep_list}"),
            at_least("workers", self.workers, 0),
        )


@dataclass(frozen=True, kw_only=True)
class PrepareConfig:
    """Pack frames into a few large files that training reads window by window; check a pack, or pack it anew."""

    inputs: tuple[Path, ...] = ()
    """Folders or files of frames, or packs."""
    out: Path = Path("pack")
    """Folder of the new pack."""
    vessels: Path | None = None
    """Folder made by `vasomim extract`, to be packed with the frames."""
    extraction: Literal["none", "default", "reference"] = "none"
    """Extract vessels and pack them with the frames; `none` packs those of `vessels`, or of the packs named."""
    labels: bool = False
    """Pack the annotated masks too; every input must be labelled. A pack's masks stay in it."""
    rasteriser: Rasteriser = "arcade-official"
    """How polygons become masks."""
    size: int | None = None
    """Side that frames and masks are resized to, the aspect ratio given up; none is native size."""
    bits: Literal["auto", 8, 16] = "auto"
    """Bits of a grey value; `auto`: as each frame has them (webp and jpeg: 8)."""
    codec: Literal["raw", "png", "webp", "jpeg"] = "raw"
    """`raw` is read window by window; the others are for transport."""
    quality: int | None = None
    """Of webp and jpeg, 1 to 100; none is lossless, which jpeg is not."""
    verify: bool = False
    """Check the packs named as INPUT, every byte of them, and make none."""
    workers: int = 0
    """Processes; 0 takes one a core."""

    def __post_init__(self) -> None:
        lossy = self.codec in ("webp", "jpeg")
        check(
            at_least("size", self.size, 1),
            at_least("workers", self.workers, 0),
            (self.vessels is None or self.extraction == "none", "give either vessels or extraction, not both"),
            (not lossy or self.bits != 16, f"{self.codec} holds 8 bits, got bits=16; take codec=png or raw"),
            (lossy or self.quality is None, f"quality has no effect on codec={self.codec}; leave it out"),
            (self.codec != "jpeg" or self.quality is not None, "jpeg needs a quality, for example 90"),
            (self.quality is None or 1 <= self.quality <= 100, f"quality must lie in [1, 100], got {self.quality}"),
        )


@dataclass(frozen=True, kw_only=True)
class SynthesizeConfig:
    """Make synthetic angiograms with exact masks."""

    out: Path = Path("synthetic")
    """Folder for images/, masks/ and more."""
    num_frames: int = 100
    """Frames to make."""
    size: int = 512
    """Side in pixels."""
    seed: int = 0
    """Frame k is made from seed and k alone."""
    cine: int = 0
    """Frames per cine run; 0 makes single frames."""
    bits: Literal[8, 16] = 8
    """Bits per pixel."""
    stenoses: bool = False
    """Narrow some vessels and write boxes.csv."""
    workers: int = 0
    """Processes; 0 takes one a core."""

    def __post_init__(self) -> None:
        check(
            at_least("num_frames", self.num_frames, 1),
            at_least("size", self.size, 64),
            *(at_least(name, getattr(self, name), 0) for name in ("seed", "cine", "workers")),
        )


@dataclass(frozen=True, kw_only=True)
class SegmentorConfig:
    """Train the vessel segmentor S on extracted masks (UNeXt-S); pretrain freezes it."""

    inputs: tuple[Path, ...] = ()
    """Folders of unlabelled frames."""
    dicom: DicomConfig = field(default_factory=DicomConfig)
    out: Path = Path("segmentor")
    """Run folder."""
    vessels: Path | None = None
    """Folder of `vasomim extract`, or with NAME_frangi/ beside NAME/; by default extracted into OUT/vessels."""
    extraction: Literal["default", "reference"] = "default"
    """How to extract where no folder is given."""
    model: str = "unext_s"
    """Segmentor architecture."""
    img_size: int = 224
    """Side of the crops."""
    crop: CropConfig = field(default_factory=CropConfig)
    optim: OptimConfig = field(
        default_factory=lambda: OptimConfig(
            batch_size=256, epochs=200, lr=1e-3, schedule="polynomial", warmup=0.0, optimizer="adam", betas=(0.9, 0.999)
        )
    )
    run: RunConfig = field(default_factory=RunConfig)
    holdout: float = 0.05
    """Share of the frames (whole patients, identical frames together) kept for validation."""

    def __post_init__(self) -> None:
        check(
            known_model(self.model, "unext_*"),
            at_least("img_size", self.img_size, 1),
            (0 <= self.holdout < 1, f"holdout must lie in [0, 1), got {self.holdout}"),
        )


_OF_A_MODEL = {
    **dict.fromkeys(("threshold", "output", "flip")),
    **dict.fromkeys(("device", "precision", "backend"), "auto"),
}
"""Settings of an evaluation that masks in files have no use for, as they are when nobody set them."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Measure a segmenter, or a folder of predicted masks, against labels."""

    inputs: tuple[Path, ...] = ()
    """Labelled data: folders with images/ and masks/, or ARCADE folders."""
    out: Path | None = None
    """Folder for evaluation.json, per_image.csv and report.html; without it only the table is printed."""
    weights: str | None = None
    """`default`, `full-tree`, `fast`, or a run folder, export folder or weight file to evaluate."""
    output: str | None = None
    """Which output of weights that have several: `main` or `full-tree`; none takes the first."""
    predictions: Path | None = None
    """Folder of predicted masks (0/255 PNG by frame stem) to evaluate instead of weights."""
    compare: Path | None = None
    """evaluation.json or folder of another evaluation of the same frames, for a paired test."""
    size: int | None = None
    """Side the frames and labels are resized to (224 is the paper's protocol); none is native size."""
    threshold: float | None = None
    """Probability from which a pixel is vessel; none takes the threshold stored with the weights."""
    flip: bool | None = None
    """Average with the mirrored frame, in twice the time; none does what the weights were made for."""
    rasteriser: Rasteriser = "arcade-official"
    """How polygons become masks."""
    batch_size: int = 8
    """Frames computed together."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    precision: Precision = "auto"
    """`auto`: bf16 where the device computes it fast, else fp32."""
    backend: Literal["auto", "torch", "onnx", "openvino"] = "auto"
    """What computes the network; `auto` takes the fastest that the weights are made for and that is installed."""

    def __post_init__(self) -> None:
        check(
            (self.weights is None or self.predictions is None, "give either weights or predictions, not both"),
            *(
                (
                    self.predictions is None or getattr(self, name) == untouched,
                    f"{name} has no effect on predictions, which are masks already; leave it out",
                )
                for name, untouched in _OF_A_MODEL.items()
            ),
            at_least("size", self.size, 1),
            at_least("batch_size", self.batch_size, 1),
        )


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """Segment vessels in frames and DICOM runs."""

    inputs: tuple[Path, ...] = ()
    """Frames, DICOM files, or folders of them."""
    dicom: DicomConfig = field(default_factory=DicomConfig)
    out: Path = Path("predictions")
    """Folder for masks/, overlays/, probability/ and, of DICOM files, runs/."""
    weights: str = "default"
    """`default` (main vessels), `full-tree` (side branches, too), `fast`, or a run folder, export folder or file."""
    output: str | None = None
    """Which output of weights that have several: `main` or `full-tree`; none takes the first."""
    threshold: float | None = None
    """Probability from which a pixel is vessel; none takes the threshold stored with the weights."""
    flip: bool | None = None
    """Average with the mirrored frame, in twice the time; none does what the weights were made for."""
    inference: Literal["resize", "tile"] | None = None
    """Overrides how the weights were made to be used."""
    overlays: bool = True
    """Write overlays/."""
    probability: bool = True
    """Write probability/ as 16-bit PNG (65535 = 1)."""
    dicom_objects: bool = True
    """Of DICOM files: write a DICOM segmentation and an overlay run."""
    movie: Literal["gif", "mp4", "both", "none"] = "gif"
    """Of DICOM runs: write an overlay film; mp4 is smaller and takes longer."""
    smoothing: int = 0
    """Of DICOM runs: average probabilities over so many frames on each side, following motion; 0 is off."""
    keep_identity: bool = False
    """Of DICOM files: copy patient and study into derived objects, and name results after the files."""
    batch_size: int = 4
    """Frames or tiles computed together."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    precision: Precision = "auto"
    """`auto`: bf16 where the device computes it fast, else fp32."""
    backend: Literal["auto", "torch", "onnx", "openvino"] = "auto"
    """What computes the network; `auto` takes the fastest that the weights are made for and that is installed."""

    def __post_init__(self) -> None:
        check((0 <= self.smoothing <= 8, f"smoothing must be 0 to 8 frames on each side, got {self.smoothing}"))


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write a trained segmenter as a network for ONNX Runtime or OpenVINO, which compute it faster on a CPU."""

    inputs: tuple[str, ...] = ()
    """`default`, `full-tree`, `fast`, or a run folder, export folder or weight file; one."""
    output: str | None = None
    """Which output of weights that have several: `main` or `full-tree`; none takes the first."""
    out: Path = Path("exported")
    """New folder; `--weights` of predict and evaluate takes it."""
    format: Literal["onnx", "openvino"] = "onnx"
    """`onnx`: the portable one; `openvino`: the faster one on x86 processors."""
    int8: bool = False
    """Round weights and activations to 8 bits: a quarter of the size, and faster, for a little accuracy."""
    calibration: tuple[Path, ...] = ()
    """Frames that the ranges of int8 are taken from, like those it will see; none takes synthetic angiograms."""
    calibration_frames: int = 32
    """How many of them, evenly spread."""

    def __post_init__(self) -> None:
        check(at_least("calibration_frames", self.calibration_frames, 1))


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """The whole chain in a few minutes: extract, segmentor, pre-train, fine-tune, evaluate, predict, report."""

    inputs: tuple[Path, ...] = ()
    """Labelled real frames to run on; without them synthetic angiograms are made."""
    out: Path = Path("demo")
    """Folder for everything the demo makes; report.html is the page to open."""
    seed: int = 0
    """Seed of everything."""
    minutes: float = 4.0
    """Time budget; the steps of every method shrink alike to fit."""

    def __post_init__(self) -> None:
        check(at_least("seed", self.seed, 0), above_zero("minutes", self.minutes))


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Make the report.html of training runs anew from what they left, also of runs killed or under way."""

    inputs: tuple[Path, ...] = ()
    """Run folders of pretrain, segmentor and finetune."""


@dataclass(frozen=True, kw_only=True)
class InspectConfig:
    """What a weight file is, whose, and which of our models it starts; convert encoders for other libraries."""

    inputs: tuple[str, ...] = ()
    """`default`, `fast`, `encoder`, or weight files, run, export or Hugging Face folders."""
    model: str | None = None
    """Compare with this model alone, and show what becomes of every tensor; none takes those of the file's size."""
    export: Literal["timm", "hf-vit", "hf-vitmae"] | None = None
    """Write the encoder (hf-vitmae: the whole autoencoder) of the only INPUT for timm or transformers instead."""
    out: Path | None = None
    """New folder for the export."""

    def __post_init__(self) -> None:
        check(
            known_model(self.model, "*") if self.model is not None else (True, ""),
            (self.out is None or self.export is not None, "out has an effect with export alone"),
        )


@dataclass(frozen=True, kw_only=True)
class DatasetsConfig:
    """Public data sets by name: list, describe, fetch, verify, arrange; write labelled data for nnU-Net."""

    inputs: tuple[Path, ...] = ()
    """A folder to verify or arrange, or labelled data to write for nnU-Net."""
    show: str | None = None
    """Describe this data set: licence, citation, how to get it, what reads it."""
    download: str | None = None
    """Fetch this data set into OUT and unpack it."""
    verify: str | None = None
    """Say what the INPUT lacks of this data set."""
    arrange: str | None = None
    """Bring this data set from its publishers' layout, in INPUT, into one that labels are read from, in OUT."""
    nnunet: str | None = None
    """Write the labelled INPUT for nnU-Net into OUT, under this name, such as Dataset501_Vessels."""
    out: Path | None = None
    """Folder of data sets, for download and nnunet; new folder, for arrange."""
    file_ending: Literal[".png", ".tif"] = ".png"
    """Format of images and labels for nnU-Net."""
    classes: bool = False
    """Write ARCADE's 25 segments for nnU-Net instead of one vessel label."""
    rasteriser: Rasteriser = "arcade-official"
    """How polygons become masks."""

    def __post_init__(self) -> None:
        actions = ("show", "download", "verify", "arrange", "nnunet")
        asked = [name for name in actions if getattr(self, name) is not None]
        check(
            (len(asked) <= 1, f"one thing at a time, got {' and '.join(asked)}"),
            (self.out is not None or not {"download", "arrange", "nnunet"} & {*asked}, f"{' '.join(asked)} needs out"),
            (len(self.inputs) == 1 or "verify" not in asked, "verify needs one INPUT, the folder to look at"),
            (len(self.inputs) == 1 or "arrange" not in asked, "arrange needs one INPUT, the folder as published"),
            (bool(self.inputs) or "nnunet" not in asked, "nnunet needs an INPUT, the labelled data to write"),
            *(
                (self.nnunet is not None or getattr(self, name) == usual, f"{name} has an effect with nnunet alone")
                for name, usual in (("classes", False), ("file_ending", ".png"), ("rasteriser", "arcade-official"))
            ),
            (
                not self.inputs or bool({"verify", "arrange", "nnunet"} & {*asked}),
                "INPUT needs verify, arrange or nnunet",
            ),
            (
                self.out is None or bool({"download", "arrange", "nnunet"} & {*asked}),
                "out needs download, arrange or nnunet",
            ),
        )


@dataclass(frozen=True, kw_only=True)
class InfoConfig:
    """Versions, devices and models at hand."""

    devices: bool = False
    """Also list the devices torch can compute on; loads torch, which takes seconds."""
