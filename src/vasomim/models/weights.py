"""Our weights on disk, safetensors with a config and a card, and models from these or from foreign files.

An export folder holds model.safetensors, config.json and README.md; a run folder holds one such folder as export/.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from vasomim.errors import CheckpointError, MisuseError, WriteError, first_few
from vasomim.files import whole_folder
from vasomim.models.architecture import EncoderFacts, decoder_measures, encoder_facts
from vasomim.models.config_check import check_is, misfits, seen_measures
from vasomim.models.input_norm import InputNorm
from vasomim.models.layouts import Layout, layout_of, to_timm
from vasomim.models.mae import MaskedAutoencoder
from vasomim.models.matching import MatchReport, adapt_state, check_finite
from vasomim.models.registry import create_model, encoder_arguments
from vasomim.models.sizes import VITS
from vasomim.models.trained_on import TRAINED_ON, list_text
from vasomim.models.vit import VisionTransformer
from vasomim.models.weight_files import CARD, CONFIG, WEIGHTS, find_weights, read_json_beside, read_state_dict

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
Format = Literal["auto", "vasomim"] | Layout


def is_ours(path: Path | str) -> bool:
    """Whether a config.json of ours lies beside the weights: other libraries write files of that name, too.

    Raises:
        MisuseError, CheckpointError: as `find_weights`; or the config is no JSON.
    """
    file = find_weights(path)
    theirs = {"model_type", "architecture", "architectures"}  # what transformers and timm say of a model
    return file.with_name(CONFIG).is_file() and theirs.isdisjoint(read_json_beside(file))


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
    config = read_json_beside(file)
    _check_config(config, file)
    return config


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
    wrong = misfits(model.state_dict(), state)
    if wrong:
        shown = first_few(wrong, 3, between="; ")
        raise CheckpointError(f"{where} does not fit its {CONFIG}: {shown}; export the weights again")
    check_finite(state)
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

    A model that normalises its images (`input_norm`) takes over the statistics that the weights were trained with,
    where the file or our config beside it says them; those of a bare ViT stay with whoever feeds it.

    Args:
        model: Any of ours.
        path: As `load_encoder` takes it.

    Raises:
        MisuseError: if the path does not exist.
        CheckpointError: if the file is corrupt or of another architecture.
    """
    state = read_state_dict(path)
    try:
        adapted, report = adapt_state(model, state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}{_made_for(path)}: {error}") from error
    model.load_state_dict(adapted, strict=False)
    norm = getattr(model, "input_norm", None)
    if isinstance(norm, InputNorm) and "input_norm.mean" in report.missing and is_ours(path):
        config = read_json_beside(find_weights(path))  # our bare encoders hold timm's tensors alone
        norm.set(config.get("mean", float(norm.mean)), config.get("std", float(norm.std)))
    return report


def _made_for(path: Path | str) -> str:
    """Which model our weights are of, in words; nothing of others."""
    model = read_json_beside(find_weights(path)).get("model")
    return f" holds a {model}" if isinstance(model, str) else ""


