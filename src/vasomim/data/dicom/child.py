"""Decodes frames for another process, which lives on when damaged bytes bring the decoder down: see `isolation`.

A message is a line of JSON that ends with the length of the bytes that follow it.
"""

from __future__ import annotations

import json
import sys
from typing import Any, BinaryIO

import numpy as np

from vasomim.data.dicom.calling import call_decoder

MAX_MEMORY = 4 << 30


def send(pipe: BinaryIO, head: dict[str, Any], body: bytes) -> None:
    """Write a message."""
    pipe.write(json.dumps({**head, "length": len(body)}).encode() + b"\n")
    pipe.write(body)  # apart from the line, so that it is not copied
    pipe.flush()


def receive(pipe: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """Read a message; None where the other side is gone."""
    line = pipe.readline(1 << 16)
    if not line.endswith(b"\n"):
        return None
    head = json.loads(line)
    body = pipe.read(head["length"])
    return (head, body) if len(body) == head["length"] else None


def main() -> None:
    """Answer every frame until the other side closes the pipe."""
    _bound_memory()
    asked, answered = sys.stdin.buffer, sys.stdout.buffer
    while (message := receive(asked)) is not None:
        head, content = message
        try:
            values = call_decoder(head["plugin"], content, head["syntax"], head["options"], encapsulated=True)
        except Exception as error:  # whatever damaged bytes lead to
            send(answered, {"error": type(error).__name__}, b"")
        else:
            send(answered, {"dtype": values.dtype.str, "shape": values.shape}, np.ascontiguousarray(values).tobytes())


def _bound_memory() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    bound = MAX_MEMORY if most == resource.RLIM_INFINITY else min(MAX_MEMORY, most)
    resource.setrlimit(resource.RLIMIT_AS, (bound, most))


if __name__ == "__main__":
    main()
