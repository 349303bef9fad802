"""Making packs: whole or absent, the same bytes however they came about, and nothing that names a patient's folder."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_tools import grey, memory, save

from killed_tools import kill_at
from vasomim.data import packing
from vasomim.data.augment import WholeFrame, resize_frame
from vasomim.data.extraction import VesselStore, extract_folder
from vasomim.data.open import open_frames, open_labelled
from vasomim.data.packed import PackDataset, PackSettings
from vasomim.data.packing import pack_frames, verify_pack
from vasomim.data.samples import subset, with_vessels
from vasomim.errors import DataError, Interrupted, MisuseError, WriteError
from vasomim.files import locked, whole_file
from vasomim.vessels import METHOD_VERSION, extract_vessels

PLAIN = PackSettings()


def bow(seed: int) -> np.ndarray:
    """A dark bow on noise, uint8 (64, 80)."""
    y, x = np.mgrid[:64, :80]
    line = np.exp(-0.5 * ((y - 20 - 0.008 * (x - 10 - seed % 7) ** 2) / 2.5) ** 2)
    noise = np.random.default_rng(seed).normal(0, 3, (64, 80))
    return np.clip(170 - 80 * line + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Forty frames, three parts."""
    for index in range(40):
        save(tmp_path / "Frau Müller" / f"{index}.png", bow(index))
    return tmp_path / "Frau Müller"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_pack_frames__writes_parts_and_a_head(frames: Path, tmp_path: Path) -> None:
    done: list[int] = []
    summary = pack_frames(open_frames([frames]), tmp_path / "pack", PLAIN, workers=1, progress=done.append)
    assert (summary.packed, summary.kept, summary.left_out) == (40, 0, ())
    assert done == [16, 16, 8]
    names = [f"part_{k:05d}.{kind}" for k in range(3) for kind in ("bin", "json")]
    assert sorted(contents(tmp_path / "pack")) == ["pack.json", *names]
    assert summary.num_bytes == sum(path.stat().st_size for path in (tmp_path / "pack").glob("*.bin"))


def test_pack_frames__index_holds_no_path(frames: Path, tmp_path: Path) -> None:
    (frames / "7.png").write_bytes(b"no picture")
    summary = pack_frames(open_frames([frames]), tmp_path / "pack", PLAIN, workers=1)
    assert len(summary.left_out) == 1
    for name, content in contents(tmp_path / "pack").items():
        for private in (str(tmp_path), "Müller", "M\\u00fcller"):
            assert private.encode() not in content, name


def test_pack_frames__leaves_out_and_reports_what_cannot_be_used(frames: Path, tmp_path: Path) -> None:
    (frames / "7.png").write_bytes(b"no picture")
    save(frames / "30.png", np.full((64, 80), 9, np.uint8))
    dataset = open_frames([frames])
    settings = PackSettings(vessels="default 4")
    summary = pack_frames(dataset, tmp_path / "pack", settings, "default", workers=1)
    assert summary.packed == 38
    assert summary.left_out[0].startswith("7: cannot decode")
    assert summary.left_out[1] == "30: every pixel has the same value; there is no vessel to extract"
    packed = PackDataset(tmp_path / "pack")
    assert [record.id for record in packed.records] == [str(k) for k in range(40) if k not in (7, 30)]
    np.testing.assert_array_equal(packed[29].image, dataset[31].image)
    again = pack_frames(dataset, tmp_path / "pack", settings, "default", workers=1)
    assert again.kept == 38
    assert again.left_out == ("7: left out by an earlier call", "30: left out by an earlier call")


def test_pack_frames__nothing_usable_or_nothing_at_all(tmp_path: Path) -> None:
    for index in range(3):
        save(tmp_path / "frames" / f"{index}.png", grey()).write_bytes(b"no picture")
    with pytest.raises(DataError, match="none of 3 frames can be packed: 0: cannot decode"):
        pack_frames(open_frames([tmp_path / "frames"]), tmp_path / "pack", PLAIN, workers=1)
    assert not (tmp_path / "pack").exists()
    with pytest.raises(MisuseError, match="got no frame"):
        pack_frames(memory(0), tmp_path / "pack", PLAIN)