def _stored(model: nn.Module, dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Tensors to write: parameters in `dtype`, buffers (running variances) as they are."""
    parameters = {name for name, _ in model.named_parameters()}
    return {
        name: value.detach().to("cpu", dtype if name in parameters else None)
        for name, value in model.state_dict().items()
    }


def _described(model: nn.Module, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with version, statistics and image size filled in, checked before anything is written."""
    norm = getattr(model, "input_norm", None)
    statistics = {"mean": float(norm.mean), "std": float(norm.std)} if isinstance(norm, InputNorm) else {}
    full = {"format_version": FORMAT_VERSION, **statistics, **config}
    _check_config(full, Path(CONFIG))
    full["kwargs"] = {**seen_measures(model), **full.get("kwargs", {})}
    check_is(model, full["model"], full["kwargs"])
    return full


def save_pretrained(
    folder: Path | str,
    model: nn.Module,
    config: Mapping[str, Any],
    card: str,
    dtype: torch.dtype | None = None,
    trained_on: Collection[str] = (),
) -> None:
    """Write an export folder, all of it or nothing: model.safetensors, config.json, README.md.

    Args:
        folder: Where to; an older export there is replaced.
        model: The model; an encoder, an MAE, a segmentor or a segmentation model.
        config: `kind` (one of `KINDS`), `model` (its registry name), `kwargs` (for `create_model`; image size and
            channels are filled in where a ViT shows them) and free metadata.
        card: The model card, Markdown: what it is, intended use, metrics.
        dtype: Store parameters in this type, such as `torch.float16`; as they are by default.
        trained_on: Hashes of the labelled frames that it was fitted to, for trained_on.txt; none writes no such file.

    Raises:
        MisuseError: if there is no model of that name, or it does not take such arguments.
        CheckpointError: if the config is incomplete or describes another model, or the folder cannot be written.
    """
    texts = {CONFIG: json.dumps(_described(model, config), indent=2, sort_keys=True) + "\n", CARD: card}
    if trained_on:
        texts[TRAINED_ON] = list_text(trained_on)
    write_weights_folder(folder, _stored(model, dtype), texts)


def write_weights_folder(folder: Path | str, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> None:
    """Write model.safetensors and text files into a folder, all of it or nothing; an older folder is replaced.

    Raises:
        CheckpointError: if it cannot be written; what was there is untouched.
    """
    try:
        with whole_folder(Path(folder), replace=True) as stage:
            # Views of one tensor, such as the thirds of query, key and value, would share its storage.
            whole = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
            save_file(whole, stage / WEIGHTS, metadata={"format": "pt"})
            for name, text in texts.items():
                (stage / name).write_text(text, encoding="utf-8")
    except WriteError as error:
        raise CheckpointError(f"{error}; nothing was changed there") from error
    except SafetensorError as error:  # hides the system's error
        raise CheckpointError(f"cannot write {folder}: {error}; nothing was changed there") from error


def _is_foreign(path: Path | str, state: Mapping[str, Tensor], asked: str) -> bool:
    """Whether a file is of another project, after comparing its format with the one asked for."""
    found = "vasomim" if is_ours(path) else layout_of(state)
    if asked not in ("auto", found):
        raise CheckpointError(f"{path} has format {found}, not {asked}; leave the format at auto")
    return found != "vasomim"


def foreign_facts(path: Path | str, state: Mapping[str, Tensor]) -> EncoderFacts:
    """The ViT in a file of another project, which must be of a size we have.

    Raises:
        CheckpointError: if it is none of ours.
    """
    facts = encoder_facts(state, read_json_beside(find_weights(path)), str(path))
    if facts.model is None:
        raise CheckpointError(
            f"{path} holds a ViT of width {facts.embed_dim} and {facts.depth} blocks, which is none we have; its first "
            f"keys are {', '.join(list(state)[:5])}"
        )
    return facts


def load_encoder(
    path: Path | str,
    format: Format = "auto",  # noqa: A002 (a public name)
    model: str | None = None,
    in_chans: int | None = None,
    img_size: int | None = None,
    patch_size: int | None = None,
) -> VisionTransformer:
    """The pre-trained ViT of any of our exports, or of a file of another project, in evaluation mode.

    Read are the key layouts of timm, MAE, DINO and DINOv2 (registers and layer scales included), and of Hugging Face's
    ViT, ViTMAE and DINOv2, as safetensors or as files of torch.save that hold nothing but tensors and plain numbers.

    Our encoders take images in [0, 1]: their normalisation comes along as `input_norm`. Images for foreign weights have
    to be normalised as those weights expect.

    Args:
        path: `encoder`, `default` or another name of the package's weights, or a run folder, export folder, Hugging
            Face folder or weight file.
        format: `vasomim`, a layout (`timm`, `mae`, `dino`, `hf-vit`, `hf-vitmae`, `hf-dinov2`), or `auto` to find out.
        model: Registry name of the ViT; by default the one the file was made for.
        in_chans: Image channels; by default as in our file, 1 for a foreign one.
        img_size: Side the positions are made for; by default as in our file, 224 for a foreign one.
        patch_size: Patch side; by default as in the file.

    Raises:
        MisuseError: if the path does not exist, or the model's name is unknown.
        CheckpointError: if the file is corrupt, of another format or architecture, holds no ViT, or holds NaN.
    """
    state = read_state_dict(path)
    config: dict[str, Any] = {}
    if _is_foreign(path, state, format):
        facts = foreign_facts(path, state)
        name, kwargs = str(facts.model), facts.arguments()
    else:
        config = read_config(path)
        name, kwargs = encoder_arguments(config["model"], config.get("kwargs", {}))
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


def load_autoencoder(path: Path | str) -> MaskedAutoencoder:
    """The whole masked autoencoder of one of our exports or of a file of MAE's or ViTMAE's, in evaluation mode.

    Channels, patch and image size are those of the file; a foreign one's images have to be normalised as it expects,
    so its own `input_norm` is mean 0 and deviation 1.

    Raises:
        MisuseError: if the path does not exist.
        CheckpointError: if the file is corrupt, or holds no autoencoder or one without all of its decoder.
    """
    if is_ours(path):
        model, config = load_pretrained(path)
        if not isinstance(model, MaskedAutoencoder):
            raise CheckpointError(f"{path} holds a model of kind {config['kind']}, not a masked autoencoder")
        return model
    state = read_state_dict(path)
    facts, decoder = foreign_facts(path, state), decoder_measures(state, read_json_beside(find_weights(path)))
    if decoder is None:
        raise CheckpointError(f"{path} holds an encoder without decoder; choose the weights of a masked autoencoder")
    sizes = {"in_chans": facts.in_chans, "img_size": facts.img_size, "mean": 0.0, "std": 1.0}
    model = create_model(f"mae_{facts.model}", **{**facts.arguments(), **sizes, **decoder})
    adapted, report = adapt_state(model, state)
    lost = [name for name in report.missing if not name.startswith("input_norm.")]
    if lost:
        raise CheckpointError(f"{path} lacks {len(lost)} tensors of its autoencoder, {lost[0]} for one; it is damaged")
    model.load_state_dict(adapted, strict=False)
    assert isinstance(model, MaskedAutoencoder)
    _check_decoder_positions(model, to_timm(state).state.get("decoder_pos_embed"), path)
    return model.eval()


def _check_decoder_positions(model: MaskedAutoencoder, stored: Tensor | None, path: Path | str) -> None:
    """Ours are MAE's sine-cosine positions by construction; a file with others would compute something else."""
    if stored is None or stored.shape[1:] != (model.decoder_positions.shape[1] + 1, model.decoder_positions.shape[2]):
        return
    wanted = torch.cat([torch.zeros_like(stored[:, :1]), model.decoder_positions.to(stored.dtype)], dim=1)
    if not torch.allclose(stored, wanted, atol=1e-3):
        raise CheckpointError(
            f"{path}: the positions of the decoder are not MAE's sine and cosine, which ours always are; take the "
            "encoder alone"
        )
