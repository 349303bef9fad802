"""Unpacking: honest archives come out whole; hostile ones leave nothing behind, inside or outside of the folder."""

import bz2
import gzip
import io
import lzma
import random
import stat
import tarfile
import zipfile

import pytest

from vasomim.data import unpack as module
from vasomim.data.unpack import unpack
from vasomim.errors import DataError, MisuseError

FILES = {"set/images/1.png": b"one" * 50, "set/masks/1.png": b"", "readme.txt": b"hello"}


def zipped(path, files, **more):
    with zipfile.ZipFile(path, "w", **more) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path, files, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def place(tmp_path):
    """A folder inside a folder, so that what escapes is seen."""
    inner = tmp_path / "inner"
    inner.mkdir()
    yield inner
    assert {path.name for path in tmp_path.iterdir()} <= {"inner", "a.zip", "a.tar", "linked"}


@pytest.mark.parametrize("kind", ["zip", "deflated", "tar", "gz", "bz2", "xz"])
def test_unpack__honest_archives(place, kind):
    if kind in ("zip", "deflated"):
        method = zipfile.ZIP_DEFLATED if kind == "deflated" else zipfile.ZIP_STORED
        archive = zipped(place / "a.bin", FILES, compression=method)
    else:
        archive = tarred(place / "a.bin", FILES, "w" if kind == "tar" else f"w:{kind}")
    seen = []
    assert unpack(archive, place / "out", lambda *step: seen.append(step)) == 3
    assert contents(place / "out") == FILES
    assert seen[-1] == (155, 155)
    assert {path.name for path in place.iterdir()} == {"a.bin", "out"}


OUTSIDE = ["../evil", "a/../../evil", "/tmp/evil", "C:/evil", "c:evil", "..\\evil", "\\\\host\\evil", "a\\..\\..\\evil"]


