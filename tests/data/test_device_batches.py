"""Batches of a pack cropped on a device: the samples of the stream, wherever the frames are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from data_tools import grey, save

from vasomim.data import device_batches
from vasomim.data.augment import JointCrop
from vasomim.data.device_batches import DeviceBatches, is_resident, load_frames, num_bytes, uniform_pack
from vasomim.data.open import open_frames
from vasomim.data.packed import PackDataset, PackSettings
from vasomim.data.packing import pack_frames
from vasomim.data.samples import subset
from vasomim.data.stream import SampleStream, make_loader
from vasomim.errors import MisuseError

CPU = torch.device("cpu")
CROP = JointCrop(16, vertical_flip=0.3, vessel_aware=2)


def make_pack(root: Path, bits: int = 8, **settings: object) -> PackDataset:
    kind = np.uint8 if bits == 8 else np.uint16
    for index in range(11):
        frame = np.random.default_rng(index).integers(0, 2**bits, (40, 51)).astype(kind)
        save(root / "frames" / f"{index}.png", frame)
    chosen = PackSettings(vessels="reference 4", **settings)  # type: ignore[arg-type]
    pack_frames(open_frames([root / "frames"]), root / "pack", chosen, "reference", workers=1)
    return PackDataset(root / "pack")


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> PackDataset:
    """Eleven noisy frames of 8 bits with vessels."""
    return make_pack(tmp_path_factory.mktemp("uniform"))


def batches(pack: PackDataset, crop: JointCrop = CROP, **options: object) -> DeviceBatches:
    chosen = {"seed": 5, "length": 26, "batch_size": 8, "device": CPU, **options}
    return DeviceBatches(pack, crop, **chosen)  # type: ignore[arg-type]


def check_close(first: list[dict[str, torch.Tensor]], second: list[dict[str, torch.Tensor]], atol: float) -> None:
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys()
        for key, value in a.items():
            assert value.dtype == b[key].dtype
            torch.testing.assert_close(value, b[key], atol=atol, rtol=0)


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize(("bits", "codec"), [(8, "raw"), (16, "raw"), (8, "png")])
def test_device_batches__are_those_of_the_loader(tmp_path: Path, resident: bool, bits: int, codec: str) -> None:
    packed = make_pack(tmp_path, bits, codec=codec)
    frames = subset(packed, [3, 9, 1, 0, 7])
    expected = list(make_loader(SampleStream(frames, CROP, 5, 26), 8))
    check_close(list(batches(frames, resident=resident)(0)), expected, 1e-6)


@pytest.mark.parametrize("resident", [True, False])
def test_device_batches__worker_count_and_start_change_nothing(pack: PackDataset, resident: bool) -> None:
    whole = list(batches(pack, resident=resident)(0))
    check_close(list(batches(pack, resident=resident, num_workers=2)(0)), whole, 0)
    check_close(list(batches(pack, resident=resident)(2)), whole[2:], 0)


@pytest.mark.parametrize("resident", [True, False])
def test_device_batches__writing_is_that_of_the_crop(pack: PackDataset, resident: bool) -> None:
    crop = JointCrop(16, rotation=20, writing=0.6)
    expected = list(make_loader(SampleStream(pack, crop, 5, 26), 8))
    check_close(list(batches(pack, crop, resident=resident)(0)), expected, 2e-4)


def test_device_batches__a_sample_is_the_same_in_every_batch(pack: PackDataset) -> None:
    crop = JointCrop(16, rotation=20, intensity=0.5)
    found = []
    for batch_size in (13, 2):
        whole = list(batches(pack, crop, batch_size=batch_size)(0))
        found.append({key: torch.cat([batch[key] for batch in whole]) for key in whole[0]})
    check_close(found[:1], found[1:], 1e-6)


def test_uniform_pack__frames_of_one_size_and_depth(pack: PackDataset, tmp_path: Path) -> None:
    for index, size in enumerate((20, 20, 31)):
        save(tmp_path / "frames" / f"{index}.png", grey(index, size, 20))
    save(tmp_path / "frames" / "deep.png", np.full((20, 20), 1000, np.uint16))
    frames = open_frames([tmp_path / "frames"])
    pack_frames(frames, tmp_path / "pack", PackSettings(), workers=1)
    mixed = PackDataset(tmp_path / "pack")
    assert uniform_pack(mixed) is None
    assert uniform_pack(subset(mixed, [0, 3])) is None
    assert uniform_pack(frames) is None
    height, width, bits = mixed.shapes()[3].tolist()
    assert num_bytes(mixed, [3]) == height * width * bits // 8
    alike = uniform_pack(subset(mixed, [1, 0]))
    assert alike is not None
    assert alike[1] == [1, 0]
    assert uniform_pack(pack) is not None
    with pytest.raises(MisuseError, match="need one pack with frames of one size and depth"):
        batches(mixed)


def test_is_resident__decides_by_free_memory(pack: PackDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    need = num_bytes(pack, range(11))
    assert need == 11 * 40 * (51 + 7)
    frames = load_frames(pack, range(11), CPU)
    held = frames.levels.nbytes + (frames.vessels.nbytes if frames.vessels is not None else 0)
    assert held == need
    for free, fits in ((need, False), (2 * need - 1, False), (2 * need, True)):
        monkeypatch.setattr(device_batches, "free_memory", lambda _, free=free: free)
        assert is_resident(pack, range(11), CPU) == fits
        assert (batches(pack).frames is not None) == fits


def test_load_frames__brings_them_in_chunks(pack: PackDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_frames(pack, [4, 2, 9, 0, 1], CPU)
    monkeypatch.setattr(device_batches, "_LOAD", 2)
    chunked = load_frames(pack, [4, 2, 9, 0, 1], CPU)
    assert torch.equal(whole.levels, chunked.levels)
    assert whole.vessels is not None
    assert chunked.vessels is not None
    assert torch.equal(whole.vessels, chunked.vessels)
    np.testing.assert_array_equal(whole.images()[1].numpy(), pack[2].image)
