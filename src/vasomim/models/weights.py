"""Weights on disk: safetensors with a config and a card; foreign files are read, never unpickled.

An export folder holds model.safetensors, config.json and README.md; a run folder holds one such folder as export/.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vasomim.errors import CheckpointError, MisuseError
from vasomim.models.matching import MatchReport, adapt_state
from vasomim.models.norm import InputNorm
from vasomim.models.registry import VITS, create_model, encoder_arguments
from vasomim.models.vit import VisionTransformer

__all__ = [
    "KINDS",
    "MatchReport",
    "adapt_state",
    "load_encoder",
    "load_pretrained",
    "load_weights",
    "read_config",
    "read_state_dict",
    "save_pretrained",
]

FORMAT_VERSION = 1
KINDS = ("segmentation", "encoder", "mae", "segmentor")
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
Format = Literal["auto", "vasomim", "timm", "mae"]


def find_weights(path: Path | str) -> Path:
    """The weight file meant by a run folder, an export folder or a file.

    Raises:
        MisuseError: if nothing is there.
        CheckpointError: if a folder holds no exported weights.
    """
    path = Path(path)
    if path.is_file():
        return path
    if not path.is_dir():
        raise MisuseError(f"{path} does not exist; give a run folder, an export folder or a weight file")
    for file in (path / "export" / WEIGHTS, path / WEIGHTS):
        if file.is_file():
            return file
    unfinished = " (the run has not finished: resume it first)" if (path / "checkpoints").is_dir() else ""
    raise CheckpointError(f"{path} holds neither export/{WEIGHTS} nor {WEIGHTS}{unfinished}")


def _read_tensors(file: Path) -> Any:
    """What a weight file holds, told by its first bytes: suffixes lie."""
    with file.open("rb") as stream:
        head = stream.read(16)
    if not head:
        raise CheckpointError(f"{file} is empty; download or export it again")
    if head.lstrip().startswith(b"<"):
        raise CheckpointError(
            f"{file} is a web page, not weights; the download went wrong (a login page?): fetch it again"
        )
    if head.startswith(b"version https"):
        raise CheckpointError(f"{file} is a git-lfs pointer, not weights; run `git lfs pull`")
    try:
        if head[8:9] == b"{":
            return load_file(file)
        # Namespaces are plain attribute bags that MAE-like scripts store beside their weights.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; what cannot be read raises
            with file.open("rb") as stream:  # given a path, torch would go by its suffix
                return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file} is damaged or holds Python objects besides tensors, which we never run; download it again or save "
            "its state dict alone"
        ) from error
    except Exception as error:  # a damaged file can make the readers stumble over anything, IndexError included
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{file} is corrupt or no weight file: {line}; download or export it again") from error


def read_state_dict(path: Path | str) -> dict[str, Tensor]:
    """Tensors by name from a run folder, an export folder, a safetensors file or a .pt / .pth file.

    Nested checkpoints ({"model": ...}, {"state_dict": ...}) are unwrapped; nothing is ever unpickled but tensors and
    plain numbers.

    Raises:
        MisuseError: if the path does not exist.
        CheckpointError: if the file is corrupt, truncated, a web page, or holds no tensors.
    """
    file = find_weights(path)
    content = _read_tensors(file)
    for _ in range(4):
        if not isinstance(content, Mapping):
            break
        tensors = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
        if tensors:
            return tensors
        names = ("model", "state_dict", "model_state_dict", "module", "encoder", "teacher", "student")
        content = next((content[n] for n in names if isinstance(content.get(n), Mapping)), None)
    raise CheckpointError(f"{file} holds no tensors by name; give a state dict or a checkpoint with one")


def read_config(path: Path | str) -> dict[str, Any]:
    """The checked config.json beside exported weights.

    Raises:
        MisuseError: if the path does not exist.
        CheckpointError: if it is missing, not JSON, incomplete, or from a newer version.
    """
    file = find_weights(path).with_name(CONFIG)
    if not file.is_file():
        raise CheckpointError(
            f"{file} is missing: weights need their {CONFIG} beside them; give the whole export folder"
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{file} is not valid JSON ({error}); export the weights again") from error
    _check_config(config, file)
    return dict(config)


def _check_config(config: Any, where: Path) -> None:
    if not isinstance(config, dict) or not isinstance(config.get("model"), str):
        raise CheckpointError(f"{where} names no model; it needs format_version, kind, model and kwargs")
    version = config.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CheckpointError(
            f"{where} has format_version {version!r}, this vasomim reads up to {FORMAT_VERSION}; upgrade it"
        )
    if config.get("kind") not in KINDS:
        raise CheckpointError(f"{where} has kind {config.get('kind')!r}, which must be one of {', '.join(KINDS)}")
    if not isinstance(config.get("kwargs", {}), dict):
        raise CheckpointError(f"{where}: kwargs must be a mapping, got {config['kwargs']!r}")


def _load_strictly(model: nn.Module, state: Mapping[str, Tensor], where: Path) -> None:
    """Every name and every shape must agree; says which do not."""
    target = model.state_dict()
    wrong = [f"{n} is missing" for n in target if n not in state]
    wrong += [f"{n} is unknown" for n in state if n not in target]
    wrong += [
        f"{n} has shape {tuple(state[n].shape)}, not {tuple(t.shape)}"
        for n, t in target.items()
        if n in state and state[n].shape != t.shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise CheckpointError(
            f"{where} does not fit its {CONFIG}: {'; '.join(wrong[:3])}{more}; export the weights again"
        )
    model.load_state_dict(dict(state))


def load_pretrained(path: Path | str) -> tuple[nn.Module, dict[str, Any]]:
    """A model with its weights, in evaluation mode and float32 on the CPU, and its config.

    Args:
        path: Run folder, export folder, or the .safetensors file inside it.

    Raises:
        MisuseError: if the path does not exist.
        CheckpointError: if weights or config are corrupt or do not fit each other.
    """
    file = find_weights(path)
    config = read_config(file)
    try:
        model = create_model(config["model"], **config.get("kwargs", {}))
    except MisuseError as error:
        raise CheckpointError(f"{file.with_name(CONFIG)}: {error}") from error
    _load_strictly(model, read_state_dict(file), file)
    if isinstance(model, VisionTransformer) and "mean" in config and "std" in config:
        model.input_norm = InputNorm(config["mean"], config["std"], persistent=False)
    return model.eval(), config


def load_weights(model: nn.Module, path: Path | str) -> MatchReport:
    """Start a model from any weights that fit its encoder, in place; the report says what was used.

    Raises:
        MisuseError: if the path does not exist.
        CheckpointError: if the file is corrupt or of another architecture.
    """
    adapted, report = adapt_state(model, read_state_dict(path))
    model.load_state_dict(adapted, strict=False)
    return report


def _sync(path: Path) -> None:
    """Wait until a file or folder has reached the disk (folders where the system can)."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stored(model: nn.Module, dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Tensors to write: parameters in `dtype`, buffers (running variances) as they are."""
    parameters = {name for name, _ in model.named_parameters()}
    return {
        name: value.detach().to("cpu", dtype if name in parameters else None).clone().contiguous()
        for name, value in model.state_dict().items()
    }


