from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_tools import grey, save

from vasomim.data.folder import MaskedFolderDataset
from vasomim.errors import DataError, MisuseError


@pytest.mark.parametrize("name", ["masks", "labels", "gt", "annotations"])
def test_masked_folder_dataset__pairs_by_stem(masked_folder: Path, name: str) -> None:
    (masked_folder / "masks").rename(masked_folder / name)
    dataset = MaskedFolderDataset(masked_folder)
    assert [record.id for record in dataset.records] == ["1", "2", "10"]
    for index in range(3):
        sample = dataset[index]
        np.testing.assert_array_equal(sample.mask, sample.image > 128 / 255)


def test_masked_folder_dataset__nested_frames(masked_folder: Path) -> None:
    save(masked_folder / "images" / "p1" / "1.pgm", grey(5))
    save(masked_folder / "masks" / "p1" / "1.png", grey(5))
    assert [record.id for record in MaskedFolderDataset(masked_folder).records] == ["1", "2", "10", "p1/1"]


def test_masked_folder_dataset__names_the_odd_ones(masked_folder: Path) -> None:
    (masked_folder / "masks" / "2.png").unlink()
    save(masked_folder / "masks" / "99.png", grey())
    with pytest.raises(DataError, match=r"1 frame\(s\) without mask \(2\) and 1 mask\(s\) without frame \(99\)"):
        MaskedFolderDataset(masked_folder)


def test_masked_folder_dataset__two_masks_for_one_frame(masked_folder: Path) -> None:
    save(masked_folder / "masks" / "2.bmp", grey())
    with pytest.raises(DataError, match="two masks for 2"):
        MaskedFolderDataset(masked_folder)


def test_masked_folder_dataset__sizes_differ(masked_folder: Path) -> None:
    save(masked_folder / "masks" / "2.png", grey(0, 24, 31))
    with pytest.raises(DataError, match=r"2\.png is 32 x 24 pixels but its mask .* is 31 x 24"):
        MaskedFolderDataset(masked_folder)[1]


def test_masked_folder_dataset__parent_of_sets_is_refused(masked_folder: Path) -> None:
    with pytest.raises(MisuseError, match=f"name those you mean: {masked_folder}"):
        MaskedFolderDataset(masked_folder.parent)


def test_masked_folder_dataset__no_frame(masked_folder: Path) -> None:
    for path in (masked_folder / "images").iterdir():
        path.unlink()
    with pytest.raises(MisuseError, match=r"no frame in .*images"):
        MaskedFolderDataset(masked_folder)


def test_masked_folder_dataset__takes_patients_and_boxes(masked_folder: Path) -> None:
    (masked_folder / "boxes.csv").write_text("file,patient,x0,y0,x1,y1\n2.png,A,1,2,3,4\n10.png,B,,,,\n")
    dataset = MaskedFolderDataset(masked_folder)
    assert [record.patient for record in dataset.records] == [None, "A", "B"]
    assert [len(dataset[index].boxes) for index in range(3)] == [0, 1, 0]


@pytest.mark.real
@pytest.mark.parametrize(("name", "size", "low", "high"), [("xcad", 512, 0.03, 0.09), ("dca1", 300, 0.03, 0.1)])
def test_masked_folder_dataset__real_sets(real_data: Path, name: str, size: int, low: float, high: float) -> None:
    dataset = MaskedFolderDataset(real_data / name / "train")
    assert len(dataset) == 100
    shares = [dataset[index].mask.mean() for index in range(0, 100, 10)]
    assert dataset[0].image.shape == (size, size)
    assert low < np.mean(shares) < high
