"""Pixels of DICOM runs: equal to what was written, in every encoding, frame by frame."""

from __future__ import annotations

import struct
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_tools import LOSSLESS, NATIVE, dataset_of, make, plain, ramp, with_fragments, write
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from vasomim.data.dicom import is_dicom, open_run
from vasomim.data.dicom import run as dicom_run
from vasomim.data.dicom.run import cached_run
from vasomim.data.frames import read_frame
from vasomim.errors import DataError, MisuseError


@pytest.mark.parametrize("syntax", [*NATIVE, *LOSSLESS], ids=lambda uid: uid.keyword)
@pytest.mark.parametrize(
    ("bits", "signed"), [(8, False), (10, False), (12, False), (16, False), (8, True), (12, True), (16, True)]
)
def test_stored__equals_what_was_written(tmp_path: Path, syntax: str, bits: int, signed: bool) -> None:
    pixels = ramp(3, bits=bits, signed=signed)
    run = open_run(make(tmp_path / "run", pixels, syntax, bits=bits))
    assert len(run) == 3
    for index in (2, 0, 1):
        np.testing.assert_array_equal(run.stored(index), pixels[index])


def test_stored__an_odd_number_of_pixels(tmp_path: Path) -> None:
    pixels = ramp(3, rows=5, columns=7)
    # Not JPEG 2000: GDCM, which writes the file, overruns its memory at such sizes.
    for syntax in (ExplicitVRLittleEndian, RLELossless, JPEGLosslessSV1):
        run = open_run(make(tmp_path / syntax, pixels, syntax))
        np.testing.assert_array_equal([run.stored(k) for k in range(3)], pixels)


def test_stored__big_endian_words_of_bytes(tmp_path: Path) -> None:
    pixels = ramp(2, rows=4, columns=6)
    dataset = dataset_of(pixels)
    dataset.PixelData = pixels.view("<u2").astype(">u2").tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    pydicom.dcmwrite(tmp_path / "run", plain(dataset), little_endian=False, implicit_vr=False, enforce_file_format=True)
    run = open_run(tmp_path / "run")
    np.testing.assert_array_equal([run.stored(0), run.stored(1)], pixels)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_stored__ignores_bits_that_are_not_stored(tmp_path: Path, syntax: str) -> None:
    pixels = ramp(2, bits=10)
    dirty = (pixels << 4) | np.uint16(0xC00F)
    run = open_run(make(tmp_path / "run", dirty, syntax, BitsStored=10, HighBit=13))
    np.testing.assert_array_equal(run.stored(1), pixels[1])


def test_stored__jpeg_baseline_is_close(tmp_path: Path) -> None:
    y, x = np.mgrid[:32, :40]
    pixels = np.stack([np.uint8(100 + 50 * np.sin(x / 9 + k) + 40 * np.cos(y / 7)) for k in range(3)])
    run = open_run(make(tmp_path / "run", pixels, JPEGBaseline8Bit))
    for k in range(3):
        assert np.abs(run.stored(k).astype(int) - pixels[k]).max() < 16


@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEG2000Lossless, JPEGLSLossless])
def test_stored__frames_in_several_fragments(tmp_path: Path, syntax: str, table: bool) -> None:
    pixels = ramp(4, bits=12)
    run = open_run(with_fragments(make(tmp_path / "run", pixels, syntax, bits=12), 3, table=table))
    np.testing.assert_array_equal([run.stored(k) for k in range(4)], pixels)


def test_stored__extended_offset_table_and_one_frame_in_fragments(tmp_path: Path) -> None:
    pixels = ramp(3, bits=12)
    dataset = pydicom.dcmread(make(tmp_path / "run", pixels, RLELossless, bits=12))
    frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=3))
    dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(frames)
    dataset.save_as(tmp_path / "extended")
    np.testing.assert_array_equal(open_run(tmp_path / "extended").stored(2), pixels[2])
    del dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
    dataset.NumberOfFrames = 1
    dataset.PixelData = encapsulate(frames[:1], fragments_per_frame=4, has_bot=False)
    dataset.save_as(tmp_path / "single")
    np.testing.assert_array_equal(open_run(tmp_path / "single").stored(0), pixels[0])


