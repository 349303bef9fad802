"""The stages that are timed: each makes ours and the reference for one thing, on synthetic frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from vasomim.benchmarks import reference
from vasomim.benchmarks.speed.limits import Work
from vasomim.benchmarks.speed.networks import infer, step, step_bf16
from vasomim.benchmarks.speed.timing import Stage
from vasomim.benchmarks.speed.work import hessian_flops, steering_flops
from vasomim.data.augment import JointCrop
from vasomim.data.frames import write_png
from vasomim.data.open import open_frames
from vasomim.data.packed import PackDataset, PackSettings
from vasomim.data.packing import pack_frames
from vasomim.data.stream import SampleStream, make_loader
from vasomim.ops.masking import guided_mask
from vasomim.ops.vesselness import DEFAULT_SIGMAS, vesselness
from vasomim.synth.angiogram import generate
from vasomim.vessels import CUT, WORKING_SIDE, Method, extract_vessels

Bytes = npt.NDArray[np.uint8]
CROP = 224


def frames_of(count: int, size: int) -> list[Bytes]:
    """Synthetic angiograms, (size, size) uint8 each."""
    return [generate(0, size, index=index).image.astype(np.uint8) for index in range(count)]


def extract(folder: Path, *, quick: bool) -> Stage:  # noqa: ARG001
    """Our extraction, and the published pipeline as one writes it first."""
    per_pixel = hessian_flops(1, 2.0, CUT) + hessian_flops(1, 3.2, CUT) + hessian_flops(1, 1.8, CUT) / 4
    along = 2 * steering_flops(1, 2) + steering_flops(1, 4) / 4
    return _extraction("default", (per_pixel + along) * WORKING_SIDE**2, quick=quick)


def extract_reference(folder: Path, *, quick: bool) -> Stage:  # noqa: ARG001
    """The published pipeline to the bit, and as one writes it first."""
    return _extraction("reference", _sato_flops(_side(quick=quick)), quick=quick)


def _extraction(method: Method, flops: float, *, quick: bool) -> Stage:
    side = _side(quick=quick)
    ours, plain = cycle(frames_of(4, side)), cycle(frames_of(4, side))
    return Stage(
        ours=lambda: extract_vessels(next(ours), method),
        reference=lambda: reference.extract(next(plain)),
        work=Work(flops=flops),
        rounds=3 if quick else 11,
        note=f"one frame of {side} px; method {method}; reference: scikit-image's Sato, region growing in Python",
    )


def ridges(folder: Path, *, quick: bool) -> Stage:  # noqa: ARG001
    """Sato's filter alone."""
    side = _side(quick=quick)
    frame = frames_of(1, side)[0]
    return Stage(
        ours=lambda: vesselness(frame),
        reference=lambda: reference.sato_vesselness(frame),
        work=Work(flops=_sato_flops(side)),
        rounds=3 if quick else 11,
        note=f"one frame of {side} px; Sato's filter at four scales; reference: scikit-image's",
    )


def _side(*, quick: bool) -> int:
    return 96 if quick else 512


def _sato_flops(side: int) -> float:
    return sum(hessian_flops(side * side, sigma) for sigma in DEFAULT_SIGMAS)


def mask(folder: Path, *, quick: bool) -> Stage:  # noqa: ARG001
    """Guided masks of a batch."""
    count = 32 if quick else 256
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(count, CROP, CROP, generator=generator)
    guidance = torch.where(noise > 0.95, noise, 0)
    return Stage(
        ours=lambda: guided_mask(guidance, 16, 0.5, 0.25),
        reference=lambda: reference.guided_masks(guidance, 16, 0.5, 0.25),
        work=Work(moved=guidance.nbytes),
        rounds=3 if quick else 15,
        note=f"{count} masks of 196 patches, the time is that of all; reference: frame by frame, torch.multinomial",
    )


def data(folder: Path, *, quick: bool) -> Stage:
    """From stored frames and vessels to an augmented batch."""
    batch, side = (4, 256) if quick else (32, 512)
    images, maps = folder / "frames", folder / "vesselness"
    for index, frame in enumerate(frames_of(batch, side)):
        write_png(images / f"{index:03d}.png", frame)
        response = extract_vessels(frame, return_vesselness=True)[1]
        write_png(maps / f"{index:03d}.png", np.rint(response * 255).astype(np.uint8))
    pack_frames(open_frames([images]), folder / "pack", PackSettings(vessels="default"), "default", workers=1)
    stream = SampleStream(PackDataset(folder / "pack"), JointCrop(CROP), seed=0, length=batch * 10**6)
    ours = iter(make_loader(stream, batch))
    plain = _endless(DataLoader(reference.FolderSamples(images, maps, CROP), batch, shuffle=True))
    # Two float32 crops are written; the mean crop is 0.6 of a frame of a byte, and a bit, a pixel.
    moved = 2 * 4 * CROP * CROP + 0.6 * side * side * 9 / 8
    return Stage(
        ours=lambda: next(ours),
        reference=lambda: next(plain),
        work=Work(moved=batch * moved),
        units=batch,
        rounds=3 if quick else 15,
        warm_up=3 if quick else 40,
        note=f"a sample of a batch of {batch}, {side} px to {CROP} px; from a pack; reference: PNG by Pillow",
    )


def _endless(loader: DataLoader[Any]) -> Iterator[Any]:
    while True:
        yield from loader


STAGES: dict[str, Callable[..., Stage]] = {
    "extract": extract,
    "extract_reference": extract_reference,
    "vesselness": ridges,
    "mask": mask,
    "data": data,
    "step": step,
    "step_bf16": step_bf16,
    "infer": infer,
}
"""By name, in the order of the table; each takes an empty folder and `quick`, for small sizes and few rounds."""
