"""nnU-Net's layout: what is written is read back to the bit, and broken folders get one clear line."""

import json

import cv2
import numpy as np
import pytest

from vasomim.data.frames import read_frame, write_png
from vasomim.data.nnunet import NnUNetDataset, is_nnunet_folder, to_integers, write_nnunet
from vasomim.data.open import open_frames, open_labelled
from vasomim.errors import DataError, MisuseError
from vasomim.types import Record, Sample

RNG = np.random.default_rng(0)
FRAMES = {
    "eight": RNG.integers(0, 256, (20, 30), dtype=np.uint8),
    "twelve": RNG.integers(0, 4096, (20, 30), dtype=np.uint16),
    "sixteen": RNG.integers(0, 65536, (20, 30), dtype=np.uint16),
    "deep/dark": RNG.integers(0, 9, (20, 30), dtype=np.uint8),
    "deep/ten": RNG.integers(0, 1000, (20, 30), dtype=np.uint16),
}


@pytest.fixture
def labelled(tmp_path):
    """A folder in our own layout with frames of every depth."""
    for name, pixels in FRAMES.items():
        write_png(tmp_path / "ours" / "images" / f"{name}.png", pixels)
        write_png(tmp_path / "ours" / "masks" / f"{name}.png", RNG.random((20, 30)) > 0.7)
    return tmp_path / "ours"


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_write_nnunet__round_trip_is_exact(tmp_path, labelled, ending):
    source = open_labelled([labelled])
    calls = []
    folder = write_nnunet(source, tmp_path / "raw" / "Dataset501_Vessels", ending, progress=lambda: calls.append(1))
    assert len(calls) == len(FRAMES)
    assert is_nnunet_folder(folder)
    back = open_labelled([folder])
    assert isinstance(back, NnUNetDataset)
    assert {record.id for record in back.records} == {name.replace("/", "__") for name in FRAMES}
    wanted = {record.id.replace("/", "__"): source[index] for index, record in enumerate(source.records)}
    for index, record in enumerate(back.records):
        assert np.array_equal(back[index].image, wanted[record.id].image)
        assert np.array_equal(back[index].mask, wanted[record.id].mask)
        assert back[index].classes is None


def test_write_nnunet__files_are_those_nnunet_wants(tmp_path, labelled):
    folder = write_nnunet(open_labelled([labelled]), tmp_path / "Dataset007_X")
    table = json.loads((folder / "dataset.json").read_text())
    assert table["labels"] == {"background": 0, "vessel": 1}
    assert table["channel_names"] == {"0": "xray"}
    assert (table["numTraining"], table["file_ending"]) == (len(FRAMES), ".png")
    assert sorted(path.name for path in (folder / "imagesTr").iterdir())[0] == "deep__dark_0000.png"
    labels = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in (folder / "labelsTr").iterdir()]
    assert all(set(np.unique(label)) <= {0, 1} and label.ndim == 2 for label in labels)


class _Classes:
    """Two frames with segment classes."""

    records = (Record("a", None), Record("b", None))

    def __len__(self):
        return 2

    def __getitem__(self, index):
        classes = np.zeros((8, 8), np.uint8)
        classes[index : index + 3] = index + 1
        return Sample(self.records[index], np.full((8, 8), 0.5, np.float32), mask=classes > 0, classes=classes)


def test_write_nnunet__classes_come_back(tmp_path):
    folder = write_nnunet(_Classes(), tmp_path / "Dataset001_C", classes={1: "left", 2: "right"})
    back = NnUNetDataset(folder)
    assert back.labels == {0: "background", 1: "left", 2: "right"}
    for index in range(2):
        assert np.array_equal(back[index].classes, _Classes()[index].classes)
        assert np.array_equal(back[index].mask, _Classes()[index].mask)
    with pytest.raises(DataError, match="frame b holds classes without a name: 2"):
        write_nnunet(_Classes(), tmp_path / "Dataset002_C", classes={1: "left"})
    assert not (tmp_path / "Dataset002_C").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["Dataset001_C"]


def test_open_frames__an_nnunet_folder_gives_its_images_under_the_names_of_their_cases(tmp_path, labelled):
    folder = write_nnunet(open_labelled([labelled]), tmp_path / "Dataset501_Vessels")
    write_png(folder / "imagesTs" / "unseen_0000.png", FRAMES["eight"])
    ids = {record.id for record in open_frames([folder]).records}
    assert ids == {record.id for record in open_labelled([folder]).records}
    assert {record.id for record in open_frames([folder / "imagesTs"]).records} == {"unseen"}
    nested = {record.id for record in open_frames([tmp_path / "Dataset501_Vessels" / ".."]).records}
    assert not any("labelsTr" in name or "unseen" in name for name in nested)


