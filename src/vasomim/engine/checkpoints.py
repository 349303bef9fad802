"""Checkpoints that are whole or absent: written beside, synced, renamed; the newest few are kept."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vasomim.errors import CheckpointError, WriteError
from vasomim.files import sync_folder, whole_file

logger = logging.getLogger(__name__)

_NAME = re.compile(r"step_(\d+)\.pt")


class Checkpoints:
    """The checkpoints of one run, `step_00000250.pt` and so on."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        """Look after `folder`, in which the newest `keep` checkpoints stay."""
        self.folder = folder
        self.keep = max(keep, 1)

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Write the checkpoint of `step`, then delete those that are too many.

        Args:
            step: optimiser steps done.
            state: tensors, numbers, strings and containers of them only.

        Raises:
            WriteError: it cannot be written, for example because the disk is full; what was there is untouched.
        """
        path = self.folder / f"step_{step:08d}.pt"
        save_tensors(path, {**state, "step": step})
        # Those of a later step go too: they could not be read, and the run was taken back to an earlier one.
        later = [other for other in self.paths() if _step_of(other) > step]
        others = [other for other in self.paths() if _step_of(other) < step]
        for other in [*later, *others[self.keep - 1 :]]:
            other.unlink(missing_ok=True)
        return path

    def paths(self) -> list[Path]:
        """Checkpoint files, newest first."""
        found = self.folder.glob("step_*.pt") if self.folder.is_dir() else iter(())
        return sorted((path for path in found if _NAME.fullmatch(path.name)), key=_step_of, reverse=True)

    def latest(self) -> dict[str, Any] | None:
        """The newest readable checkpoint with its tensors on the CPU, or None where there is none.

        Raises:
            CheckpointError: there are checkpoints and none can be read.
        """
        paths = self.paths()
        for path in paths:
            try:
                return load_tensors(path)
            except CheckpointError as error:
                logger.warning("%s; trying the checkpoint before it", error)
        if paths:
            raise CheckpointError(
                f"none of the {len(paths)} checkpoints in {self.folder} can be read; "
                "delete the folder to start again, or bring back a good copy"
            )
        return None


def save_tensors(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` to `path` such that the file is either complete or not there, even if the power fails.

    Raises:
        WriteError: it cannot be written; nothing is left behind.
    """
    try:
        with whole_file(path) as file:
            torch.save(dict(state), file)
        sync_folder(path.parent)  # others may be deleted once this one is sure to stay
    except (WriteError, OSError, RuntimeError) as error:  # torch's writer turns some write errors into RuntimeError
        raise WriteError(
            f"cannot write {path}: {_reason(error)}; {_free_space(path.parent)}. Checkpoints written before are "
            "untouched: free some space and run the same command again"
        ) from error


def load_tensors(path: Path) -> dict[str, Any]:
    """What `save_tensors` wrote; nothing in the file can run code.

    Raises:
        CheckpointError: the file is missing, damaged or of another kind.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can make torch's reader stumble over anything, IndexError included
        raise CheckpointError(f"cannot read {path}: {_reason(error)}") from error
    if not isinstance(state, dict) or not isinstance(state.get("step"), int):
        raise CheckpointError(f"{path} is no checkpoint of a run: it has no step")
    return state


def _step_of(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    return int(match.group(1)) if match else -1


def _reason(error: BaseException) -> str:
    """One line. Torch's writer hides the system's error ("no space left") behind a complaint of its own."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__context__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _free_space(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free // 2**20} MiB are free there"
    except OSError:
        return f"{folder} is not accessible"
