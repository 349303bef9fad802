"""Texts for `fuzz.py` that are made to do harm: JSON, CSV, YAML, lists of names, and headers of weight files."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Iterable
from typing import Any


def hostile_json(content: bytes) -> Iterable[bytes]:
    """Depth without end, numbers without end, other encodings, other types wherever a value stands."""
    yield b"[" * 200_000
    yield b'{"images":' * 50_000
    yield b"1" * 100_000
    yield b'{"images": ' + b"9" * 10_000 + b', "annotations": []}'
    yield content.decode().encode("utf-16")
    yield b"\xef\xbb\xbf" + content
    yield b'"\\ud800"'
    found = json.loads(content)
    for key in found:
        for other in (None, 1, "text", [], {}, [[]], [None], {"a": None}, -1e400):
            yield json.dumps({**found, key: other}).encode()


def hostile_coco(content: bytes) -> Iterable[bytes]:
    """Names that lead out of the folder, sizes and coordinates beyond reason."""
    yield from hostile_json(content)
    for name in ("../../valid/images/1.png", "/etc/hostname", "..", ".", "", "1.png\0", "a" * 5000, None, 7, ["1.png"]):
        yield content.replace(b'"1.png"', json.dumps(name).encode())
    for side in (-1, 0, 10**9, 10**30, 1e300, "32", None, [], True):
        yield content.replace(b'"width": 32', b'"width": ' + json.dumps(side).encode())
    for value in ("1e308", "-1e308", "NaN", "Infinity", '"2"', "null", "[2]", "1" * 400):
        yield content.replace(b"2.0", value.encode())
    for part in ("{}", '{"counts": "a", "size": [24, 32]}', "[[]]", "[[1, 2]]", "[1, 2, 3, 4, 5, 6]", "[[[1, 2]]]"):
        yield content.replace(b"[[2.0, 2, 20, 3, 18, 20]]", part.encode())
    yield content.replace(b"[[2.0, 2, 20, 3, 18, 20]]", json.dumps([[1, 2] * 200_000]).encode())
    yield content.replace(b'"category_id": 1', b'"category_id": [1]').replace(b'"id": 1', b'"id": {}')


def hostile_csv(content: bytes) -> Iterable[bytes]:
    """Cells without end, quotes that never close, other encodings, missing and too many cells."""
    yield content.replace(b"p1", b"x" * 300_000)
    yield content.replace(b"p1", b'"p1')
    yield content.replace(b"1.png,p1", b"\0")
    yield content.decode().encode("utf-16")
    yield b"file,x0,y0,x1,y1\n1.png\n"
    yield b"file,x0,y0,x1,y1\n1.png,1,2,3,4,5,6\n"
    yield b"file,x0,y0,x1,y1\n1.png,1e999,nan,inf,-inf\n"
    yield b"file,file,x0,y0,x1,y1\n" + b"\n" * 1000
    yield b"file,x0,y0,x1,y1\n../../1.png,1,2,3,4\n"


def hostile_yaml(content: bytes) -> Iterable[bytes]:
    """Aliases that multiply, tags that run code, depth without end, keys of every kind."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    yield "\n".join(lines).encode()
    yield "\n".join([*lines, "inputs: *a11"]).encode()
    yield b"model: &m [*m]\n"
    yield b"optim: &o {lr: *o}\n"
    yield b"model: !!python/object/apply:os.system ['touch escaped']\n"
    yield from (
        b"[" * 30_000,
        b"{a: " * 30_000,
        b"- " * 30_000,
        b"? " * 10_000,
        b"\xff\xfe\x00",
        b"\0",
        b"img_size: .nan",
    )
    yield b"img_size: " + b"9" * 100_000
    yield b"img_size: 1_0:30:30\nout: 2020-99-99\n"
    yield b"? [1, 2]\n: 3\n? {a: 1}\n: 4\n"
    yield content * 3000


def hostile_list(content: bytes) -> Iterable[bytes]:
    """Names beyond reason."""
    for line in (b"../" * 3000, b"x" * 10_000, b"\0", b"/dev/zero", b"/proc/self/mem", b"~", b"f/0.png/"):
        yield content + line + b"\n"
    yield b"f/0.png\n" * 100_000
    yield content.decode().encode("utf-16")


class _Runs:
    """Unpickled, it would run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("open('escaped', 'w')",)


def hostile_pickle(_: bytes) -> Iterable[bytes]:
    """Objects that run code when they are unpickled, and depth without end."""
    for protocol in (0, 2, 4):
        yield pickle.dumps({"model": _Runs()}, protocol)
    yield b"\x80\x02" + b"(" * 200_000
    yield b"\x80\x04\x8a\xff" + b"\xff" * 255 + b"."
    yield b"\x80\x02]q\x00" + b"h\x00a" * 1000 + b"."


def hostile_safetensors(content: bytes) -> Iterable[bytes]:
    """Headers and tensors that nothing backs, overlapping, out of range."""
    for length in (2**63, 2**32, 10**8, 0):
        yield struct.pack("<Q", length) + b'{"a"' + content[12:]
    size = struct.unpack("<Q", content[:8])[0]
    for shape, span in (([2**40], [0, 4]), ([4], [0, 2**60]), ([-1], [0, 16]), ([2], [8, 0]), ([0], [0, 0])):
        head = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": span}}).encode()
        yield struct.pack("<Q", len(head)) + head + content[8 + size :]
    yield struct.pack("<Q", 50_000) + b"{" * 50_000