def test_pack_frames__extracted_vessels(frames: Path, tmp_path: Path) -> None:
    dataset = open_frames([frames])
    dataset = subset(dataset, range(20))
    extract_folder(dataset.records, tmp_path / "vessels", workers=1)
    stored = with_vessels(dataset, VesselStore(tmp_path / "vessels"))
    settings = PackSettings(vessels="default 4")
    pack_frames(dataset, tmp_path / "extracted", settings, "default", workers=1)
    pack_frames(stored, tmp_path / "stored", settings, workers=1)
    assert contents(tmp_path / "extracted") == contents(tmp_path / "stored")
    packed = PackDataset(tmp_path / "stored")
    for index in (0, 19):
        np.testing.assert_array_equal(packed[index].vessels, extract_vessels(dataset[index].image))
    (tmp_path / "vessels" / "masks" / "5.png").unlink()
    lacking = pack_frames(stored, tmp_path / "lacking", settings, workers=1)
    assert lacking.left_out[0].startswith("5: no extracted vessels at")
    with pytest.raises(DataError, match="the frame has no extracted vessels"):
        pack_frames(dataset, tmp_path / "none", settings, workers=1)


def test_pack_frames__resized_by_the_rules_of_the_crops(masked_folder: Path, tmp_path: Path) -> None:
    dataset = open_labelled([masked_folder])
    for size in (16, 48):
        settings = PackSettings(size=size, vessels="reference 4", labels="arcade-official")
        out = tmp_path / str(size)
        pack_frames(dataset, out, settings, "reference", workers=1)
        packed = PackDataset(out, labels=True)
        for index in range(len(dataset)):
            sample = dataset[index]
            assert packed[index].image.shape == (size, size)
            np.testing.assert_allclose(packed[index].image, resize_frame(sample.image, size), atol=0.5 / 255 + 1e-6)
            whole = WholeFrame(size)(type(sample)(sample.record, sample.image, mask=sample.mask))
            np.testing.assert_array_equal(packed[index].mask, whole["mask"].numpy() > 0.5)
            assert packed[index].vessels.shape == (size, size)


def test_pack_frames__bits(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 1024, (24, 32), np.uint16)
    save(tmp_path / "frames" / "deep.png", deep)
    save(tmp_path / "frames" / "plain.png", grey())
    dataset = open_frames([tmp_path / "frames"])
    for bits, kinds in (("auto", [16, 8]), (8, [8, 8]), (16, [16, 16])):
        out = tmp_path / str(bits)
        pack_frames(dataset, out, PackSettings(bits=bits), workers=1)
        packed = PackDataset(out)
        assert packed.shapes()[:, 2].tolist() == kinds
        for index, tolerance in ((0, 0 if bits != 8 else 0.5 / 255 + 1e-6), (1, 0)):
            np.testing.assert_allclose(packed[index].image, dataset[index].image, atol=tolerance, rtol=0)
    fine = tmp_path / "fine"
    pack_frames(dataset, fine, PackSettings(bits=16, size=20), workers=1)
    for index in range(2):
        expected = resize_frame(dataset[index].image, 20)
        np.testing.assert_allclose(PackDataset(fine)[index].image, expected, atol=0.5 / 65535 + 1e-7)


