"""Text files are whole or absent, also on a full disk."""

import errno
import os
from pathlib import Path

import pytest

from vasomim.engine.files import make_folder, write_text
from vasomim.errors import VasomimError


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
    with pytest.raises(VasomimError, match=r"cannot write .*card\.json: No space left on device; free some space"):
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
    with pytest.raises(VasomimError, match=r"cannot write in .*file/out: Not a directory; choose another folder"):
        make_folder(tmp_path / "file" / "out")
