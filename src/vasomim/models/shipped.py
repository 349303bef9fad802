"""Weights that come with the package, by name. No torch is needed to find them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from vasomim.errors import CheckpointError, MisuseError
from vasomim.files import sha256

FOLDER: Final = Path(__file__).parent.parent / "weights"
SUMS: Final = "SHA256SUMS"
_FILE = "model.safetensors"


@dataclass(frozen=True, slots=True)
class Shipped:
    """Where the weights of a name are, and which of their outputs it means."""

    folder: str
    """Below `FOLDER`."""
    about: str
    """What they find or are for, in a few words."""
    output: str | None = None
    """Which output of a network with several; None its first."""
    segments: bool = True
    """Whether they segment frames; else they are an encoder alone."""

    @property
    def path(self) -> Path:
        """Folder with model.safetensors, config.json and README.md, the model card."""
        return FOLDER / self.folder


SHIPPED: Final[dict[str, Shipped]] = {
    "default": Shipped("default", "main vessels, as ARCADE outlines them"),
    "full-tree": Shipped("default", "every vessel that is seen, side branches included", "full-tree"),
    "fast": Shipped("fast", "main vessels, several times as fast and less accurate"),
    "encoder": Shipped("encoder", "a pre-trained ViT-Ti, to start fine-tuning from", segments=False),
}
SEGMENTERS: Final = tuple(name for name, weights in SHIPPED.items() if weights.segments)


def shipped_weights(name: str | Path) -> Shipped | None:
    """The weights of that name, checked; None where the package has none of it. `./NAME` is a path in any case.

    So is a `Path`, which drops the dot of `./NAME`.

    Raises:
        CheckpointError: the file is missing or is not the one that was shipped.
    """
    found = SHIPPED.get(name) if isinstance(name, str) else None
    if found is not None:
        _check(found.folder)
    return found


def weights_path(name: str | Path) -> Path:
    """Where the weights of that name are, or the path itself.

    Raises:
        MisuseError: nothing is there.
        CheckpointError: as `shipped_weights`.
    """
    shipped = shipped_weights(name)
    path = shipped.path if shipped else Path(name).expanduser()
    if not path.exists():
        names = ", ".join(SHIPPED)
        raise MisuseError(f"{name} does not exist; give a run folder, an export folder, a weight file, or {names}")
    return path


def beside_weights(path: Path, name: str) -> Path | None:
    """The file of that name beside weights: a run folder keeps it in export/. None where it is missing.

    Args:
        path: As `weights_path` gives it: a run folder, an export folder, or a file in one.
        name: Such as README.md.
    """
    folders = (path / "export", path) if path.is_dir() else (path.parent,)
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


@cache
def _check(folder: str) -> None:
    try:
        digest = sha256(FOLDER / folder / _FILE)
        listed = (FOLDER / SUMS).read_text().splitlines()
    except OSError as error:
        raise CheckpointError(f"the package's weights {folder!r} cannot be read ({error}); install it anew") from None
    if f"{digest}  {folder}/{_FILE}" not in listed:
        raise CheckpointError(f"the package's weights {folder!r} are damaged: another SHA-256; install it anew")
