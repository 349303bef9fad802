"""Whether a data set on disk is whole: files counted against what its publishers say, pairs compared, labels opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vasomim.data.listing import list_frames, some
from vasomim.data.open import labelled_sets, open_frames, open_labelled
from vasomim.data.registry import DatasetCard, Layout, Part
from vasomim.errors import DataError, MisuseError, VasomimError


@dataclass(frozen=True, slots=True)
class Found:
    """Files of one part of a data set."""

    part: Part
    count: int

    @property
    def complete(self) -> bool:
        """Whether as many are there as should be; any, where nobody says how many."""
        return self.count == self.part.count if self.part.count is not None else self.count > 0

    def __str__(self) -> str:
        wanted = f" of {self.part.count}" if self.part.count is not None else ""
        return f"{self.count}{wanted} {self.part.what} ({self.part.pattern})"


@dataclass(frozen=True, slots=True)
class Verification:
    """What lies in a folder, compared with a data set's card."""

    layout: str
    """Name of the layout that fits best."""
    root: Path
    """Folder that the layout starts at."""
    found: tuple[Found, ...]
    unpaired: tuple[str, ...]
    """Pairs of folders that hold different names."""
    frames: int
    """Frames that `open_frames` finds."""
    labelled: tuple[tuple[Path, int], ...]
    """Labelled sets that `open_labelled` opens, and their frames."""
    problems: tuple[str, ...]
    """What the readers refused, in their own words."""

    @property
    def missing(self) -> tuple[Found, ...]:
        """Parts that are not as they should be."""
        return tuple(found for found in self.found if not found.complete)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing and nothing is wrong."""
        return not (self.missing or self.unpaired or self.problems)


def verify(card: DatasetCard, folder: Path) -> Verification:
    """Compare a folder with a data set's card. Pixels are not read.

    Args:
        card: The data set.
        folder: Where it lies, or a folder up to two levels above.

    Raises:
        MisuseError: no such folder.
        DataError: nothing in it belongs to the data set.
    """
    if not folder.is_dir():
        raise MisuseError(f"no such folder: {folder}")
    root, layout, found = _best(card, folder)
    if not any(part.count for part in found):
        wanted = "; or ".join(", ".join(part.pattern for part in layout.parts) for layout in card.layouts)
        raise DataError(f"nothing of {card.name} lies in {folder}; need {wanted}")
    frames = 0
    problems: list[str] = []
    try:
        frames = len(open_frames([root]))
    except VasomimError as error:
        problems.append(str(error))
    labelled, refused = _labelled(root)
    return Verification(
        layout=layout.name,
        root=root,
        found=found,
        unpaired=tuple(_unpaired(layout, root)),
        frames=frames,
        labelled=labelled,
        problems=(*problems, *refused),
    )


def _best(card: DatasetCard, folder: Path) -> tuple[Path, Layout, tuple[Found, ...]]:
    """The root and layout of which most parts are there; the uppermost and first of equals."""
    best: tuple[int, Path, Layout, tuple[Found, ...]] | None = None
    for root in _roots(folder):
        for layout in card.layouts:
            found = tuple(Found(part, _count(root, part.pattern)) for part in layout.parts)
            there = sum(part.count > 0 for part in found)
            if best is None or there > best[0]:
                best = there, root, layout, found
    assert best is not None  # a folder is its own root, and every card has a layout
    return best[1:]


def _roots(folder: Path) -> Iterator[Path]:
    """The folder and what it holds down to two levels: archives often bring a folder of their own."""
    yield folder
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")][:50]
    yield from inner
    for path in inner:
        yield from [deep for deep in sorted(path.iterdir()) if deep.is_dir()][:50]


def _count(root: Path, pattern: str) -> int:
    wants_folder = pattern.endswith("/")
    return sum(
        (path.is_dir() if wants_folder else path.is_file()) and not path.name.startswith(".")
        for path in root.glob(pattern.rstrip("/"))
    )


def _unpaired(layout: Layout, root: Path) -> Iterator[str]:
    for first, second in layout.pairs:
        for folder in root.glob(f"**/{first}"):
            other = folder.with_name(second)
            if folder.is_dir() and other.is_dir():
                one, two = ({path.stem for path in list_frames(side)} for side in (folder, other))
                if one - two:
                    yield f"{len(one - two)} of {folder} have no counterpart in {other.name}/: {some(one - two)}"
                if two - one:
                    yield f"{len(two - one)} of {other} have no counterpart in {first}/: {some(two - one)}"


def _labelled(root: Path) -> tuple[tuple[tuple[Path, int], ...], tuple[str, ...]]:
    opened, refused = [], []
    for folder in labelled_sets(root):
        try:
            opened.append((folder, len(open_labelled([folder]))))
        except MisuseError:
            continue  # a set that outlines only stenoses is whole, but no set of vessels
        except VasomimError as error:
            refused.append(str(error))
    return tuple(opened), tuple(refused)
