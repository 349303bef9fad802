"""Weights that come with the package, by name. No torch is needed to find them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vasomim.errors import CheckpointError

FOLDER: Final = Path(__file__).parent.parent / "weights"


@dataclass(frozen=True, slots=True)
class Shipped:
    """Where the weights of a name are, and which of their outputs it means."""

    folder: str
    sha256: str
    """Of model.safetensors."""
    about: str
    output: str | None = None

    @property
    def path(self) -> Path:
        """Folder with model.safetensors, config.json and README.md, the model card."""
        return FOLDER / self.folder


SHIPPED: Final[dict[str, Shipped]] = {}


def shipped_weights(name: str) -> Shipped | None:
    """The weights of that name, checked; None where the package has none of it. `./NAME` is a path in any case.

    Raises:
        CheckpointError: the file is missing or is not the one that was shipped.
    """
    found = SHIPPED.get(name)
    if found is None:
        return None
    file = found.path / "model.safetensors"
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"the package's weights {name!r} cannot be read ({error}); install it anew") from None
    if digest != found.sha256:
        raise CheckpointError(f"the package's weights {name!r} are damaged ({file}); install it anew")
    return found