def _described(model: nn.Module, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with version and statistics filled in, checked before anything is written."""
    norm = getattr(model, "input_norm", None)
    statistics = {"mean": float(norm.mean), "std": float(norm.std)} if isinstance(norm, InputNorm) else {}
    full = {"format_version": FORMAT_VERSION, **statistics, **config}
    _check_config(full, Path(CONFIG))
    return full


def save_pretrained(
    folder: Path | str, model: nn.Module, config: Mapping[str, Any], card: str, dtype: torch.dtype | None = None
) -> None:
    """Write an export folder, all of it or nothing: model.safetensors, config.json, README.md.

    Args:
        folder: Where to; an older export there is replaced.
        model: The model; an encoder, an MAE, a segmentor or a segmentation model.
        config: `kind` (one of `KINDS`), `model` (its registry name), `kwargs` (for `create_model`) and free metadata.
        card: The model card, Markdown: what it is, intended use, metrics.
        dtype: Store parameters in this type, such as `torch.float16`; as they are by default.

    Raises:
        CheckpointError: if the config is incomplete or the folder cannot be written.
    """
    folder = Path(folder)
    text = json.dumps(_described(model, config), indent=2, sort_keys=True)
    fresh, old = (folder.with_name(f".{folder.name}.{word}-{os.getpid()}") for word in ("new", "old"))
    try:
        fresh.mkdir(parents=True)
        save_file(_stored(model, dtype), fresh / WEIGHTS, metadata={"format": "pt"})
        (fresh / CONFIG).write_text(text + "\n", encoding="utf-8")
        (fresh / CARD).write_text(card, encoding="utf-8")
        for path in (*fresh.iterdir(), fresh):
            _sync(path)
        # A folder cannot be renamed over another: the old one steps aside and goes once the new one stands.
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
        _sync(folder.parent)
    except (OSError, SafetensorError) as error:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise CheckpointError(f"cannot write {folder}: {error}; nothing was changed there") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _guess_encoder(state: Mapping[str, Tensor], path: Path | str) -> tuple[str, dict[str, Any]]:
    """Registry name and patch size of a foreign ViT, from the shapes of its tensors."""
    kernel = next((v for k, v in state.items() if k.endswith("patch_embed.proj.weight") and v.ndim == 4), None)
    found = f"its first keys are {', '.join(list(state)[:5])}"
    if kernel is None:
        raise CheckpointError(f"{path} holds no ViT (no patch_embed.proj.weight); {found}")
    blocks = {k.split("blocks.")[1].split(".")[0] for k in state if "blocks." in k and "decoder" not in k}
    sizes = (kernel.shape[0], len(blocks))
    for name, size in VITS.items():
        if (size["embed_dim"], size["depth"]) == sizes:
            return name, {"patch_size": kernel.shape[-1]}
    raise CheckpointError(
        f"{path} holds a ViT of width {sizes[0]} and {sizes[1]} blocks, which is none we have; {found}"
    )


def _format_of(path: Path | str, state: Mapping[str, Tensor]) -> str:
    if find_weights(path).with_name(CONFIG).is_file():
        return "vasomim"
    return "mae" if any("decoder_embed." in key for key in state) else "timm"


def load_encoder(
    path: Path | str,
    format: Format = "auto",  # noqa: A002 (a public name)
    model: str | None = None,
    in_chans: int | None = None,
    img_size: int | None = None,
    patch_size: int | None = None,
) -> VisionTransformer:
    """The pre-trained ViT of any of our exports, or of a file with timm or MAE keys, in evaluation mode.

    Our encoders take images in [0, 1]: their normalisation comes along as `input_norm`. Foreign files state no
    statistics; images then have to be normalised as those weights expect.

    Args:
        path: Run folder, export folder or weight file.
        format: `vasomim`, `timm`, `mae`, or `auto` to find out.
        model: Registry name of the ViT; by default the one the file was made for.
        in_chans: Image channels; by default as in our file, 1 for a foreign one.
        img_size: Side the positions are made for; by default as in our file, 224 for a foreign one.
        patch_size: Patch side; by default as in the file.

    Raises:
        MisuseError: if the path does not exist, or the model's name is unknown.
        CheckpointError: if the file is corrupt, of another format or architecture, or holds no ViT.
    """
    state = read_state_dict(path)
    found = _format_of(path, state)
    if format not in ("auto", found):
        raise CheckpointError(f"{path} has format {found}, not {format}; leave the format at auto")
    config = read_config(path) if found == "vasomim" else {}
    if config:
        name, kwargs = encoder_arguments(config["model"], config.get("kwargs", {}))
    else:
        name, kwargs = _guess_encoder(state, path)
    if model is not None:  # its own sizes, not those of the file
        name, kwargs = model, {key: kwargs[key] for key in ("in_chans", "img_size") if key in kwargs}
    asked = {"in_chans": in_chans, "img_size": img_size, "patch_size": patch_size}
    encoder = create_model(name, **{**kwargs, **{key: value for key, value in asked.items() if value is not None}})
    if not isinstance(encoder, VisionTransformer):
        raise MisuseError(f"{model} is no bare ViT; choose one of {', '.join(VITS)}")
    adapted, _ = adapt_state(encoder, state)
    encoder.load_state_dict(adapted, strict=False)
    if "mean" in config and "std" in config:
        encoder.input_norm = InputNorm(config["mean"], config["std"], persistent=False)
    return encoder.eval()
