"""Checkpoints are whole or absent, the newest few are kept, a bad one is passed over."""

from __future__ import annotations

import errno
import os
import resource

import pytest
import torch

from vasomim.engine.checkpoints import Checkpoints, load_tensors, save_tensors
from vasomim.errors import CheckpointError, VasomimError

STATE = {"weights": torch.arange(6.0).reshape(2, 3), "count": 3, "names": ["a", "b"], "none": None}


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_checkpoints__give_back_what_was_saved(tmp_path):
    checkpoints = Checkpoints(tmp_path / "new" / "folder")
    assert checkpoints.latest() is None
    checkpoints.save(7, STATE)
    state = checkpoints.latest()
    assert state is not None
    assert torch.equal(state.pop("weights"), STATE["weights"])
    assert state == {"count": 3, "names": ["a", "b"], "none": None, "step": 7}


def test_checkpoints__keep_the_newest(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (5, 100_000_000, 999):
        checkpoints.save(step, STATE)
    assert names(tmp_path) == ["step_00000005.pt", "step_00000999.pt"], "a later one is of an abandoned continuation"
    checkpoints.save(1000, STATE)
    assert names(tmp_path) == ["step_00000999.pt", "step_00001000.pt"]


def test_checkpoints__leave_other_files_alone(tmp_path):
    for name in ("step_best.pt", "notes.txt", "step_1.pt.bak"):
        (tmp_path / name).write_text("mine")
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, STATE)
    checkpoints.save(2, STATE)
    assert names(tmp_path) == ["notes.txt", "step_00000002.pt", "step_1.pt.bak", "step_best.pt"]


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("broken", ["fsync", "save", "replace"])
def test_checkpoints__stay_as_they_were_when_the_disk_is_full(tmp_path, monkeypatch, broken):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, STATE)
    before = (tmp_path / "step_00000001.pt").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(*{"fsync": (os, "fsync"), "save": (torch, "save"), "replace": (os, "replace")}[broken], no_space)
        patch.setattr("pathlib.Path.replace", no_space if broken == "replace" else os.replace)
        with pytest.raises(
            VasomimError, match=r"step_00000002\.pt: No space left on device; \d+ MiB are free"
        ) as caught:
            checkpoints.save(2, STATE)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["step_00000001.pt"]
    assert (tmp_path / "step_00000001.pt").read_bytes() == before


def test_checkpoints__stay_as_they_were_when_writing_fails_midway(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, STATE)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(VasomimError, match=r"cannot write .*step_00000002\.pt: File too large"):
            checkpoints.save(2, {"big": torch.zeros(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == ["step_00000001.pt"]
    assert checkpoints.latest() is not None


def test_checkpoints__say_when_the_folder_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(VasomimError, match="cannot write"):
        Checkpoints(tmp_path / "file" / "checkpoints").save(1, STATE)


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "flipped", "foreign"])
def test_latest__falls_back_from_a_damaged_file(tmp_path, damage, caplog):
    checkpoints = Checkpoints(tmp_path, keep=3)
    checkpoints.save(1, STATE)
    path = checkpoints.save(2, STATE)
    content = path.read_bytes()
    if damage == "foreign":
        torch.save([1, 2], path)
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes(255 - b for b in content[middle:])
        path.write_bytes({"cut": content[:middle], "empty": b"", "garbage": b"x" * 999, "flipped": flipped}[damage])
    state = checkpoints.latest()
    assert state is not None
    assert state["step"] == 1
    assert "step_00000002.pt" in caplog.text


def test_latest__says_that_no_checkpoint_can_be_read(tmp_path):
    for step in (1, 2):
        (tmp_path / f"step_{step:08d}.pt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="none of the 2 checkpoints"):
        Checkpoints(tmp_path).latest()


def test_load_tensors__runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    torch.save({"step": 1, "evil": Evil()}, tmp_path / "step_00000001.pt")
    with pytest.raises(CheckpointError, match="cannot read"):
        load_tensors(tmp_path / "step_00000001.pt")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("content", [b".", b"\x80\x02.", b"\x80\x02]h\x05a.", b""])
def test_load_tensors__a_pickle_that_pops_what_it_never_pushed(tmp_path, content):
    (tmp_path / "step.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="cannot read"):
        load_tensors(tmp_path / "step.pt")


def test_save_tensors__replaces_an_old_file_whole(tmp_path):
    for value in (1, 2):
        save_tensors(tmp_path / "a.pt", {"step": value})
    assert load_tensors(tmp_path / "a.pt") == {"step": 2}
    assert names(tmp_path) == ["a.pt"]
