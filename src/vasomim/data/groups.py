"""Things that belong together, transitively."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def linked(count: int, links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Groups of 0 ... count - 1 that the links join, singles included; members and groups in ascending order."""
    parent = list(range(count))
    for a, b in links:
        low, high = sorted((_root(parent, a), _root(parent, b)))
        parent[high] = low
    return grouped([_root(parent, index) for index in range(count)])


def grouped(keys: Sequence[Hashable]) -> list[list[int]]:
    """Positions with equal keys together, in the order of each key's first position."""
    members: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        members.setdefault(key, []).append(index)
    return list(members.values())


def repeated(keys: Sequence[Key]) -> list[Key]:
    """What occurs more than once, in the order of first positions."""
    return [keys[group[0]] for group in grouped(keys) if len(group) > 1]


def chains(groups: Iterable[Sequence[int]]) -> Iterable[tuple[int, int]]:
    """Links that join the members of each group."""
    return ((group[0], other) for group in groups for other in group[1:])


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index
