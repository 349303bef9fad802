"""Weight files of any origin: found, told by their content, and read without running anything that lies in them."""

from __future__ import annotations

import argparse
import json
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from vasomim.errors import CheckpointError
from vasomim.models.shipped import weights_path

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
PICKLED = "pytorch_model.bin"
"""What a Hugging Face folder calls its weights where they are no safetensors."""

_NESTS = ("model", "state_dict", "model_state_dict", "module", "encoder", "backbone", "teacher", "student")
"""Names under which checkpoints keep the state dict of the model, the likeliest first."""
_EXPANDED_LIMIT = 2**20
"""Values above which a tensor must be backed by bytes of the file: an expanded one costs nothing until it is copied."""


def find_weights(path: Path | str) -> Path:
    """The weight file meant by a name of `SHIPPED`, a run folder, an export folder, a Hugging Face folder or a file.

    Raises:
        MisuseError: if nothing is there.
        CheckpointError: if a folder holds no weights that we read, or the package's own are damaged.
    """
    path = weights_path(path)
    if path.is_file():
        return path
    for file in (path / "export" / WEIGHTS, path / WEIGHTS, path / PICKLED):
        if file.is_file():
            return file
    if any(path.glob("*.index.json")):
        raise CheckpointError(f"{path} holds weights in several shards; save them as one {WEIGHTS} first")
    unfinished = " (the run has not finished: resume it first)" if (path / "checkpoints").is_dir() else ""
    raise CheckpointError(
        f"{path} holds neither export/{WEIGHTS} nor {WEIGHTS}{unfinished}; name a finished run, its export, or a file"
    )


def container_of(file: Path) -> str:
    """How a weight file is packed, told by its first bytes, as suffixes lie: `safetensors`, `zip` or `pickle`.

    Raises:
        CheckpointError: if it is empty, a web page or a git-lfs pointer.
    """
    with file.open("rb") as stream:
        head = stream.read(64)
    if not head:
        raise CheckpointError(f"{file} is empty; download or export it again")
    if head.lstrip().startswith(b"<"):
        raise CheckpointError(
            f"{file} is a web page, not weights; the download went wrong (a login page?): fetch it again"
        )
    if head.startswith(b"version https"):
        raise CheckpointError(f"{file} is a git-lfs pointer, not weights; run `git lfs pull`")
    if head[8:9] == b"{":
        return "safetensors"
    return "zip" if head.startswith(b"PK\x03\x04") else "pickle"


def _read_pickled(file: Path, *, zipped: bool) -> Any:
    """A file of torch.save, tensors and plain numbers alone."""
    if zipped:
        with zipfile.ZipFile(file) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise CheckpointError(f"{file} is a compressed archive, which torch never writes; unpack it first")
    # Namespaces are plain attribute bags that MAE-like scripts store beside their weights.
    with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about pickle protocols; what cannot be read raises
        with file.open("rb") as stream:  # given a path, torch would go by its suffix
            return torch.load(stream, map_location="cpu", weights_only=True)


def _read_content(file: Path) -> Any:
    container = container_of(file)
    try:
        return load_file(file) if container == "safetensors" else _read_pickled(file, zipped=container == "zip")
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file} is damaged or holds Python objects besides tensors, which we never run; download it again or save "
            "its state dict alone"
        ) from error
    except Exception as error:  # a damaged file can make the readers stumble over anything, IndexError included
        raise CheckpointError(
            f"{file} is corrupt or no weight file{_detail(error)}; download or export it again"
        ) from error


def _detail(error: Exception) -> str:
    """The first line of what a reader says, where it is a sentence and not the mere byte it stumbled over."""
    line = " ".join(str(error).partition("\n")[0].split())
    return f": {line}" if " " in line else ""


def read_state_dict(path: Path | str) -> dict[str, Tensor]:
    """Tensors by name from a run, export or Hugging Face folder, a safetensors file or a .pt / .pth / .bin file.

    Nested checkpoints ({"model": ...}, {"state_dict": ...}) are unwrapped; nothing is ever unpickled but tensors and
    plain numbers.

    Raises:
        MisuseError: if the path does not exist.
        CheckpointError: if the file is corrupt, truncated, a web page, or holds no tensors we can use.
    """
    file = find_weights(path)
    content: Any = _read_content(file)
    tensors: dict[str, Tensor] = {}
    for _ in range(4):
        if not isinstance(content, Mapping):
            break
        own = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        # A stray tensor beside the state dict, such as a step counter, must not hide it.
        tensors = own if len(own) >= len(tensors) else tensors
        content = next((content[name] for name in _NESTS if isinstance(content.get(name), Mapping)), None)
    if not tensors:
        raise CheckpointError(f"{file} holds no tensors by name; give a state dict or a checkpoint with one")
    for name, value in tensors.items():
        _check_plain(name, value, file)
    return tensors


def _check_plain(name: str, value: Tensor, file: Path) -> None:
    """Refuse what is no ordinary array in memory, or claims more values than the file holds."""
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
        raise CheckpointError(f"{file}: {name} is sparse, quantised or without values; save plain float tensors")
    if value.numel() > _EXPANDED_LIMIT and value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise CheckpointError(f"{file}: {name} claims {value.numel()} values, more than the file holds; it is damaged")


def read_metadata(file: Path) -> dict[str, str]:
    """The free text a safetensors file carries in its header; empty for other files."""
    if container_of(file) != "safetensors":
        return {}
    try:
        with safe_open(file, framework="pt") as opened:
            return {str(name): str(value) for name, value in (opened.metadata() or {}).items()}
    except Exception as error:
        raise CheckpointError(f"{file} is corrupt or no weight file: {error}; download or export it again") from error


def read_json_beside(file: Path, name: str = CONFIG) -> dict[str, Any]:
    """A JSON object in the folder of a weight file; empty where there is none.

    Raises:
        CheckpointError: if it is there but no JSON object.
    """
    beside = file.with_name(name)
    if not beside.is_file():
        return {}
    try:
        content = json.loads(beside.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"{beside} is not valid JSON ({error}); export the weights again") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{beside} is no JSON object; export the weights again")
    return content


def read_licence(file: Path) -> tuple[str, str] | None:
    """The licence a weight file states and where: in its own header, in config.json or atop README.md beside it.

    Nothing is inferred from names: a file that does not say returns None.
    """
    for where, source in (
        ("header of the file", read_metadata(file)),
        (CONFIG, read_json_beside(file)),
        (CARD, _front_matter(file.with_name(CARD))),
    ):
        stated = source.get("license") or source.get("licence")
        if isinstance(stated, str) and stated.strip():
            return " ".join(stated.split()), where
    return None


def _front_matter(card: Path) -> Mapping[str, Any]:
    """The YAML block between two lines of dashes that opens a model card; empty where there is none."""
    try:
        text = card.read_text(encoding="utf-8")
        _, block, _ = text.split("---\n", 2) if text.startswith("---\n") else ("", "", "")
        content = yaml.safe_load(block)
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}  # a card is prose; one that cannot be read states nothing
    return content if isinstance(content, dict) else {}