def test_rle__equals_pydicoms_decoder(tmp_path: Path) -> None:
    runs = np.repeat(np.random.default_rng(0).integers(0, 4096, 60), 40).astype(np.uint16).reshape(2, 40, 30)
    path = make(tmp_path / "run", runs, RLELossless, bits=12)
    np.testing.assert_array_equal([*open_run(path).frames()][1].shape, (40, 30))
    np.testing.assert_array_equal([open_run(path).stored(k) for k in range(2)], pydicom.dcmread(path).pixel_array)


def test_colours__become_luminance(tmp_path: Path) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (2, 16, 20, 3), np.uint8)
    expected = (rgb @ np.array([0.299, 0.587, 0.114])) / 255
    for name, syntax, planar in (
        ("a", ExplicitVRLittleEndian, 0),
        ("b", ExplicitVRLittleEndian, 1),
        ("c", RLELossless, 0),
    ):
        stored = np.ascontiguousarray(np.moveaxis(rgb, -1, 1)) if planar else rgb
        dataset = dataset_of(rgb, PlanarConfiguration=planar)
        dataset.PixelData = stored.tobytes()
        np.testing.assert_allclose([*open_run(write(tmp_path / name, dataset, syntax)).frames()], expected, atol=2e-3)


def test_colours__ybr_full_and_subsampled(tmp_path: Path) -> None:
    luma = np.random.default_rng(2).integers(16, 235, (1, 8, 10), np.uint8)
    full = np.stack([luma, np.full_like(luma, 128), np.full_like(luma, 128)], -1)
    run = open_run(make(tmp_path / "full", full, PhotometricInterpretation="YBR_FULL"))
    np.testing.assert_allclose(run.frame(0), luma[0] / 255, atol=3e-3)
    half = np.full((1, 8, 5, 4), 128, np.uint8)
    half[..., 0], half[..., 1] = luma[..., 0::2], luma[..., 1::2]
    dataset = dataset_of(full, PhotometricInterpretation="YBR_FULL_422")
    dataset.PixelData = half.tobytes()
    run = open_run(write(tmp_path / "half", dataset))
    np.testing.assert_allclose(run.frame(0), luma[0] / 255, atol=3e-3)


def test_palette__is_looked_up(tmp_path: Path) -> None:
    pixels = ramp(1, bits=8)
    dataset = dataset_of(pixels, PhotometricInterpretation="PALETTE COLOR")
    red, green, blue = (np.random.default_rng(k).integers(0, 65536, 256).astype("<u2") for k in range(3))
    for name, entries in (("Red", red), ("Green", green), ("Blue", blue)):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 16])
        setattr(dataset, f"{name}PaletteColorLookupTableData", entries.tobytes())
    expected = (0.299 * red + 0.587 * green + 0.114 * blue)[pixels[0]] / 65535
    np.testing.assert_allclose(open_run(write(tmp_path / "run", dataset)).frame(0), expected, atol=1e-5)


def test_frames__memory_does_not_grow_with_the_run(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (60, 128, 128)).astype(np.uint16)
    one = 128 * 128 * 4
    for syntax in (ExplicitVRLittleEndian, JPEGLosslessSV1):
        run = open_run(make(tmp_path / syntax, pixels, syntax, bits=12, WindowCenter=2048, WindowWidth=4096))
        run.frame(0)
        tracemalloc.start()
        for _ in run.frames():
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20 * one < pixels.nbytes


def test_frame__reads_no_byte_of_other_frames(tmp_path: Path) -> None:
    """Everything but the frame asked for is destroyed after opening, and nobody notices."""
    pixels = ramp(5, bits=12)
    path = make(tmp_path / "run", pixels, RLELossless, bits=12)
    run = open_run(path)
    ((at, length),) = run._extents[3]
    content = path.read_bytes()
    path.write_bytes(b"\0" * at + content[at : at + length] + b"\0" * (len(content) - at - length))
    np.testing.assert_array_equal(run.stored(3), pixels[3])
    with pytest.raises(DataError, match="frame 2"):
        run.stored(2)


def test_cached_run__opens_once_until_the_file_changes(tmp_path: Path) -> None:
    path = make(tmp_path / "run", ramp(2))
    run = cached_run(path, "run")
    assert cached_run(path, "run") is run
    make(path, ramp(3))
    assert len(cached_run(path, "run")) == 3


def test_frame__another_thread_may_clear_the_grey_tables(tmp_path: Path) -> None:
    class Cleared(dict):
        def __setitem__(self, key: object, value: object) -> None:
            """As if another thread cleared it right away."""

    run = open_run(make(tmp_path / "a", ramp(2), bits=8))
    expected = run.frame(1)
    run._tables = Cleared()
    np.testing.assert_array_equal(run.frame(1), expected)


