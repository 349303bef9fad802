from __future__ import annotations

from pathlib import Path

import pytest
from data_tools import grey, save

from vasomim.data.listing import list_frames, make_records, natural_key, require_layout, some
from vasomim.errors import MisuseError


def test_natural_key__numbers_count_as_numbers() -> None:
    names = ["b", "10", "2", "a10", "a9b", "a9", "01", "1"]
    assert sorted(names, key=natural_key) == ["01", "1", "2", "10", "a9", "a9b", "a10", "b"]


def test_list_frames__skips_hidden_and_foreign_files(tmp_path: Path) -> None:
    for name in ("b/2.png", "10.png", "2.PNG", ".hidden.png", ".cache/1.png", "b/._2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "notes.txt").write_text("x")
    found = [path.relative_to(tmp_path).as_posix() for path in list_frames(tmp_path)]
    assert found == ["2.PNG", "10.png", "b/2.png"]


def test_list_frames__follows_links_but_no_loop(tmp_path: Path) -> None:
    save(tmp_path / "real" / "1.png", grey())
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "set")
    assert [path.name for path in list_frames(tmp_path / "set")] == ["1.png"]


def test_list_frames__missing(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="no such file or folder"):
        list_frames(tmp_path / "none")


def test_make_records__suffix_stays_where_stems_clash(tmp_path: Path) -> None:
    paths = [tmp_path / "a.png", tmp_path / "a.jpg", tmp_path / "s" / "a.png", tmp_path / "v1.2.png"]
    ids = [record.id for record in make_records(paths, tmp_path, tmp_path)]
    assert ids == ["a.png", "a.jpg", "s/a", "v1.2"]


def test_require_layout__names_what_lies_below(tmp_path: Path) -> None:
    (tmp_path / "x" / "train").mkdir(parents=True)
    with pytest.raises(MisuseError, match=r"holds some; name those you mean: .*/x/train"):
        require_layout(tmp_path, lambda folder: folder.name == "train", "it")
    with pytest.raises(MisuseError, match="no such folder"):
        require_layout(tmp_path / "none", lambda _: True, "it")


def test_some__tells_how_many_more() -> None:
    assert some(["10", "9", "8"], 2) == "8, 9 and 1 more"
