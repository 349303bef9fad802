"""GDCM in a process of its own: on damaged JPEG lossless and JPEG-LS it ends the process it runs in.

One child for each process that needs one, started at the first such frame (a third of a second), and gone with it.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from math import prod
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from vasomim.data.dicom.child import receive, send
from vasomim.data.dicom.elements import BadElement

PATIENCE = 60.0
"""Seconds a frame may take; a sound one takes a hundredth."""
PIPE = 1 << 20
"""Bytes in a pipe, where the system lets us choose: a frame goes through at once."""
_DAMAGED = "a frame cannot be decoded ({}): damaged; copy the file again"


@dataclass
class _Slot:
    """The child of this process, if it has one."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    process: subprocess.Popen[bytes] | None = None
    foreign: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """The child of the process that this one was forked from, kept so that nobody takes it for lost."""


_slot = _Slot()


def decode_isolated(plugin: str, content: bytes, transfer_syntax: str, options: Mapping[str, Any]) -> npt.NDArray[Any]:
    """As `calling.call_decoder`, in the child; one frame at a time.

    Raises:
        BadElement: the frame is damaged, whatever it did to the child.
    """
    question = {"plugin": plugin, "syntax": transfer_syntax, "options": dict(options)}
    with _slot.lock:
        answer = _ask(_child(), question, content)
        if answer is None:  # once more: the child may have been ended by somebody else
            _end()
            answer = _ask(_child(), question, content)
        if answer is None:
            _end()
            raise BadElement(_DAMAGED.format("the decoder broke down"))
    head, body = answer
    if "error" in head:
        raise BadElement(_DAMAGED.format(head["error"]))
    shape, dtype = tuple(int(side) for side in head["shape"]), np.dtype(head["dtype"])
    if prod(shape) * dtype.itemsize != len(body):
        raise BadElement(_DAMAGED.format("wrong size"))
    return np.frombuffer(body, dtype).reshape(shape)


def child_pid() -> int | None:
    """Process id of the child, for measurements; None where there is none."""
    return None if _slot.process is None else _slot.process.pid


def _child() -> subprocess.Popen[bytes]:
    if _slot.process is not None and _slot.process.poll() is not None:
        _end()
    if _slot.process is None:
        # -P: what lies in the working folder is not imported.
        _slot.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "vasomim.data.dicom.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # GDCM prints lines of its own
            pipesize=PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
    return _slot.process


def _ask(process: subprocess.Popen[bytes], head: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes] | None:
    watch = threading.Timer(PATIENCE, process.kill)
    watch.daemon = True
    watch.start()
    try:
        send(cast(BinaryIO, process.stdin), head, content)
        return receive(cast(BinaryIO, process.stdout))
    except (OSError, ValueError, KeyError):  # the pipe broke, or what came back is no message
        return None
    finally:
        watch.cancel()


@atexit.register
def _end() -> None:
    """End the child."""
    process, _slot.process = _slot.process, None
    if process is None:
        return
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):  # what was not yet written to a dead child
            cast(BinaryIO, pipe).close()


def _leave_to_parent() -> None:
    """After a fork the child, and a lock that some thread may hold, belong to the other process."""
    process, _slot.process = _slot.process, None
    if process is not None:
        _slot.foreign.append(process)
    _slot.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
