"""Which labelled frames weights were fitted to, as hashes beside them: scores on these say little of others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from vasomim.errors import CheckpointError
from vasomim.models.shipped import beside_weights, weights_path

TRAINED_ON: Final = "trained_on.txt"


def list_text(hashes: Iterable[str]) -> str:
    """The text of a list: one hash a line, in an order that says nothing of the frames; each once."""
    return "".join(f"{value}\n" for value in sorted(set(hashes)))


def read_trained_on(path: Path | str) -> frozenset[str]:
    """Hashes, as of `data.frames.frame_hash`, of the labelled frames that weights were fitted to.

    Args:
        path: Name of shipped weights, run folder, export folder, or a file inside one.

    Returns:
        No hash where the weights do not say, as those of others do not.

    Raises:
        MisuseError: nothing is there.
        CheckpointError: the list cannot be read, or the package's own weights are damaged.
    """
    file = beside_weights(weights_path(path), TRAINED_ON)
    if file is None:
        return frozenset()
    try:
        return frozenset(file.read_text(encoding="ascii").split())
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file} cannot be read ({error}); export the weights again, or delete it") from error
