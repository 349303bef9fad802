"""Broken and hostile files: one line that says what is wrong, little memory, and nobody named."""

from __future__ import annotations

import os
import re
import signal
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_tools import PATIENT, SECRETS, dataset_of, make, overwrite, ramp, write
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from identity_tools import told
from vasomim.data.dicom import open_run
from vasomim.data.dicom.isolation import child_pid
from vasomim.data.dicom.parsing import NoFramesError
from vasomim.errors import DataError

COMPRESSED = [RLELossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless]


def refusal(path: Path, act: Callable[[Path], Any] = open_run) -> str:
    """The one line with which a file is refused, after little memory, without anybody's name."""
    tracemalloc.start()
    with pytest.raises(DataError) as caught:
        act(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    text = str(caught.value)
    assert peak < 40 << 20, f"{peak >> 20} MiB for a refusal"
    assert "\n" not in text
    assert str(path) in text
    assert told(text, SECRETS) == []
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return text


def first_frame(path: Path) -> Any:
    """Open and decode."""
    return open_run(path).frame(0)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"Rows": 65535, "Columns": 65535}, r"65535 x 65535 pixels"),
        ({"Rows": 5000, "Columns": 5000}, r"truncated: 2 frame\(s\) need"),
        ({"NumberOfFrames": 2**31 - 1}, r"NumberOfFrames is 2147483647"),
        ({"NumberOfFrames": 99_000}, r"truncated: 99000 frame\(s\) need"),
        ({"NumberOfFrames": 0}, r"NumberOfFrames is 0"),
        ({"NumberOfFrames": -3}, r"NumberOfFrames is -3"),
        ({"Rows": 0}, r"20 x 0 pixels"),
        ({"Rows": None}, r"Rows is missing"),
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, r"32 bits stored in 32"),
        ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, r"1 bits stored in 1"),
        ({"BitsStored": 12, "HighBit": 11}, r"12 bits stored in 8"),
        ({"HighBit": 3}, r"high bit 3"),
        ({"SamplesPerPixel": 3}, r"3 sample\(s\) a pixel of photometric interpretation MONOCHROME2"),
        ({"PhotometricInterpretation": "CMYK"}, r"photometric interpretation CMYK"),
        ({"PhotometricInterpretation": None}, r"photometric interpretation unknown"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, r"palette is damaged or missing"),
    ],
)
def test_open_run__what_the_header_claims(tmp_path: Path, elements: dict[str, Any], message: str) -> None:
    assert re.search(message, refusal(make(tmp_path / "run", ramp(2), **PATIENT, **elements)))


def test_open_run__compressed_and_fewer_frames_than_claimed(tmp_path: Path) -> None:
    for syntax in COMPRESSED:
        dataset = pydicom.dcmread(make(tmp_path / "run", ramp(2), syntax, **PATIENT))
        dataset.NumberOfFrames = 90_000
        dataset.save_as(tmp_path / "more")
        assert "90000 frames are claimed, 2 are there" in refusal(tmp_path / "more")


def test_open_run__truncated_everywhere(tmp_path: Path) -> None:
    """Cut anywhere, a file is refused when it is opened or when the frame is read; never decoded in part."""
    for syntax in (ExplicitVRLittleEndian, *COMPRESSED):
        path = make(tmp_path / "run", ramp(2), syntax, **PATIENT)
        content = path.read_bytes()
        for length in np.linspace(140, len(content) - 12, 10).astype(int):
            path.write_bytes(content[:length])
            refusal(path, lambda path: [*open_run(path).frames()])


def test_open_run__no_pixels(tmp_path: Path) -> None:
    report = dataset_of(ramp(1), SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Rows=None, **PATIENT)
    del report.PixelData
    report.save_as(tmp_path / "report", enforce_file_format=True)
    assert "no pixels" in refusal(tmp_path / "report")
    with pytest.raises(NoFramesError):
        open_run(tmp_path / "report")
    image = dataset_of(ramp(1), **PATIENT)
    del image.PixelData
    image.save_as(tmp_path / "image", enforce_file_format=True)
    assert "its pixels are missing" in refusal(tmp_path / "image")
    dataset = dataset_of(ramp(1), SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4")
    with pytest.raises(NoFramesError, match="is a segmentation"):
        open_run(write(tmp_path / "seg", dataset))
    dataset = dataset_of(ramp(1))
    del dataset.PixelData
    dataset.FloatPixelData = b"\0" * 480 * 4
    dataset.save_as(tmp_path / "floats", enforce_file_format=True)
    assert "floating point" in refusal(tmp_path / "floats")


@pytest.mark.parametrize(
    ("syntax", "message"),
    [
        ("1.2.840.10008.1.2.4.102", "transfer syntax 1.2.840.10008.1.2.4.102 is not supported"),
        ("1.2.3.4", "transfer syntax 1.2.3.4 is not supported"),
        (DeflatedExplicitVRLittleEndian, "deflated as a whole"),
        (JPEGBaseline8Bit, "compressed pixels are damaged"),
    ],
)
def test_open_run__encodings_we_do_not_read(tmp_path: Path, syntax: str, message: str) -> None:
    path = make(tmp_path / "run", ramp(2), **PATIENT)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.UID(syntax)
    dataset["PixelData"].is_undefined_length = False
    if syntax == DeflatedExplicitVRLittleEndian:
        dataset.save_as(path)
    else:
        content = path.read_bytes()
        old, new = str(ExplicitVRLittleEndian).encode() + b"\0", str(syntax).encode()
        new += b"\0" * (len(new) % 2)
        at = content.index(old)
        length = struct.unpack("<L", content[140:144])[0] + len(new) - len(old)
        head = content[: at - 2] + struct.pack("<H", len(new)) + new
        path.write_bytes(head[:140] + struct.pack("<L", length) + head[144:] + content[at + len(old) :])
    assert message in refusal(path)


def test_open_run__native_pixels_of_undefined_length(tmp_path: Path) -> None:
    path = make(tmp_path / "run", ramp(2))
    content = path.read_bytes()
    at = content.index(struct.pack("<HH", 0x7FE0, 0x10)) + 8
    path.write_bytes(content[:at] + b"\xff" * 4 + content[at + 4 :])
    assert "its transfer syntax says they are not" in refusal(path)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + b"\x10\0\x20\0LO\xff\xff" + b"A" * 50]
)
def test_open_run__hardly_a_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run").write_bytes(content)
    refusal(tmp_path / "run")


