"""Files and folders are whole or absent: on a full disk, with the longest names, after a kill."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vasomim.errors import LongNameError, MisuseError, WriteError
from vasomim.files import clear_leftovers, contents, make_folder, whole_file, whole_folder, write_text, write_whole


def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_write_text__makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    write_text(path, "one\n")
    write_text(path, "zwei ä\n")
    assert path.read_bytes() == "zwei ä\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_write_text__full_disk_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "card.json"
    write_text(path, "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match=r"cannot write .*card\.json: No space left on device; free some space"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_text__spells_out_names_that_are_no_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "ids.csv", f"{os.fsdecode(b'fr' + bytes([0xE9]))},ä\n")
    assert (tmp_path / "ids.csv").read_text(encoding="utf-8") == "fr\\udce9,ä\n"


def test_make_folder__leaves_it_empty(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_make_folder__says_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"cannot write .*file/out: Not a directory"):
        make_folder(tmp_path / "file" / "out")


def test_write_whole__takes_the_longest_names_and_says_of_longer_ones_what_is_wrong(tmp_path: Path) -> None:
    write_whole(tmp_path / ("n" * 255), b"x")
    assert names(tmp_path) == ["n" * 255]
    with pytest.raises(LongNameError, match="shorten it"):
        write_whole(tmp_path / ("n" * 256), b"x")


def test_whole_file__is_not_there_while_it_is_written(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a") as file:
        file.write(b"half")
        assert not (tmp_path / "a").exists()
    assert names(tmp_path) == ["a"]


def left_behind(path: Path, pid: int) -> Path:
    """What a writer of that number, killed half-way, leaves beside `path`."""
    with whole_file(path):
        (mine,) = path.parent.glob(f".*.{os.getpid()}")
        theirs = mine.with_suffix(f".{pid}")
    path.unlink()
    return theirs


def test_clear_leftovers__takes_files_and_folders_of_dead_processes_alone(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    kept = ["masks/1.png", "masks/.hidden", "masks/.notes.2024x", "masks/3.123456"]
    for name in kept:
        (tmp_path / name).write_text("")
    living = left_behind(tmp_path / "masks" / "2.png", os.getppid())
    living.write_text("")
    left_behind(tmp_path / "masks" / "1.pt", gone()).write_text("")
    (left_behind(tmp_path / "export", gone()) / "inner").mkdir(parents=True)
    clear_leftovers(tmp_path)
    assert names(tmp_path) == sorted([*kept, "masks", living.relative_to(tmp_path).as_posix()])


def test_whole_folder__is_there_when_all_of_it_is(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "a" / "out") as stage:
        (stage / "x").write_text("1")
        assert not (tmp_path / "a" / "out").exists()
    assert names(tmp_path) == ["a", "a/out", "a/out/x"]
    with pytest.raises(MisuseError, match="is not empty"), whole_folder(tmp_path / "a" / "out"):
        pass


def test_whole_folder__waits_for_the_disk_where_it_is_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []
    monkeypatch.setattr(os, "fsync", waited.append)
    for durable in (False, True):
        with whole_folder(tmp_path / str(durable), durable=durable) as stage:
            (stage / "a").touch()
        assert names(tmp_path / str(durable)) == ["a"]
    assert len(waited) == 1 + 3, "the name alone, then also the file and the folder"


def test_whole_folder__clears_the_stage_of_a_dead_process_and_leaves_that_of_a_living_one(tmp_path: Path) -> None:
    dead, living, other = (
        left_behind(tmp_path / name, pid) for name, pid in (("out", gone()), ("out", os.getppid()), ("else", gone()))
    )
    for stage in (dead, living, other):
        stage.mkdir()
        (stage / "half").write_text("")
    with whole_folder(tmp_path / "out"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["out", living.name, other.name])
    assert (living / "half").exists()


def test_whole_folder__that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with whole_folder(tmp_path / "out") as stage:
        (stage / "old").write_text("1")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left"), whole_folder(tmp_path / "out", replace=True) as stage:
        (stage / "new").write_text("2")
    assert names(tmp_path) == ["out", "out/old"]
    monkeypatch.undo()
    with whole_folder(tmp_path / "out", replace=True) as stage:
        (stage / "new").write_text("2")
    assert names(tmp_path) == ["out", "out/new"]


def test_whole_folder__killed_between_both_names_comes_back(tmp_path: Path) -> None:
    """An old folder steps aside before the new one takes its name; a kill in between must lose neither."""
    out, program = (
        tmp_path / "out",
        (
            "import os, pathlib, sys\nfrom vasomim.files import whole_folder\n"
            "rename, out = pathlib.Path.rename, pathlib.Path(sys.argv[1])\n"
            "pathlib.Path.rename = lambda self, to: os._exit(9) if to == out else rename(self, to)\n"
            "with whole_folder(out, replace=True) as stage: (stage / 'new').write_text('2')\n"
        ),
    )
    with whole_folder(out) as stage:
        (stage / "old").write_text("1")
    assert subprocess.run([sys.executable, "-c", program, str(out)], check=False).returncode == 9
    assert not out.exists()
    with pytest.raises(MisuseError, match="is not empty"), whole_folder(out):
        pass
    with pytest.raises(KeyError), whole_folder(out, replace=True):
        raise KeyError
    assert names(tmp_path) == ["out", "out/old"]


def test_contents__leaves_out_what_is_hidden(tmp_path: Path) -> None:
    for name in ("b", "a", ".DS_Store", ".a.json.77"):
        (tmp_path / name).write_text("")
    assert contents(tmp_path) == ["a", "b"]
    assert contents(tmp_path / "missing") == []