def test_frame__measured_grey_scales_are_kept_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_run, "MEASURED_SPANS", 2)
    monkeypatch.setattr(dicom_run, "_measured", OrderedDict())
    for name in "abca":
        open_run(make(tmp_path / name, ramp(2), bits=8)).frame(0)
    assert [key[0].name for key in dicom_run._measured] == ["c", "a"]


def test_is_dicom__by_content(tmp_path: Path) -> None:
    path = make(tmp_path / "any.name", ramp(1))
    content = path.read_bytes()
    start = content.index(struct.pack("<HH", 8, 0x16))
    (tmp_path / "bare").write_bytes(content[start:])
    (tmp_path / "text").write_bytes(b"\x08\x00" + b"text" * 40)
    (tmp_path / "empty").write_bytes(b"")
    assert is_dicom(path)
    assert is_dicom(tmp_path / "bare")
    np.testing.assert_array_equal(open_run(tmp_path / "bare").stored(0), ramp(1)[0])
    assert not any(map(is_dicom, (tmp_path / "text", tmp_path / "empty", tmp_path, tmp_path / "missing")))


def test_read_frame__one_frame_or_a_line_that_says_how(tmp_path: Path) -> None:
    single = make(tmp_path / "single", ramp(1), WindowCenter=128, WindowWidth=256)
    np.testing.assert_allclose(read_frame(single), ramp(1)[0] / 255, atol=1e-6)
    with pytest.raises(DataError, match=r"holds 3 frames.*open_run"):
        read_frame(make(tmp_path / "several", ramp(3)))


def test_open_run__says_that_it_is_no_angiogram(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    open_run(make(tmp_path / "xa", ramp(1)))
    assert not caplog.records
    run = open_run(make(tmp_path / "sc", ramp(1), SOPClassUID=SecondaryCaptureImageStorage))
    assert "not of the XA class" in caplog.text
    assert not run.facts.is_angiogram


@pytest.mark.parametrize("claimed", [1, 2, None])
def test_open_run__says_that_frames_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, claimed: int | None
) -> None:
    run = open_run(make(tmp_path / "run", ramp(5), NumberOfFrames=claimed))
    assert len(run) == (claimed or 1)
    assert run.left_out == 5 - (claimed or 1)
    assert f"{run.left_out} more frame(s) are there and are left out" in caplog.text


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000Lossless, JPEGLSLossless])
def test_open_run__says_that_compressed_frames_are_left_out(tmp_path: Path, syntax: str) -> None:
    path = make(tmp_path / "run", ramp(3), syntax)
    dataset = pydicom.dcmread(path)
    first = open_run(path).stored(0)
    dataset.NumberOfFrames = 1
    dataset.save_as(path)
    run = open_run(path)
    assert run.left_out == 2
    np.testing.assert_array_equal(run.stored(0), first)


def test_open_run__compressed_frames_that_are_left_out_do_not_make_the_first_one_too_large(tmp_path: Path) -> None:
    path = make(tmp_path / "run", ramp(3, rows=256, columns=256), JPEGLSLossless)
    dataset = pydicom.dcmread(path)
    dataset.NumberOfFrames = 1
    dataset.save_as(path)
    np.testing.assert_array_equal(open_run(path).stored(0), ramp(3, rows=256, columns=256)[0])


@pytest.mark.parametrize("rows", [3, 1])
def test_open_run__a_byte_that_makes_pixels_even_is_no_frame(tmp_path: Path, rows: int) -> None:
    path = make(tmp_path / "odd", np.full((1, rows, 1), 7, np.uint8))
    assert path.stat().st_size % 2 == 0
    assert open_run(path).left_out == 0


def test_open_run__a_frame_in_several_fragments_is_one(tmp_path: Path) -> None:
    path = with_fragments(make(tmp_path / "run", ramp(1), JPEGLSLossless), 3, table=True)
    assert open_run(path).left_out == 0


def test_frame__no_such_frame(tmp_path: Path) -> None:
    run = open_run(make(tmp_path / "run", ramp(2)))
    for index in (2, -1):
        with pytest.raises(IndexError):
            run.frame(index)
    with pytest.raises(MisuseError, match="no such file"):
        open_run(tmp_path / "missing")