def test_open_run__any_damage_is_a_line_or_a_picture(tmp_path: Path) -> None:
    """Random bytes anywhere: a frame of the right size, or a refusal; nothing else is ever raised, nothing crashes."""
    rng = np.random.default_rng(0)
    for syntax in (ExplicitVRLittleEndian, *COMPRESSED):
        content = make(tmp_path / "run", ramp(2), syntax, **PATIENT).read_bytes()
        for _ in range(6):
            damaged = bytearray(content)
            for at in rng.integers(128, len(content), 4):
                damaged[at] = rng.integers(256)
            (tmp_path / "damaged").write_bytes(damaged)
            lines = []
            try:
                assert all(np.isfinite(image).all() for image in open_run(tmp_path / "damaged").frames())
            except DataError as error:
                lines.append(str(error))
            assert told("".join(lines), SECRETS) == []


def test_frame__a_picture_larger_than_its_file_says(tmp_path: Path) -> None:
    for syntax in (JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless):
        path = make(tmp_path / "run", ramp(1, rows=64, columns=64), syntax)
        dataset = pydicom.dcmread(path)
        dataset.Rows = dataset.Columns = 32
        dataset.save_as(path)
        assert "a frame is 64 x 64 with 1 sample(s) a pixel, its file says 32 x 32" in refusal(path, first_frame)


def test_frame__a_few_bytes_that_stand_for_gigabytes(tmp_path: Path) -> None:
    bomb = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\x00" * 400_000
    dataset = dataset_of(ramp(1, rows=1000, columns=1000))
    dataset.PixelData = encapsulate([bomb])
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "run", enforce_file_format=True)
    run = open_run(tmp_path / "run")
    tracemalloc.start()
    assert not run.stored(0).any()
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()


def test_frame__far_more_bytes_than_a_frame_can_need(tmp_path: Path) -> None:
    dataset = dataset_of(ramp(1))
    dataset.PixelData = encapsulate([b"\0" * 2_000_000])
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "run", enforce_file_format=True)
    assert "twice its uncompressed size" in refusal(tmp_path / "run", first_frame)


def test_header__larger_than_any_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vasomim.data.dicom.parsing.MAX_HEADER_BYTES", 1 << 16)
    dataset = dataset_of(ramp(1))
    dataset.private_block(0x0029, "MAKER", create=True).add_new(0x10, "OB", b"\0" * 100_000)
    assert "its header is larger than" in refusal(write(tmp_path / "run", dataset))


def test_header__large_private_values_stay_in_the_file(tmp_path: Path) -> None:
    dataset = dataset_of(ramp(1))
    block = dataset.private_block(0x0029, "MAKER", create=True)
    block.add_new(0x10, "OB", b"\0" * (8 << 20))
    path = write(tmp_path / "run", dataset)
    open_run(path)
    tracemalloc.start()
    open_run(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_child__that_is_gone_is_replaced(tmp_path: Path) -> None:
    path = make(tmp_path / "run", ramp(2, bits=12), JPEGLosslessSV1, bits=12)
    run = open_run(path)
    run.frame(0)
    first = child_pid()
    assert first is not None
    os.kill(first, signal.SIGKILL)
    np.testing.assert_array_equal(run.stored(1), ramp(2, bits=12)[1])
    assert child_pid() not in (None, first)


@pytest.mark.slow
def test_child__broken_down_by_damaged_bytes_is_replaced(tmp_path: Path) -> None:
    """What ends GDCM ends a child of ours; the next frame has another one."""
    path = make(tmp_path / "run", ramp(1, rows=48, columns=40, bits=12), JPEGLSLossless, bits=12)
    run = open_run(path)
    run.frame(0)
    first = child_pid()
    ((at, length),) = run._extents[0]
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(400):
        damaged = bytearray(content)
        for position in rng.integers(at, at + length, 8):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            run.stored(0)
        except DataError as error:
            if "broke down" in str(error):
                break
    else:
        pytest.skip("this version of GDCM survived 400 damaged frames")
    path.write_bytes(content)
    np.testing.assert_array_equal(run.stored(0), ramp(1, rows=48, columns=40, bits=12)[0])
    assert first is not None
    assert child_pid() not in (None, first)


def test_pydicom__says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: Any) -> None:
    """Values that pydicom would quote in a warning: a date that is none, a number that is none, a bad UID."""
    path = make(tmp_path / "run", ramp(2), JPEGLosslessSV1, FrameTime="4242", StudyDate="20200101", **PATIENT)
    overwrite(path, b"4242", b"4:42")
    overwrite(path, b"20200101", b"Tresor01")
    uid = str(pydicom.dcmread(path, specific_tags=["SeriesInstanceUID"]).SeriesInstanceUID).encode()
    padded = uid + b"\0" * (len(uid) % 2)
    overwrite(path, padded, b"Tresor".ljust(len(padded), b"x"))
    run = open_run(path)
    assert run.facts.frame_times_ms is None
    run.frame(1)
    out, err = capfd.readouterr()
    assert not caplog.records
    assert not out + err
