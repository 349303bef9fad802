"""The stages that compute networks: a pre-training step, and a segmentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from vasomim.benchmarks import reference
from vasomim.benchmarks.speed.limits import Work
from vasomim.benchmarks.speed.timing import Stage
from vasomim.benchmarks.speed.work import count_flops
from vasomim.engine.blocks import order_weights
from vasomim.engine.optim import build_optimizer, clip_gradients, parameter_groups
from vasomim.export.frames import synthetic_frames
from vasomim.inference.backends import Backend, Images, open_runtime
from vasomim.inference.torch_backend import TorchBackend
from vasomim.models.registry import create_model
from vasomim.ops.processor import has_bf16_tiles
from vasomim.tasks.pretraining import MaskingPlan, PretrainingTask
from vasomim.types import Progress

SIDE = 224
MIDWAY = Progress(step=50, total_steps=100, epoch=50, total_epochs=100)


@dataclass(frozen=True)
class Sizes:
    """Of a masked autoencoder, and how many frames a step sees."""

    dim: int = 768
    depth: int = 12
    heads: int = 12
    decoder: tuple[int, int, int] = (512, 8, 16)
    """Width, depth, heads."""
    frames: int = 8


SMALL = Sizes(32, 1, 2, (32, 1, 2), 2)


def step(folder: Path, *, quick: bool) -> Stage:  # noqa: ARG001
    """An optimiser step of VasoMIM, and the eager float32 one."""
    return _step(SMALL if quick else Sizes(), torch.float32)


def step_bf16(folder: Path, *, quick: bool) -> Stage:  # noqa: ARG001
    """An optimiser step of VasoMIM, and the eager one under bf16 autocast."""
    return _step(SMALL if quick else Sizes(), torch.bfloat16)


def _step(sizes: Sizes, dtype: torch.dtype) -> Stage:
    task, batch = our_task(sizes), make_batch(sizes.frames)
    there = {name: value.to("meta") for name, value in make_batch(1).items()}
    flops = sizes.frames * count_flops(task, lambda module: module(there, MIDWAY).loss, backward=True)
    name = "float32" if dtype == torch.float32 else "bf16 autocast"
    return Stage(
        ours=our_step(task, batch),
        reference=plain_step(sizes, batch, dtype),
        work=Work(flops=flops),
        units=sizes.frames,
        rounds=2,
        note=f"a frame of a step of {sizes.frames}, width {sizes.dim}, {flops / sizes.frames / 1e9:.1f} GFLOP;"
        f" reference: eager, {name}",
    )


def our_task(sizes: Sizes) -> PretrainingTask:
    """The published objective: gamma 0.5, co-guidance, consistency with UNeXt-S."""
    width, depth, heads = sizes.decoder
    decoder = {"decoder_embed_dim": width, "decoder_depth": depth, "decoder_num_heads": heads}
    encoder = {"embed_dim": sizes.dim, "depth": sizes.depth, "num_heads": sizes.heads}
    mae = create_model("mae_vit_base_patch16", img_size=SIDE, **encoder, **decoder)
    return PretrainingTask(mae, MaskingPlan(), create_model("unext_s")).train()  # type: ignore[arg-type]


def make_batch(frames: int) -> dict[str, Tensor]:
    """Noise in the place of frames and vessels: the time does not depend on what they show."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(frames, 1, SIDE, SIDE, generator=generator)
    index = torch.arange(frames)
    return {"image": image, "vessels": (image[:, 0] > 0.95).float(), "index": index, "epoch": torch.zeros_like(index)}


def our_step(task: PretrainingTask, batch: dict[str, Tensor]) -> Callable[[], object]:
    """A step as the loop takes it on one device."""
    order_weights(task)
    optimizer = build_optimizer(parameter_groups(task, 0.05), lr=1e-6)

    def act() -> None:
        optimizer.zero_grad(set_to_none=True)
        task(batch, MIDWAY).loss.backward()
        clip_gradients(optimizer, None)
        optimizer.step()

    return act


def plain_step(sizes: Sizes, batch: dict[str, Tensor], dtype: torch.dtype) -> Callable[[], object]:
    """The reference's step, under autocast where `dtype` is not float32."""
    model = reference.MaskedAutoencoder(sizes.dim, sizes.depth, sizes.heads, sizes.decoder)
    # The reference puts what the encoder gives between mask tokens, which must then be of the same type.
    model.mask_token.data = model.mask_token.data.to(dtype)
    segmentor = create_model("unext_s").eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, betas=(0.9, 0.95), weight_decay=0.05)

    def act() -> object:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            return reference.pretraining_step(model, segmentor, optimizer, batch["image"], batch["vessels"])

    return act


def infer(folder: Path, *, quick: bool) -> Stage:
    """One frame through a segmentation model by the fastest runtime that is installed, unless asked to be quick."""
    name, side = ("vit_test_unet", 64) if quick else ("vit_small_patch16_unet", 512)
    model = create_model(name, img_size=side).eval()
    frames = [frame[None, None, :side, :side] for frame in synthetic_frames(3)]
    network = TorchBackend(model, "cpu", "fp32")
    backend, how = (network, "torch in fp32") if quick else fastest(network, name, frames, folder)
    image = torch.from_numpy(frames[0])
    return Stage(
        ours=lambda: backend.probabilities(frames[0]),
        reference=lambda: reference.segment(model, image),
        work=Work(flops=count_flops(model, lambda module: module(image.to("meta")))),
        rounds=3 if quick else 9,
        note=f"{name}, one frame of {side} px; {how}; reference: eager float32",
    )


def fastest(network: TorchBackend, name: str, frames: Sequence[Images], folder: Path) -> tuple[Backend, str]:
    """The network in OpenVINO where that is installed, else in torch; and how it is computed.

    In bf16 where the processor has matrix tiles for it; else in int8, which is not exact, so that what is said names
    how far the masks agree.
    """
    if any(find_spec(module) is None for module in ("onnx", "onnxscript", "onnxruntime", "openvino")):
        return network, f"torch in {network.precision}"
    from vasomim.export.folder import write_export  # needs what was just asked for

    config = {"format_version": 1, "kind": "segmentation", "model": name}
    ranges = [] if has_bf16_tiles() else frames[1:]
    facts = write_export(network, config, "", folder / "exported", "openvino", frames[:1], ranges)
    backend = open_runtime("openvino", folder / "exported" / "model.xml", "cpu", "auto")[0]
    agreement = facts["agreement"]["mean_difference"]
    how = f"int8, mean difference {agreement:.2g}" if ranges else backend.precision
    return backend, f"OpenVINO in {how}"
