"""Folders of vessel maps: content, cache, broken frames, reading back."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vasomim.data import extraction
from vasomim.data.extraction import VesselStore, cache_key, extract_folder, mask_path
from vasomim.data.frames import read_frame, read_mask
from vasomim.errors import DataError, Interrupted, MisuseError, WriteError
from vasomim.types import Record
from vasomim.vessels import extract_vessels


def frame(seed: int) -> np.ndarray:
    """A dark bow on noise, uint8 (64, 80)."""
    y, x = np.mgrid[:64, :80]
    bow = np.exp(-0.5 * ((y - 20 - 0.008 * (x - 10 - 4 * seed) ** 2) / 2.5) ** 2)
    noise = np.random.default_rng(seed).normal(0, 3, (64, 80))
    return np.clip(170 - 80 * bow + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def records(tmp_path: Path) -> list[Record]:
    """Three frames, one in a sub-folder."""
    found = []
    for seed, name in enumerate(("a", "b", "run/c")):
        path = tmp_path / "frames" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), frame(seed))
        found.append(Record(name, path))
    return found


def stamps(out: Path) -> dict[str, tuple[int, int]]:
    """What a file has another of once it is written anew: its number, and, where clocks are fine, its time."""
    found = {path.name: path.stat() for path in out.rglob("*.png") if path.name != "preview.png"}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


@pytest.mark.parametrize("method", ["default", "reference"])
def test_extract_folder__writes_what_extract_vessels_gives(records, tmp_path, method):
    done = []
    summary = extract_folder(records, tmp_path / "out", method, workers=1, progress=lambda: done.append(1))
    assert (summary.extracted, summary.cached, summary.failed) == (3, 0, 0)
    assert len(done) == 3
    for record in records:
        written = cv2.imread(str(tmp_path / "out" / "masks" / f"{record.id}.png"), cv2.IMREAD_UNCHANGED)
        assert written.dtype == np.uint8
        assert set(np.unique(written)) <= {0, 255}
        assert np.array_equal(written > 0, extract_vessels(frame(records.index(record)), method))


def test_extract_folder__writes_vesselness_in_16_bits(records, tmp_path):
    extract_folder(records, tmp_path / "out", workers=1, vesselness=True)
    written = cv2.imread(str(tmp_path / "out" / "vesselness" / "run" / "c.png"), cv2.IMREAD_UNCHANGED)
    _, response = extract_vessels(read_frame(records[2].path), return_vesselness=True)
    assert written.dtype == np.uint16
    np.testing.assert_allclose(written / 65535, response, atol=1e-5)


def test_extract_folder__in_processes_equals_one_process(records, tmp_path):
    extract_folder(records, tmp_path / "one", workers=1)
    extract_folder(records, tmp_path / "two", workers=2)
    for record in records:
        assert (
            mask_path(tmp_path / "one", record.id).read_bytes() == mask_path(tmp_path / "two", record.id).read_bytes()
        )


def test_extract_folder__does_not_repeat_what_is_done(records, tmp_path):
    out = tmp_path / "out"
    extract_folder(records, out, workers=1)
    before = stamps(out)
    summary = extract_folder(records, out, workers=1)
    assert (summary.extracted, summary.cached) == (0, 3)
    assert stamps(out) == before


def test_extract_folder__repeats_a_frame_whose_pixels_changed(records, tmp_path):
    out = tmp_path / "out"
    extract_folder(records, out, workers=1)
    cv2.imwrite(str(records[1].path), frame(9))
    summary = extract_folder(records, out, workers=1)
    assert (summary.extracted, summary.cached) == (1, 2)
    assert np.array_equal(read_mask(mask_path(out, "b")), extract_vessels(frame(9)))


def test_extract_folder__knows_the_same_pixels_in_another_encoding(records, tmp_path):
    out = tmp_path / "out"
    extract_folder(records, out, workers=1)
    moved = records[0].path.with_suffix(".bmp")
    cv2.imwrite(str(moved), frame(0))
    assert extract_folder([Record("a", moved)], out, workers=1).cached == 1


def test_extract_folder__repeats_all_when_the_method_has_changed(records, tmp_path, monkeypatch):
    out = tmp_path / "out"
    extract_folder(records, out, workers=1)
    monkeypatch.setattr(extraction, "METHOD_VERSION", extraction.METHOD_VERSION + 1)
    assert extract_folder(records, out, workers=1).extracted == 3


def test_extract_folder__makes_vesselness_that_is_asked_for_later(records, tmp_path):
    out = tmp_path / "out"
    extract_folder(records, out, workers=1)
    assert extract_folder(records, out, workers=1, vesselness=True).extracted == 3
    assert extract_folder(records, out, workers=1, vesselness=True).cached == 3


@pytest.mark.parametrize("damage", [b"", b"not a picture", None])
def test_extract_folder__mends_a_damaged_mask(records, tmp_path, damage):
    out = tmp_path / "out"
    extract_folder(records, out, workers=1)
    path = mask_path(out, "a")
    whole = path.read_bytes()
    path.write_bytes(whole[:-30] if damage is None else damage)
    assert extract_folder(records, out, workers=1).extracted == 1
    assert path.read_bytes() == whole


def test_extract_folder__reports_bad_frames_and_does_the_rest(records, tmp_path):
    records[0].path.write_bytes(records[0].path.read_bytes()[:200])
    cv2.imwrite(str(records[1].path), np.full((64, 80), 77, np.uint8))
    np.save(tmp_path / "nan.npy", np.full((64, 80), np.nan, np.float32))
    everything = [*records, Record("nan", tmp_path / "nan.npy"), Record("gone", tmp_path / "gone.png")]
    summary = extract_folder(everything, tmp_path / "out", workers=2)
    assert (summary.extracted, summary.failed) == (1, 4)
    for line, name in zip(summary.failures, ("a.png", "b.png", "nan.npy", "gone.png"), strict=True):
        assert name in line
        assert "\n" not in line
    assert sorted(path.name for path in (tmp_path / "out" / "masks").rglob("*.png")) == ["c.png"]


def test_extract_folder__leaves_no_stale_mask_of_a_frame_that_broke(records, tmp_path):
    out = tmp_path / "out"
    extract_folder(records, out, workers=1)
    records[0].path.write_bytes(b"broken")
    assert extract_folder(records, out, workers=1).failed == 1
    assert not mask_path(out, "a").exists()


def test_extract_folder__shows_frames_in_a_preview(records, tmp_path):
    summary = extract_folder(records, tmp_path / "out", workers=1)
    assert summary.preview == tmp_path / "out" / "preview.png"
    assert cv2.imread(str(summary.preview)).std() > 10


def test_extract_folder__has_no_preview_of_nothing(tmp_path):
    summary = extract_folder([Record("gone", tmp_path / "gone.png")], tmp_path / "out", workers=1)
    assert summary.preview is None


def test_extract_folder__refuses_another_method_in_the_same_folder(records, tmp_path):
    extract_folder(records, tmp_path / "out", "reference", workers=1)
    with pytest.raises(MisuseError, match=r"holds vessels of method 'reference'.*another folder"):
        extract_folder(records, tmp_path / "out", "default", workers=1)


def test_extract_folder__refuses_a_folder_of_something_else(records, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    with pytest.raises(MisuseError, match="not made by an extraction"):
        extract_folder(records, tmp_path / "out", workers=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(MisuseError, match="is a file"):
        extract_folder(records, tmp_path / "file", workers=1)


def test_extract_folder__refuses_a_broken_marker(records, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / extraction.MARKER).write_text("{")
    with pytest.raises(MisuseError, match="cannot read"):
        extract_folder(records, tmp_path / "out", workers=1)


def test_extract_folder__refuses_no_frames_and_repeated_ids(records, tmp_path):
    with pytest.raises(MisuseError, match="no frame"):
        extract_folder([], tmp_path / "out")
    with pytest.raises(MisuseError, match="share the id 'a'"):
        extract_folder([records[0], records[0]], tmp_path / "out")


def test_extract_folder__stops_with_a_line_when_the_disk_is_full(records, tmp_path, monkeypatch):
    real = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.suffix == ".png":
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(WriteError, match="No space left"):
        extract_folder(records, tmp_path / "out", workers=1)
    assert not list((tmp_path / "out").rglob("*.png"))


def test_extract_folder__takes_the_longest_names_and_gives_up_longer_ones_alone(records, tmp_path):
    """A name that is legal for a frame may leave no room for `.png`, and must cost no other frame its mask."""
    longest, longer = ("l" * 251, "m" * 252)
    named = [replace(record, id=name) for record, name in zip(records, ("a", longest, longer), strict=True)]
    summary = extract_folder(named, tmp_path / "out", workers=1)
    assert (summary.extracted, len(summary.failures)) == (2, 1)
    assert "shorten it" in summary.failures[0]
    assert {path.stem for path in (tmp_path / "out" / "masks").iterdir()} == {"a", longest}
    again = extract_folder(named, tmp_path / "out", workers=1)
    assert (again.cached, len(again.failures)) == (2, 1)


def test_extract_folder__keeps_what_is_done_when_interrupted(records, tmp_path):
    calls = []

    def stop() -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="2 of 3 frames"):
        extract_folder(records, tmp_path / "out", workers=1, progress=stop)
    summary = extract_folder(records, tmp_path / "out", workers=1)
    assert (summary.extracted, summary.cached) == (1, 2)


def test_extract_folder__names_a_dead_worker(records, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "_process", _die)
    with pytest.raises(DataError, match="fewer workers"):
        extract_folder(records, tmp_path / "out", workers=2)


def _die(*_: object) -> None:
    os._exit(3)


def test_cache_key__depends_on_pixels_and_method(monkeypatch):
    image = frame(0).astype(np.float32) / 255
    keys = {cache_key(image, "default"), cache_key(image, "reference"), cache_key(image[:, ::-1], "default")}
    keys.add(cache_key(image.reshape(80, 64), "default"))
    monkeypatch.setattr(extraction, "METHOD_VERSION", -1)
    keys.add(cache_key(image, "default"))
    assert len(keys) == 5


def test_vessel_store__reads_masks_back(records, tmp_path):
    extract_folder(records, tmp_path / "out", workers=1)
    store = VesselStore(tmp_path / "out")
    assert store.method == "default"
    assert records[2] in store
    assert np.array_equal(store.load(records[2]), extract_vessels(frame(2)))


def test_vessel_store__names_the_command_where_a_mask_is_missing(records, tmp_path):
    extract_folder(records[:1], tmp_path / "out", workers=1)
    store = VesselStore(tmp_path / "out")
    assert records[1] not in store
    with pytest.raises(DataError, match="vasomim extract"):
        store.load(records[1])


def test_vessel_store__refuses_a_folder_without_extraction(tmp_path):
    with pytest.raises(MisuseError, match="vasomim extract"):
        VesselStore(tmp_path)


TENSORS = "cpu:0"
"""The way of a GPU, on the CPU."""


@pytest.mark.parametrize("method", ["default", "reference"])
@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_extract_folder__in_batches_of_tensors_writes_the_same(records, tmp_path, method, batch_size):
    done = []
    arguments = {"vesselness": True, "progress": lambda: done.append(1), "device": TENSORS, "batch_size": batch_size}
    summary = extract_folder(records, tmp_path / "out", method, 1, **arguments)
    extract_folder(records, tmp_path / "alone", method, 1, vesselness=True)
    assert (summary.extracted, summary.cached, summary.failed, len(done)) == (3, 0, 0, 3)
    for record in records:
        found, expected = (read_mask(mask_path(tmp_path / name, record.id)) for name in ("out", "alone"))
        assert (found != expected).mean() <= (0 if method == "reference" else 1e-3)
        assert (tmp_path / "out" / "vesselness" / f"{record.id}.png").is_file()


def test_extract_folder__in_batches_keeps_what_is_current_and_reports_what_is_broken(records, tmp_path):
    out = tmp_path / "out"
    extract_folder(records, out, "reference", workers=1)
    before = stamps(out)
    cv2.imwrite(str(records[1].path), frame(9))
    records[2].path.write_bytes(b"no picture")
    summary = extract_folder(records, out, "reference", workers=1, device=TENSORS)
    assert (summary.extracted, summary.cached, summary.failed) == (1, 1, 1)
    assert str(records[2].path) in summary.failures[0]
    after = stamps(out)
    assert after["a.png"] == before["a.png"]
    assert after["b.png"] != before["b.png"]
    assert "c.png" not in after


def test_extract_folder__names_the_setting_when_the_device_runs_out_of_memory(records, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(extraction, "extract_vessels_on", full)
    with pytest.raises(DataError, match="lower --batch-size"):
        extract_folder(records, tmp_path / "out", workers=1, device=TENSORS)


def test_extract_folder__goes_on_where_a_kill_left_half_a_file(records, tmp_path):
    extract_folder(records, tmp_path / "whole", workers=1)
    out = tmp_path / "out"
    out.mkdir()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (out / f".{0:016x}.{dead.pid}").write_text("{")  # killed within its very first file
    extract_folder(records, out, workers=1)
    (out / "masks" / f".{1:016x}.{dead.pid}").write_text("half")
    extract_folder(records, out, workers=1)
    assert sorted(path.name for path in out.rglob("*")) == sorted(path.name for path in (tmp_path / "whole").rglob("*"))
