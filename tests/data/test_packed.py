"""Packs read back: the samples of the folder they were made from, window by window, and damage that is named."""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from data_tools import grey, save

from vasomim.data.augment import JointCrop, WholeFrame
from vasomim.data.open import open_frames, open_labelled
from vasomim.data.packed import BitPlane, GreyPlane, PackDataset, PackSettings, packed_frames
from vasomim.data.packing import pack_frames, verify_pack
from vasomim.data.samples import changed, concatenate, read_lazily, subset
from vasomim.data.splits import content_groups, label_subset, split_holdout
from vasomim.data.statistics import pixel_statistics
from vasomim.data.stream import SampleStream, make_loader
from vasomim.errors import DataError, MisuseError
from vasomim.ops.full_scale import FULL_SCALES
from vasomim.types import Sample

VESSELS = {"extraction": "reference"}
SETTINGS = PackSettings(vessels="reference 4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-two frames of many kinds with patients, some alike, below images/ and its sub-folders."""
    root = tmp_path_factory.mktemp("folder")
    rows = ["file,patient,x0,y0,x1,y1"]
    for index in range(12):
        save(root / "images" / f"plain_{index}.png", grey(index // 2 if index < 6 else index, 40, 48))
        rows.append(f"plain_{index}.png,patient {index // 3},,,,")
    for index, scale in enumerate(FULL_SCALES):
        deep = np.random.default_rng(index).integers(0, scale + 1, (33, 50), np.uint16)
        save(root / "images" / "tief" / f"{scale}.png", deep)
    save(root / "images" / "größer.png", grey(20, 90, 70))
    save(root / "images" / "дальше" / "血管 造影.png", grey(21, 31, 33))
    save(root / "images" / "colour.bmp", np.random.default_rng(3).integers(0, 256, (24, 32, 3), np.uint8))
    save(root / "images" / "same.png", grey(9, 40, 48))
    save(root / "images" / "small.png", grey(22, 5, 7))
    np.save(root / "images" / "floats.npy", np.random.default_rng(4).random((28, 28)))
    (root / "boxes.csv").write_text("\n".join(rows))
    return root


@pytest.fixture(scope="module")
def pack(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their pack, with extracted vessels."""
    out = tmp_path_factory.mktemp("packs") / "pack"
    pack_frames(open_frames([folder]), out, SETTINGS, **VESSELS, workers=1)
    return out


@pytest.fixture
def copy(pack: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    shutil.copytree(pack, tmp_path / "copy")
    return tmp_path / "copy"


def test_pack_dataset__is_the_folder(folder: Path, pack: Path) -> None:
    frames, packed = open_frames([folder]), open_frames([pack])
    assert isinstance(packed, PackDataset)
    assert [(r.id, r.patient) for r in packed.records] == [(r.id, r.patient) for r in frames.records]
    for index, record in enumerate(frames.records):
        image = packed[index].image
        assert image.dtype == np.float32
        if record.id == "floats":  # no depth gives them back; 16 bits come near
            np.testing.assert_allclose(image, frames[index].image, atol=0.5 / 65535 + 1e-7)
        else:
            np.testing.assert_array_equal(image, frames[index].image, err_msg=record.id)
        assert packed[index].mask is None


def test_pack_dataset__splits_are_those_of_the_folder(folder: Path, pack: Path, tmp_path: Path) -> None:
    frames, packed = open_frames([folder]), open_frames([pack])
    assert len(set(content_groups(frames))) < len(frames) - 6
    small = tmp_path / "small"
    pack_frames(
        packed, small, PackSettings(size=16, bits=8, codec="jpeg", quality=50, vessels="reference 4"), workers=1
    )
    for other in (packed, open_frames([small])):
        assert content_groups(other) == content_groups(frames)
        for seed in range(3):
            assert split_holdout(other, 0.3, seed) == split_holdout(frames, 0.3, seed)
            assert label_subset(other, "0.25", seed) == label_subset(frames, "0.25", seed)
    assert pixel_statistics(packed) == pytest.approx(pixel_statistics(frames), abs=1e-6)


def test_pack_dataset__lazy_windows_are_parts_of_the_sample(pack: Path) -> None:
    packed = PackDataset(pack)
    for index in range(len(packed)):
        sample, lazy = packed[index], packed.lazily(index)
        for name in ("image", "vessels"):
            whole, plane = getattr(sample, name), getattr(lazy, name)
            height, width = plane.shape
            assert whole.shape == (height, width)
            for window in ((slice(0, height), slice(0, width)), (slice(1, 4), slice(3, 5)), (slice(2, 3), slice(6, 7))):
                np.testing.assert_array_equal(plane[window], whole[window])
                assert plane[window].dtype == whole.dtype


@pytest.mark.parametrize("start", range(10))
@pytest.mark.parametrize("stop", [10, 16, 17, 24, 29])
def test_bit_plane__every_offset(start: int, stop: int) -> None:
    mask = np.random.default_rng(0).random((3, 29)) < 0.5
    plane = BitPlane(np.packbits(mask, axis=1), 29)
    np.testing.assert_array_equal(plane[1:3, start:stop], mask[1:3, start:stop])


def test_grey_plane__reads_the_window_alone() -> None:
    class Watched(np.ndarray):
        touched = 0

        def __array_finalize__(self, other: object) -> None:
            Watched.touched = self.size

    levels = grey(0, 100, 100).view(Watched)
    assert GreyPlane(levels, 255)[10:20, 30:50].shape == (10, 20)
    assert Watched.touched == 200


CROPS = {
    "plain": JointCrop(16),
    "flips": JointCrop(16, horizontal_flip=1, vertical_flip=1),
    "rotation and intensity": JointCrop(16, rotation=30, intensity=0.7),
    "native": JointCrop(24, native=True, scale=(0.5, 1)),
    "native beyond the frame": JointCrop(64, native=True),
    "aware": JointCrop(12, scale=(0.1, 0.3), vessel_aware=4),
    "whole": WholeFrame(20),
}


@pytest.mark.parametrize("name", CROPS)
def test_stream__pack_and_folder_give_the_same_bits(folder: Path, pack: Path, name: str) -> None:
    packed = PackDataset(pack)
    keep = [index for index, record in enumerate(packed.records) if record.id != "floats"]
    lazy = SampleStream(subset(packed, keep), CROPS[name], 3, 60)

    class Eager:  # the same frames from their files
        def __init__(self) -> None:
            self.records = [packed.records[index] for index in keep]
            self.frames = open_frames([folder])

        def __len__(self) -> int:
            return len(keep)

        def __getitem__(self, index: int) -> object:
            sample = self.frames[keep[index]]
            return type(sample)(sample.record, sample.image, vessels=packed[keep[index]].vessels)

    eager = SampleStream(Eager(), CROPS[name], 3, 60)
    for position in range(60):
        first, second = lazy[position], eager[position]
        assert first.keys() == second.keys() >= {"image", "vessels", "index", "epoch"}
        for key, value in first.items():
            assert torch.equal(value, second[key]), (position, key)


def test_make_loader__workers_read_a_pack(pack: Path) -> None:
    stream = SampleStream(PackDataset(pack), JointCrop(16), 0, 24)
    alone, shared = (list(make_loader(stream, 8, num_workers=workers)) for workers in (0, 2))
    assert all(torch.equal(a[key], b[key]) for a, b in zip(alone, shared, strict=True) for key in a)


def test_pack_dataset__travels_to_other_processes_without_its_bytes(pack: Path) -> None:
    packed = PackDataset(pack)
    expected = packed[3].image
    content = pickle.dumps(packed)
    assert len(content) < 20_000
    np.testing.assert_array_equal(pickle.loads(content)[3].image, expected)


def test_open_frames__packs_and_folders_together(pack: Path, tmp_path: Path) -> None:
    save(tmp_path / "more" / "plain_1.png", grey(77))
    dataset = open_frames([tmp_path / "more", pack])
    assert len(dataset) == len(PackDataset(pack)) + 1
    ids = [record.id for record in dataset.records]
    assert {"pack/plain_1", "more/plain_1"} <= set(ids)
    assert read_lazily(dataset, ids.index("pack/plain_1")).record.id == "pack/plain_1"
    with pytest.raises(MisuseError, match="given twice"):
        open_frames([pack, pack])


def test_open_frames__leaves_packs_inside_a_folder_out(copy: Path) -> None:
    save(copy.parent / "frame.png", grey())
    assert [record.id for record in open_frames([copy.parent]).records] == ["frame"]


def test_packed_frames__looks_through_subsets_alone(pack: Path) -> None:
    packed = PackDataset(pack)
    found = packed_frames(subset(subset(packed, [5, 3, 8]), [2, 0]))
    assert found is not None
    assert found[0] is packed
    assert found[1] == [8, 5]
    assert packed_frames(concatenate([subset(packed, [1]), subset(packed, [2])])) is None
    assert packed_frames(changed(packed, lambda sample: sample)) is None


class Mirrored:
    """Frames of a pack in another order, and the other way round."""

    def __init__(self, dataset: PackDataset, indices: list[int]) -> None:
        self.dataset, self.indices = dataset, indices
        self.records = [dataset.records[index] for index in indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        sample = self.dataset[self.indices[index]]
        return dataclasses.replace(sample, image=sample.image[:, ::-1])


def test_packed_frames__takes_nothing_for_a_subset_that_only_looks_like_one(pack: Path) -> None:
    assert packed_frames(Mirrored(PackDataset(pack), [2, 0])) is None


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 4
    path.write_bytes(content)


def test_verify_pack__finds_every_flipped_bit_and_names_its_frame(copy: Path) -> None:
    assert verify_pack(copy, 1) == []
    for part in sorted(copy.glob("*.bin")):
        entries = json.loads(part.with_suffix(".json").read_text())["frames"]
        for entry in entries[:: len(entries) - 1]:
            for position in (entry["span"][0], entry["planes"][-1][1] - 1, entry["span"][1] - 1):
                flip(part, position)
                (line,) = verify_pack(copy, 1)
                assert str(part) in line
                assert f"frame {entry['id']} is damaged" in line
                flip(part, position)
    assert verify_pack(copy, 1) == []


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        ("part_00001.bin", remove, "part_00001.bin is missing, with 7 frames from"),
        ("part_00001.bin", cut, "part_00001.bin holds"),
        ("part_00000.json", remove, "cannot read .*part_00000.json"),
        ("part_00000.json", cut, "part_00000.json is damaged: its checksum"),
        ("part_00000.json", lambda path: flip(path, 40), "part_00000.json is damaged: its checksum"),
    ],
)
def test_pack_dataset__names_the_file_that_is_damaged(
    copy: Path, name: str, damage: Callable[[Path], None], told: str
) -> None:
    damage(copy / name)
    with pytest.raises(DataError, match=told):
        open_frames([copy])
    lines = verify_pack(copy, 1)
    assert len(lines) == 1
    assert name in lines[0]


def test_pack_dataset__names_the_frames_that_a_truncated_file_lacks(copy: Path) -> None:
    last = json.loads((copy / "part_00001.json").read_text())["frames"][-1]["id"]
    cut(copy / "part_00001.bin")
    with pytest.raises(DataError, match=f"without frame {last}; copy the pack again"):
        PackDataset(copy)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"vasomim_pack": 1}', '{"vasomim_pack": 1, "settings": 3}'])
def test_pack_dataset__corrupt_head(copy: Path, content: str) -> None:
    (copy / "pack.json").write_text(content)
    with pytest.raises(DataError, match=r"cannot read .*pack\.json .*copy the pack again"):
        open_frames([copy])


def test_pack_dataset__other_version(copy: Path) -> None:
    head = json.loads((copy / "pack.json").read_text())
    (copy / "pack.json").write_text(json.dumps({**head, "vasomim_pack": 2}))
    with pytest.raises(MisuseError, match="is a pack of version 2, this vasomim reads version 1"):
        open_frames([copy])


def test_pack_dataset__damaged_compressed_frame_is_named_when_read(pack: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    pack_frames(PackDataset(pack), out, PackSettings(codec="png", vessels="reference 4"), workers=1)
    packed = PackDataset(out)
    entry = json.loads((out / "part_00000.json").read_text())["frames"][2]
    path = out / "part_00000.bin"
    content = bytearray(path.read_bytes())
    content[entry["planes"][0][0] : entry["planes"][0][1]] = bytes(entry["planes"][0][1] - entry["planes"][0][0])
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"part_00000.bin: frame {entry['id']} cannot decode as png"):
        packed[2]


def test_open_labelled__needs_a_pack_with_labels(pack: Path, masked_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="holds no labels"):
        open_labelled([pack])
    out = tmp_path / "labelled"
    folder = open_labelled([masked_folder])
    pack_frames(folder, out, PackSettings(labels="coco"), workers=1)
    with pytest.raises(MisuseError, match="packed with rasteriser coco, asked for arcade-official"):
        open_labelled([out])
    packed = open_labelled([out], "coco")
    for index in range(len(folder)):
        np.testing.assert_array_equal(packed[index].mask, folder[index].mask)
    assert open_frames([out])[0].mask is None


@pytest.mark.real
def test_pack__real_frames_survive_bit_for_bit(real_data: Path, tmp_path: Path) -> None:
    roots = [real_data / "arcade/syntax/val", real_data / "danilov_352", real_data / "dca1/train"]
    whole = open_frames(roots)
    frames = subset(whole, range(0, len(whole), 79))
    pack_frames(frames, tmp_path / "pack", PackSettings(), workers=1)
    packed = PackDataset(tmp_path / "pack")
    assert content_groups(packed) == content_groups(frames)
    for index in range(len(frames)):
        np.testing.assert_array_equal(packed[index].image, frames[index].image)
