"""What computes a network: torch, ONNX Runtime or OpenVINO, and how a folder says which of them it is for."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, Protocol, get_args, runtime_checkable

import numpy as np
import numpy.typing as npt

from vasomim.errors import CheckpointError, MissingExtraError, MisuseError
from vasomim.files import sha256

Images = npt.NDArray[np.float32]
"""(B, 1, H, W) in [0, 1]."""
Maps = npt.NDArray[np.float32]
"""(B, H, W)."""
BackendName = Literal["auto", "torch", "onnx", "openvino"]
"""`onnx` is ONNX Runtime."""

ENTRIES: Final[Mapping[str, str]] = {"openvino": "model.xml", "onnx": "model.onnx", "torch": "model.safetensors"}
"""The file of a folder that each backend opens, the fastest on a CPU first."""
MODULES: Final[Mapping[str, str]] = {"openvino": "openvino", "onnx": "onnxruntime", "torch": "torch"}
"""What must be installed for it."""


@runtime_checkable
class Backend(Protocol):
    """A network that is ready to be computed."""

    name: str
    """`torch`, `onnx` or `openvino`."""
    device: str
    """`cpu` or `cuda:N`."""
    precision: str
    """`fp32`, `bf16` or `fp16`; of int8 networks that of what is not int8."""

    def probabilities(self, images: Images) -> Maps:
        """Vessel probability of frames as they are: (B, 1, H, W) in [0, 1] -> (B, H, W) in [0, 1].

        Raises:
            VasomimError: the device's memory does not suffice.
        """

    def fingerprint(self) -> str:
        """Hash of the weights, 32 hexadecimal digits."""


def require_modules(*modules: str, purpose: str) -> None:
    """Say what is missing before anything slow starts.

    Raises:
        MissingExtraError: one of the modules is not installed.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingExtraError(f"{purpose} needs {' and '.join(missing)}: pip install vasomim[export]")


def choose_backend(path: Path, backend: BackendName = "auto", device: str = "auto") -> tuple[str, Path]:
    """Which backend opens the weights at `path`, and the file it opens.

    Args:
        path: a run folder, an export folder, or the file inside it.
        backend: `auto` takes the fastest that the folder is made for and that is installed.
        device: where to compute; only torch computes elsewhere than on the CPU.

    Raises:
        MisuseError: an unknown backend, or one that the folder is not made for.
        MissingExtraError: it is made for it, but the package is not installed.
    """
    if backend not in get_args(BackendName):
        raise MisuseError(f"got backend={backend}, need {', '.join(get_args(BackendName))}")
    held = _held(path) or {"torch": path}  # torch's readers explain what they do not find
    if backend != "auto" and backend not in held:
        remedy = f"make one: vasomim export RUN --format {backend} --out DIR"
        raise MisuseError(
            f"{path} holds a network for {' and '.join(held)}, not for {backend}; "
            f"{'give the run it was exported from' if backend == 'torch' else remedy}"
        )
    asked = [backend] if backend != "auto" else list(held)
    if device.partition(":")[0] not in ("auto", "cpu") and "torch" in asked:
        asked = ["torch"]
    usable = [name for name in asked if find_spec(MODULES[name]) is not None]
    if not usable:
        require_modules(MODULES[asked[0]], purpose=f"the network in {path}")
    return usable[0], held[usable[0]]


def _held(path: Path) -> dict[str, Path]:
    """Entry file of each backend that a path is made for, the fastest first."""
    if path.is_file():
        # Any other file is for torch's readers, which go by content and explain what they cannot read.
        name = next((name for name, entry in ENTRIES.items() if path.suffix == Path(entry).suffix), "torch")
        return {name: path}
    found: dict[str, Path] = {}
    for name, entry in ENTRIES.items():
        file = next((file for file in (path / "export" / entry, path / entry) if file.is_file()), None)
        if file is not None:
            found[name] = file
    return found or _missing(path)


def _missing(path: Path) -> dict[str, Path]:
    """The file that an export folder has lost, by its config.json; whoever opens it says that it is missing."""
    try:
        name = str(json.loads((path / "config.json").read_text(encoding="utf-8"))["export"]["format"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {name: path / ENTRIES[name]} if name in ENTRIES else {}


def read_runtime_config(entry: Path) -> dict[str, Any]:
    """The checked config.json beside an exported network, whose files must be those it was written with.

    Raises:
        CheckpointError: it is missing, not valid, or a file of the network is missing or was changed.
    """
    place = entry.with_name("config.json")
    try:
        config = json.loads(place.read_text(encoding="utf-8"))
        files = dict(config["export"]["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{place} is missing or does not describe {entry.name} ({error!r}); give the whole folder that "
            "`vasomim export` wrote"
        ) from None
    for name, digest in files.items():
        if not entry.with_name(name).is_file():
            raise CheckpointError(f"{entry.with_name(name)} is missing; give the whole folder, or export it again")
        if sha256(entry.with_name(name)) != digest:
            raise CheckpointError(f"{entry.with_name(name)} is damaged: its SHA-256 is another; export it again")
    if entry.name not in files:
        raise CheckpointError(f"{place} does not name {entry.name}; export it again")
    return dict(config)


def files_fingerprint(config: Mapping[str, Any]) -> str:
    """Hash of the files of an exported network, 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(config["export"]["sha256"], sort_keys=True).encode()).hexdigest()[:32]


def open_runtime(name: str, entry: Path, device: str, precision: str) -> tuple[Backend, dict[str, Any]]:
    """Open an exported network in ONNX Runtime or OpenVINO, and its config.

    Raises:
        MisuseError: that backend does not compute on this device, or in this precision.
        CheckpointError: the files are damaged.
    """
    if device.partition(":")[0] not in ("auto", "cpu"):
        raise MisuseError(f"got device={device}, but {name} networks are computed on the CPU here; give the run folder")
    config = read_runtime_config(entry)
    module = import_module(f"vasomim.inference.{name}_backend")
    backend: Backend = module.open_backend(entry, precision, files_fingerprint(config))
    return backend, config


def check_precision(precision: str, known: Sequence[str], name: str) -> None:
    """Refuse a precision that a backend does not have.

    Raises:
        MisuseError: as it says.
    """
    if precision not in ("auto", *known):
        raise MisuseError(f"got precision={precision}, but {name} computes in {' or '.join(known)}; take auto")


def asked_threads() -> int:
    """Threads that OMP_NUM_THREADS asks for, 0 where it does not: one a core then."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() else 0


def first_line(error: Exception) -> str:
    """What a runtime's error says first; the rest is the runtime's own stack."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