@pytest.mark.parametrize(("codec", "quality"), [("png", None), ("webp", None), ("webp", 90), ("jpeg", 95)])
def test_pack_frames__packed_for_transport_and_unpacked(frames: Path, tmp_path: Path, codec: str, quality: int) -> None:
    dataset = subset(open_frames([frames]), range(12))
    settings = PackSettings(codec=codec, quality=quality, vessels="reference 4")
    sent = pack_frames(dataset, tmp_path / "sent", settings, "reference", workers=1)
    raw = PackSettings(vessels="reference 4")
    there = pack_frames(PackDataset(tmp_path / "sent"), tmp_path / "there", raw, workers=1)
    assert sent.num_bytes < there.num_bytes
    first, second = PackDataset(tmp_path / "sent"), PackDataset(tmp_path / "there")
    assert first.settings.quality == quality
    assert first.records[3].digest == second.records[3].digest
    for index in (0, 7, 11):
        np.testing.assert_array_equal(first[index].image, second[index].image)
        np.testing.assert_array_equal(first[index].vessels, second[index].vessels)
        error = np.abs(first[index].image - dataset[index].image).mean()
        assert (error == 0) == (quality is None)
        assert error < 0.02
    if quality is None:  # lossless transport: as if packed there
        pack_frames(dataset, tmp_path / "direct", raw, "reference", workers=1)
        direct = contents(tmp_path / "direct")
        assert {k: v for k, v in contents(tmp_path / "there").items() if k != "pack.json"} == {
            k: v for k, v in direct.items() if k != "pack.json"
        }


PLACE = os.pathsep.join(sys.path)


def test_pack_frames__killed_and_run_again_gives_identical_bytes(tmp_path: Path) -> None:
    for index in range(70):
        save(tmp_path / "frames" / f"{index}.png", cv2.resize(bow(index), (320, 256)))
    command = ["prepare", str(tmp_path / "frames"), "--out", str(tmp_path / "pack"), "--extraction", "default"]
    unfinished = tmp_path / "pack.unfinished"
    # Two parts are whole, and half of the third is written.
    kill_at("vasomim.data.packing:_packed", 40, tmp_path / "standing", [*command, "--workers", "1"])
    assert not (tmp_path / "pack").exists()
    with pytest.raises(MisuseError, match="is an unfinished pack"):
        open_frames([unfinished])
    dataset, settings = open_frames([tmp_path / "frames"]), PackSettings(vessels=f"default {METHOD_VERSION}")
    summary = pack_frames(dataset, tmp_path / "pack", settings, "default", workers=1)
    assert (summary.kept, summary.packed) == (32, 70)
    assert not unfinished.exists()
    pack_frames(dataset, tmp_path / "whole", settings, "default", workers=1)
    assert contents(tmp_path / "pack") == contents(tmp_path / "whole")


def test_pack_frames__goes_on_after_ctrl_c_and_mends_damaged_parts(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, out = open_frames([frames]), tmp_path / "pack"

    def stop(_: int) -> None:
        if (tmp_path / "pack.unfinished" / "part_00001.json").exists():
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="stopped after 32 of 40 frames; the same command goes on"):
        pack_frames(dataset, out, PLAIN, workers=1, progress=stop)
    left = tmp_path / "pack.unfinished"
    (left / "part_00000.bin").write_bytes(b"cut")
    (left / ".part_00002.bin.123").write_bytes(b"half a part")
    summary = pack_frames(dataset, out, PLAIN, workers=1)
    assert summary.kept == 16
    pack_frames(dataset, tmp_path / "whole", PLAIN, workers=1)
    assert contents(out) == contents(tmp_path / "whole")
    monkeypatch.setattr(packing, "_packed", None)  # nothing is packed again
    assert pack_frames(dataset, out, PLAIN, workers=1).kept == 40


def test_pack_frames__refuses_another_pack(frames: Path, tmp_path: Path) -> None:
    dataset, out = open_frames([frames]), tmp_path / "pack"
    pack_frames(dataset, out, PLAIN, workers=1)
    with pytest.raises(MisuseError, match=r"pack holds another pack \(size=None, not 32\); choose another --out"):
        pack_frames(dataset, out, PackSettings(size=32), workers=1)
    (frames / "3.png").unlink()
    with pytest.raises(MisuseError, match="40 frames, not these 39"):
        pack_frames(open_frames([frames]), out, PLAIN, workers=1)
    save(frames / "3.png", grey(5, 64, 80))
    with pytest.raises(MisuseError, match="40 other frames"):
        pack_frames(open_frames([frames]), out, PLAIN, workers=1)