@pytest.mark.parametrize("make", [zipped, tarred])
@pytest.mark.parametrize("name", OUTSIDE)
def test_unpack__nothing_outside_of_the_folder(place, make, name):
    archive = make(place / "a.bin", {"good": b"1", name: b"2"})
    with pytest.raises(DataError, match="lies outside of the folder; such an archive is not unpacked"):
        unpack(archive, place / "out")
    assert [path.name for path in place.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_unpack__no_links_or_devices_in_tar(place, kind):
    with tarfile.open(place / "a.tar", "w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "../../evil"
        archive.addfile(info)
    with pytest.raises(DataError, match="holds a link or device, 'link'"):
        unpack(place / "a.tar", place / "out")


def test_unpack__no_links_in_zip(place):
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(place / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="holds a link, 'link'"):
        unpack(place / "a.zip", place / "out")


def test_unpack__a_bomb_by_its_claims(place, monkeypatch):
    monkeypatch.setattr(module, "FREE_RATIO", 1000)
    archive = zipped(place / "a.zip", {"zeros": bytes(10**6)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(DataError, match="that is no honest archive"):
        unpack(archive, place / "out")


def test_unpack__too_many_files(place, monkeypatch):
    monkeypatch.setattr(module, "COUNT_LIMIT", 2)
    with pytest.raises(DataError, match="more than 2 files"):
        unpack(zipped(place / "a.zip", FILES), place / "out")


def test_unpack__a_header_that_lies_about_the_size(place):
    archive = zipped(place / "a.zip", {"a": b"x" * 1000}, compression=zipfile.ZIP_DEFLATED)
    content = bytearray(archive.read_bytes())
    for marker, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.index(marker) + offset
        content[at : at + 4] = (10).to_bytes(4, "little")
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be unpacked|larger than it claims"):
        unpack(archive, place / "out")
    assert [path.name for path in place.iterdir()] == ["a.zip"]


def test_unpack__two_files_of_one_name(place):
    with zipfile.ZipFile(place / "a.zip", "w") as archive:
        archive.writestr("a", "1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a", "2")
    with pytest.raises(DataError, match="two files called 'a'"):
        unpack(place / "a.zip", place / "out")


@pytest.mark.parametrize("damage", ["truncated", "bits", "text"])
def test_unpack__damaged_archives(place, damage):
    archive = zipped(place / "a.zip", {"a": random.Random(0).randbytes(1000), "b": b"2"})
    content = bytearray(archive.read_bytes())
    if damage == "truncated":
        content = content[:-40]
    elif damage == "bits":
        content[100] ^= 1
    else:
        content = b"no archive"
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be unpacked|is no zip or tar archive"):
        unpack(archive, place / "out")
    assert [path.name for path in place.iterdir()] == ["a.zip"]


BODIES = {"a": bytes(range(256)) * 40, "b": b"two" * 500}
PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def assert_refused(place, archive, words):
    """`archive` is named in one line, and nothing of it is left."""
    with pytest.raises(DataError, match=words) as caught:
        unpack(archive, place / "out")
    assert "\n" not in str(caught.value)
    assert str(archive) in str(caught.value)
    assert [path.name for path in place.iterdir()] == [archive.name]


@pytest.mark.parametrize(("kind", "from_end"), [("gz", 6), ("bz2", 3), ("xz", 40)])
def test_unpack__checksums_of_compressed_tars(place, kind, from_end):
    archive = tarred(place / "a.bin", BODIES, f"w:{kind}")
    content = bytearray(archive.read_bytes())
    content[-from_end] ^= 1
    archive.write_bytes(content)
    assert_refused(place, archive, r"CRC check failed|Invalid data stream|Corrupt input data")


def test_unpack__stored_bytes_that_flipped_in_gzip(place):
    """Blocks that deflate only stores decode whatever their bytes are: the checksum alone knows."""
    plain = tarred(place / "plain", BODIES).read_bytes()
    (place / "plain").unlink()
    content = bytearray(gzip.compress(plain, 0))
    content[content.index(b"twotwo") + 1] ^= 1
    (place / "a.bin").write_bytes(content)
    assert_refused(place, place / "a.bin", "CRC check failed")


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_unpack__several_streams_in_one_file(place, kind):
    plain = tarred(place / "a.bin", BODIES).read_bytes()
    parts = [PACKERS[kind](piece) for piece in (plain[:3000], plain[3000:])]
    (place / "a.bin").write_bytes(b"".join(parts))
    assert unpack(place / "a.bin", place / "out") == 2
    assert contents(place / "out") == BODIES


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_unpack__the_last_of_several_streams_is_checked(place, kind):
    plain = tarred(place / "a.bin", BODIES).read_bytes()
    last = bytearray(PACKERS[kind](plain[3000:]))
    last[-{"gz": 6, "bz2": 3, "xz": 40}[kind]] ^= 1
    (place / "a.bin").write_bytes(PACKERS[kind](plain[:3000]) + last)
    assert_refused(place, place / "a.bin", r"CRC check failed|Invalid data stream|Corrupt input data|is cut or damaged")


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_unpack__compressed_tar_that_was_cut(place, kind):
    archive = tarred(place / "a.bin", BODIES, f"w:{kind}")
    archive.write_bytes(archive.read_bytes()[:-5])
    assert_refused(place, archive, r"a\.bin")


@pytest.mark.parametrize("damage", ["header", "cut", "garbage"])
def test_unpack__tar_whose_second_file_is_lost(place, damage):
    archive = tarred(place / "a.bin", BODIES)
    content = bytearray(archive.read_bytes())
    second = 512 + len(BODIES["a"])
    if damage == "header":
        content[second + 100] ^= 1
    elif damage == "cut":
        content = content[:second]
    else:
        content[second : second + 512] = b"x" * 512
    archive.write_bytes(content)
    assert_refused(place, archive, "is cut or damaged after 10752 bytes")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unpack__bytes_that_flipped_in_zip(place, method):
    body = random.Random(0).randbytes(3000) + bytes(3000)
    for position in range(60, 3000, 300):
        archive = zipped(place / "a.zip", {"a": body}, compression=method)
        content = bytearray(archive.read_bytes())
        content[position] ^= 255
        archive.write_bytes(content)
        assert_refused(place, archive, r"cannot be unpacked|cannot read")


def test_unpack__what_goes_on_for_ever_after_the_end(place, monkeypatch):
    monkeypatch.setattr(module, "FREE_RATIO", 20_000)
    plain = tarred(place / "a.bin", BODIES).read_bytes()
    (place / "a.bin").write_bytes(gzip.compress(plain + bytes(10**6)))
    monkeypatch.setattr(module, "RATIO_LIMIT", 1)
    assert_refused(place, place / "a.bin", "goes on long after its end; that is no honest archive")


def test_unpack__more_than_the_disk_has(place, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(DataError, match="free some space"):
        unpack(zipped(place / "a.zip", FILES), place / "out")


def test_unpack__a_folder_with_something_in_it(place):
    archive = zipped(place / "a.zip", FILES)
    (place / "out").mkdir()
    (place / "out" / "mine").write_text("keep")
    with pytest.raises(MisuseError, match="is not empty"):
        unpack(archive, place / "out")
    (place / "out" / "mine").unlink()
    assert unpack(archive, place / "out") == 3
