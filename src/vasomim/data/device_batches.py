"""Batches of a pack that are cropped on the device: the loader draws, `vasomim.data.batch_crop` lays out.

Where all frames fit, they are kept in the device's memory and the loader reads no pixel; else it hands whole frames on
as the pack holds them, a byte or two a pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vasomim.data.augment import JointCrop
from vasomim.data.batch_crop import FrameBatch, crop_batch, shade_batch
from vasomim.data.burn_in import burn_in_batch
from vasomim.data.packed import BitPlane, GreyPlane, PackDataset, packed_frames
from vasomim.data.samples import AnySample, FrameDataset
from vasomim.data.stream import SampleStream, make_loader
from vasomim.errors import MisuseError
from vasomim.ops.devices import free_memory

RESIDENT_SHARE = 0.5
"""Of the free memory of a device, what its frames may take; the rest is for the model and its activations."""
_LOAD = 256
"""Frames brought to the device together."""


def uniform_pack(dataset: FrameDataset) -> tuple[PackDataset, list[int]] | None:
    """The pack and the frames of it that make up a data set, if they are all of one size and depth."""
    found = packed_frames(dataset)
    if found is None or not found[1]:
        return None
    shapes = found[0].shapes()[found[1]]
    return found if bool((shapes == shapes[0]).all()) else None


def num_bytes(pack: PackDataset, indices: Sequence[int]) -> int:
    """Memory that frames of a pack take, masks included."""
    height, width, bits = pack.shapes()[indices].T
    return int((height * (width * bits // 8 + len(pack.mask_names()) * -(-width // 8))).sum())


def is_resident(pack: PackDataset, indices: Sequence[int], device: torch.device) -> bool:
    """Whether frames of a pack are to be kept in the memory of `device`."""
    return num_bytes(pack, indices) <= RESIDENT_SHARE * free_memory(device)


class DeviceBatches:
    """Batches of crops on a device, from any optimiser step on; the samples are those of a `SampleStream`."""

    def __init__(
        self,
        dataset: FrameDataset,
        crop: JointCrop,
        *,
        seed: int,
        length: int,
        batch_size: int,
        device: torch.device,
        num_workers: int = 0,
        resident: bool | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        """Bring the frames to the device where they are to stay there.

        Args:
            dataset: a pack, or a subset of one, with frames of one size and depth.
            crop: what is drawn.
            seed: not negative.
            length: number of positions, see `SampleStream`.
            batch_size: samples of a batch, over all processes.
            device: where batches are made.
            num_workers: processes that draw, and read where the frames do not stay on the device.
            resident: keep all frames on the device; None decides by its free memory.
            share: which slice of each batch to make: (process, number of processes).

        Raises:
            MisuseError: the data set is no such pack.
            DataError: a frame cannot be read.
        """
        found = uniform_pack(dataset)
        if found is None:
            raise MisuseError(
                "crops made in batches need one pack with frames of one size and depth; make it: "
                "vasomim prepare FRAMES --size S --out PACK, or set run.augment to auto"
            )
        pack, indices = found
        if resident is None:
            resident = is_resident(pack, indices, device)
        self.frames = load_frames(pack, indices, device) if resident else None
        self.size, self.seed, self.batch_size, self.device = crop.size, seed, batch_size, device
        self.num_workers, self.share = num_workers, share
        self.stream = SampleStream(dataset, _Draw(crop, with_frame=not resident), seed, length)

    def __call__(self, start: int) -> Iterator[dict[str, Tensor]]:
        """Batches from batch number `start` on: the keys, shapes and values of `make_loader` with the crop itself."""
        for drawn in make_loader(self.stream, self.batch_size, start, self.num_workers, *self.share):
            yield self.lay_out(drawn)

    def lay_out(self, drawn: dict[str, Tensor]) -> dict[str, Tensor]:
        """A batch of what `_Draw` drew, as crops on the device."""
        index, epoch = (drawn[name].to(self.device, non_blocking=True) for name in ("index", "epoch"))
        if self.frames is None:
            there = FrameBatch(**{name: drawn[name] for name in FRAME_PARTS if name in drawn})
            frames = there.each(lambda part: part.to(self.device, non_blocking=True))
        else:
            frames = self.frames[index]
        batch = crop_batch(frames, drawn["pose"], self.size)
        image = shade_batch(batch["image"], drawn["shading"], self.seed, epoch, index)
        if "ink" in drawn:
            image = burn_in_batch(image, drawn["ink"].to(self.device, non_blocking=True))
        return {**batch, "image": image, "index": index, "epoch": epoch}


FRAME_PARTS = ("levels", "full_scale", "vessels", "mask")
"""Names of the parts of a `FrameBatch`."""


def load_frames(pack: PackDataset, indices: Sequence[int], device: torch.device) -> FrameBatch:
    """Frames of a uniform pack, with their masks, in the memory of a device."""
    parts: dict[str, Tensor] = {}
    for first in range(0, len(indices), _LOAD):
        chunk = [_raw(pack.lazily(index)) for index in indices[first : first + _LOAD]]
        for name in chunk[0]:
            rows = torch.stack([item[name] for item in chunk])
            if name not in parts:
                parts[name] = torch.empty(len(indices), *rows.shape[1:], dtype=rows.dtype, device=device)
            parts[name][first : first + len(rows)] = rows.to(device)
    return FrameBatch(**parts)


@dataclass(frozen=True)
class _Draw:
    """What a stream gives in place of a crop: its numbers, and the frame as it is stored where it is wanted."""

    crop: JointCrop
    with_frame: bool

    def __call__(self, sample: AnySample, rng: np.random.Generator) -> dict[str, Tensor]:
        pose, shading, ink = self.crop.draw(sample, rng)
        numbers = {"pose": pose.numbers(), "shading": shading.numbers()}
        drawn = {name: torch.tensor(row, dtype=torch.float64) for name, row in numbers.items()}
        if self.crop.writing:
            blank = torch.zeros(self.crop.size, self.crop.size, dtype=torch.uint8)
            drawn["ink"] = blank if ink is None else torch.from_numpy(ink)
        return {**drawn, **_raw(sample)} if self.with_frame else drawn


def _raw(sample: AnySample) -> dict[str, Tensor]:
    """A packed sample as stored."""
    assert isinstance(sample.image, GreyPlane)
    levels = sample.image.levels
    # torch computes little with uint16; int16 has the same bits.
    whole = np.array(levels if levels.dtype == np.uint8 else levels.view(np.int16))
    parts = {"levels": torch.from_numpy(whole), "full_scale": torch.tensor(float(sample.image.full_scale))}
    for name, plane in (("vessels", sample.vessels), ("mask", sample.mask)):
        if plane is not None:
            assert isinstance(plane, BitPlane)
            parts[name] = torch.from_numpy(np.array(plane.bits))
    return parts