@pytest.mark.parametrize("bits", [1, 8, 10, 12, 14, 16])
def test_to_integers__gives_back_what_was_read(tmp_path, bits):
    top = {1: 1, 8: 255}.get(bits, 2**bits - 1)
    pixels = np.random.default_rng(bits).integers(0, top + 1, (40, 40)).astype(np.uint8 if bits <= 8 else np.uint16)
    write_png(tmp_path / "a.png", pixels)
    image = read_frame(tmp_path / "a.png")
    write_png(tmp_path / "b.png", to_integers(image))
    assert np.array_equal(read_frame(tmp_path / "b.png"), image)


@pytest.mark.parametrize("scale", [1.0, 0.2, 0.01])
def test_to_integers__other_floats_keep_their_brightness(tmp_path, scale):
    image = (np.random.default_rng(1).random((30, 30)) * scale).astype(np.float32)
    write_png(tmp_path / "a.png", to_integers(image))
    assert np.abs(read_frame(tmp_path / "a.png") - image).max() <= (0.5 / 65535 if scale == 1 else 0.5 / 255) + 1e-6


def nnunet(folder, table, label=None):
    write_png(folder / "imagesTr" / "a_0000.png", FRAMES["eight"])
    write_png(folder / "labelsTr" / "a.png", np.ones((20, 30), np.uint8) if label is None else label)
    (folder / "dataset.json").write_text(table if isinstance(table, str) else json.dumps(table))
    return folder


GOOD = {"channel_names": {"0": "xray"}, "labels": {"background": 0, "vessel": 1}, "file_ending": ".png"}


@pytest.mark.parametrize(
    "labels",
    [
        {"background": 0, "vessel": 1},
        {"0": "background", "1": "vessel"},
        {"background": 0, "tree": [1, 2], "stenosis": 2},
    ],
)
def test_nnunet_dataset__labels_of_every_version(tmp_path, labels):
    dataset = NnUNetDataset(nnunet(tmp_path, GOOD | {"labels": labels}))
    assert dataset[0].mask.all()
    assert (dataset[0].classes is None) == (len(dataset.labels) == 2)


def test_nnunet_dataset__three_colours_in_one_file_are_one_frame(tmp_path):
    colours = GOOD | {"channel_names": {"0": "R", "1": "G", "2": "B"}}
    assert len(NnUNetDataset(nnunet(tmp_path, colours))) == 1


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("{broken", "cannot read"),
        ("[]", "is no JSON object"),
        (GOOD | {"labels": {}}, "names no labels"),
        (GOOD | {"labels": {"background": 0, "ignore": 2}}, "has an ignore label"),
        (GOOD | {"labels": {"vessel": None}}, "label vessel has the value None"),
        (GOOD | {"labels": {"vessel": 1000}}, "need 0 to 255"),
        (GOOD | {"channel_names": {"0": "native", "1": "contrast"}}, "names 2 channels"),
        (GOOD | {"file_ending": ".nii.gz"}, r"files end in \.nii\.gz; vasomim reads"),
    ],
)
def test_nnunet_dataset__broken_tables(tmp_path, table, message):
    with pytest.raises(DataError, match=message):
        NnUNetDataset(nnunet(tmp_path, table))


def test_nnunet_dataset__unknown_values_and_other_sizes(tmp_path):
    folder = nnunet(tmp_path, GOOD, np.full((20, 30), 255, np.uint8))
    with pytest.raises(DataError, match=r"holds the value\(s\) 255, which dataset.json does not name"):
        NnUNetDataset(folder)[0]
    with pytest.raises(DataError, match="they must be equal"):
        NnUNetDataset(nnunet(tmp_path, GOOD, np.ones((8, 8), np.uint8)))[0]


def test_nnunet_dataset__cases_that_do_not_pair(tmp_path):
    folder = nnunet(tmp_path, GOOD)
    write_png(folder / "labelsTr" / "b.png", FRAMES["eight"])
    with pytest.raises(DataError, match=r"1 label file\(s\) without image \(b\)"):
        NnUNetDataset(folder)
    write_png(folder / "imagesTr" / "b.png", FRAMES["eight"])
    with pytest.raises(DataError, match=r"1 frame\(s\) that do not end in _0000: b.png"):
        NnUNetDataset(folder)


def test_write_nnunet__misuse(tmp_path, labelled):
    source = open_labelled([labelled])
    for name in ("Vessels", "Dataset1_X", "Dataset501_"):
        with pytest.raises(MisuseError, match="need DatasetNNN_NAME"):
            write_nnunet(source, tmp_path / name)
    (tmp_path / "Dataset501_X").mkdir()
    with pytest.raises(MisuseError, match="exists already"):
        write_nnunet(source, tmp_path / "Dataset501_X")
    with pytest.raises(MisuseError, match=r"cannot write \.jpg"):
        write_nnunet(source, tmp_path / "Dataset502_X", ".jpg")
    with pytest.raises(DataError, match="has no mask; nnU-Net trains on labelled frames alone"):
        write_nnunet(open_frames([labelled]), tmp_path / "Dataset503_X")
    assert not list(tmp_path.glob("*503*"))