def test_pack_frames__refuses_folders_that_hold_something(frames: Path, tmp_path: Path) -> None:
    dataset = open_frames([frames])
    for name in ("pack", "other.unfinished"):
        save(tmp_path / name / "mine.png", grey())
    with pytest.raises(MisuseError, match="is not empty and holds no pack"):
        pack_frames(dataset, tmp_path / "pack", PLAIN, workers=1)
    with pytest.raises(MisuseError, match="holds no pack in the making"):
        pack_frames(dataset, tmp_path / "other", PLAIN, workers=1)
    with pytest.raises(MisuseError, match="is a file"):
        pack_frames(dataset, tmp_path / "pack" / "mine.png", PLAIN, workers=1)
    (tmp_path / "empty").mkdir()
    assert pack_frames(dataset, tmp_path / "empty", PLAIN, workers=1).packed == 40


def test_pack_frames__one_writer_at_a_time(frames: Path, tmp_path: Path) -> None:
    dataset, out = open_frames([frames]), tmp_path / "pack"
    script = "import sys, pathlib; from vasomim.files import locked\nwith locked(pathlib.Path(sys.argv[1]), 'busy'): 0"
    told: list[str] = []

    def meanwhile(_: int) -> None:
        command = [sys.executable, "-c", script, str(tmp_path / "pack.unfinished" / "pack_plan.json")]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": PLACE}, capture_output=True, text=True)
        told.append(done.stderr)

    pack_frames(dataset, out, PLAIN, workers=1, progress=meanwhile)
    assert len(told) == 3
    assert all("MisuseError: another process is busy" in error for error in told)
    assert len(PackDataset(out)) == 40


def test_locked__notices_that_the_file_is_gone(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="another process is at work"), locked(tmp_path / "plan", "at work"):
        pass


def test_pack_frames__full_disk(frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = os.fsync

    def full(handle: int) -> None:
        if (tmp_path / "pack.unfinished" / "part_00000.json").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        synced(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match=r"cannot write .*part_00001\.bin: No space left"):
        pack_frames(open_frames([frames]), tmp_path / "pack", PLAIN, workers=1)
    assert not (tmp_path / "pack").exists()
    assert not list((tmp_path / "pack.unfinished").glob(".*"))
    monkeypatch.undo()
    assert pack_frames(open_frames([frames]), tmp_path / "pack", PLAIN, workers=1).kept == 16
    assert verify_pack(tmp_path / "pack", 1) == []


def test_whole_file__leaves_nothing_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(TypeError), whole_file(tmp_path / "f") as file:
        file.writelines([b"half", "no bytes"])  # type: ignore[list-item]
    assert list(tmp_path.iterdir()) == []


def test_pack_frames__many_frames_few_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MOST_PARTS", 2)
    monkeypatch.setattr(packing, "_source", lambda _: "")
    dataset = memory(50)
    pack_frames(dataset, tmp_path / "pack", PLAIN, workers=1)
    head = json.loads((tmp_path / "pack" / "pack.json").read_text())
    assert [name for name, _ in head["parts"]] == ["part_00000", "part_00001"]
    assert len(PackDataset(tmp_path / "pack")) == 50


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "maximum recursion"),
        (b'{"vasomim_pack": 1, "settings": {}, "parts": [["../a", "b"]]}', "it names parts outside"),
        (b'{"vasomim_pack": 1, "settings": {}, "parts": [], "frames": 1e999}', "cannot convert float infinity"),
    ],
)
def test_pack_dataset__a_head_made_to_do_harm(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "pack.json").write_bytes(content)
    with pytest.raises(DataError, match=rf"cannot read .*pack\.json \({message}"):
        PackDataset(tmp_path / "pack")
