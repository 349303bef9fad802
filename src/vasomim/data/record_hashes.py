"""Hashes of what frames are called, the same wherever an id is hashed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from vasomim.types import Record


class Hasher(Protocol):
    """What the constructors of `hashlib` give."""

    def update(self, data: bytes, /) -> None: ...

    def hexdigest(self) -> str: ...


def id_bytes(name: str) -> bytes:
    """The bytes of an id as hashes see it: its UTF-8, extended to every name that a file may have.

    Names of files need not be UTF-8; Python hands their bytes on as surrogates, which plain UTF-8 refuses.
    """
    return name.encode("utf-8", "surrogatepass")


def hash_records(records: Iterable[Record], facts: Callable[[Record], str], total: Hasher) -> str:
    """Hexadecimal digits of a hash over ids and facts of frames, in order.

    Args:
        records: frames.
        facts: what else of a frame counts.
        total: a new hash, such as `hashlib.sha256()`.
    """
    for record in records:
        total.update(id_bytes(f"{record.id}\0{facts(record)}\n"))
    return total.hexdigest()
