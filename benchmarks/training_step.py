"""VasoMIM's optimiser step: what it computes, what it keeps in memory, and what each way of computing it costs.

    python benchmarks/training_step.py count --out results/training_step_count.json
    python benchmarks/training_step.py speed --out results/training_step_speed.json

`count`: floating-point operations of a frame forward and backward (torch.utils.flop_counter, a multiplication and an
addition count as two), the bytes kept for the backward pass with and without forgetting activations, and those of
weights, gradients and moments. On tensors without memory, so that any model can be counted anywhere.

`speed`: the step of one process and one thread as it is, and beside it with one thing as it was or might be, taking
turns. Times are medians of processor time, which other load disturbs less than the clock; what counts is their ratio.
Beside them a matrix product of the size of an encoder's, for the share of the arithmetic's own rate.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vasomim.benchmarks.speed.networks import MIDWAY, make_batch
from vasomim.benchmarks.speed.work import bytes_kept, count_flops
from vasomim.engine import optim
from vasomim.engine.blocks import checkpoint_activations, compile_blocks
from vasomim.models import unext
from vasomim.models.registry import create_model
from vasomim.models.vit import Attention
from vasomim.ops.allocator import keep_freed_memory
from vasomim.tasks.pretraining import MaskingPlan, PretrainingTask

SIZE = 224
COUNTED = {
    "ViT-Ti/16, decoder 128 x 2": ("mae_vit_tiny_patch16", (128, 2, 4)),
    "ViT-Ti/16, decoder 192 x 4": ("mae_vit_tiny_patch16", (192, 4, 6)),
    "ViT-S/16, decoder 256 x 4": ("mae_vit_small_patch16", (256, 4, 8)),
    "ViT-B/16, decoder 512 x 8": ("mae_vit_base_patch16", (512, 8, 16)),
    "ViT-L/16, decoder 512 x 8": ("mae_vit_large_patch16", (512, 8, 16)),
    "ViT-H/14, decoder 512 x 8": ("mae_vit_huge_patch14", (512, 8, 16)),
}
TIMED = {"mae_vit_tiny_patch16": 16, "mae_vit_base_patch16": 8}
"""Model and frames a step."""


def make_task(model: str, decoder: tuple[int, int, int] | None = None, *, plain: bool = False) -> PretrainingTask:
    """The published objective: gamma 0.5, co-guidance, consistency with UNeXt-S; `plain` is MAE."""
    sizes = dict(zip(("decoder_embed_dim", "decoder_depth", "decoder_num_heads"), decoder or (), strict=False))
    torch.manual_seed(0)
    mae = create_model(model, img_size=SIZE, **sizes)
    if plain:
        return PretrainingTask(mae, MaskingPlan(guidance="none"), consistency_weight=0.0).train()
    return PretrainingTask(mae, MaskingPlan(), create_model("unext_s")).train()


def operations(task: nn.Module) -> float:
    """Floating-point operations of one frame, forward and backward."""
    batch = {name: value.to("meta") for name, value in make_batch(1).items()}
    return count_flops(task, lambda module: module(batch, MIDWAY).loss, backward=True)


def kept(task: nn.Module) -> int:
    """Bytes that the forward pass of one frame keeps for the backward pass, weights left out."""
    frames = 4  # what does not grow with them would else look like a frame's
    return bytes_kept(task, lambda: task(make_batch(frames), MIDWAY)) // frames


def count() -> dict[str, object]:
    """A row for each model."""
    rows: dict[str, object] = {}
    for name, (model, decoder) in COUNTED.items():
        task = make_task(model, decoder)
        trained = sum(weight.numel() for weight in task.parameters() if weight.requires_grad)
        forgetful = copy.deepcopy(task)
        checkpoint_activations(forgetful)
        rows[name] = {
            "gflop_a_frame": round(operations(task) / 1e9, 2),
            "gflop_a_frame_plain_mae": round(operations(make_task(model, decoder, plain=True)) / 1e9, 2),
            "trained_parameters_million": round(trained / 1e6, 1),
            "mib_weights_gradients_moments": round(16 * trained / 2**20),
            "mib_kept_a_frame": round(kept(task) / 2**20, 1),
            "mib_kept_a_frame_checkpointed": round(kept(forgetful) / 2**20, 1),
        }
        print(name, rows[name], flush=True)
    return rows


def attention_permuted(self: Attention, x: Tensor) -> Tensor:
    """As it was: queries, keys and values brought to the front, whose gradients are then copied twice."""
    b, n, d = x.shape
    q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d))


def attention_by_products(self: Attention, x: Tensor) -> Tensor:
    """By the book: scores, softmax, mixture, each a tensor."""
    b, n, d = x.shape
    q, k, v = (part.transpose(1, 2) for part in self.qkv(x).reshape(b, n, 3, self.num_heads, -1).unbind(2))
    weights = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(-1)
    return self.proj((weights @ v).transpose(1, 2).reshape(b, n, d))


def clip_by_an_infinite_bound(optimizer: torch.optim.Optimizer, max_norm: float | None) -> Tensor:  # noqa: ARG001
    """As it was: without a bound every gradient is multiplied by 1."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    return torch.nn.utils.clip_grad_norm_(weights, float("inf"))


@dataclass(frozen=True)
class Way:
    """How to compute a step, where it differs from how we do."""

    replace: tuple[Any, str, Any] | None = None
    """Object, attribute and what stands there instead."""
    prepare: Callable[[nn.Module], object] = nn.Module.train
    """Called with the task, once."""
    fused: bool = True


WAYS = {
    "the same": Way(),
    "queries, keys, values permuted": Way((Attention, "forward", attention_permuted)),
    "attention by matrix products": Way((Attention, "forward", attention_by_products)),
    "BatchNorm of the segmentor not folded": Way((unext, "conv_norm", lambda x, conv, norm: norm(conv(x)))),
    "gradients multiplied by 1": Way((optim, "clip_gradients", clip_by_an_infinite_bound)),
    "AdamW tensor by tensor (foreach)": Way(fused=False),
    "channels first": Way(prepare=lambda task: task.to(memory_format=torch.contiguous_format)),
    "activations computed again": Way(prepare=checkpoint_activations),
    "blocks compiled": Way(prepare=compile_blocks),
}


def step_of(way: Way, model: str, frames: int) -> Callable[[], None]:
    """One optimiser step, computed in that way."""
    task = make_task(model).to(memory_format=torch.channels_last)
    way.prepare(task)
    optimizer = optim.build_optimizer(optim.parameter_groups(task, 0.05), lr=1e-6, fused=way.fused)
    batch = make_batch(frames)

    def step() -> None:
        with patch.object(*way.replace) if way.replace else nullcontext():
            optimizer.zero_grad(set_to_none=True)
            task(batch, MIDWAY).loss.backward()
            optim.clip_gradients(optimizer, None)
            optimizer.step()

    return step


def product() -> Callable[[], object]:
    """A product of 1568 tokens with the weights of ViT-B's first perceptron layer; 7.4 GFLOP."""
    x, weight = torch.rand(1568, 768), torch.rand(768, 3072)
    return lambda: torch.mm(x, weight)


PRODUCT = 2 * 1568 * 768 * 3072
"""Its floating-point operations."""


def speed(rounds: int) -> dict[str, object]:
    """Times that each way takes of ours beside it, milliseconds of ours a frame, and the rate of the arithmetic."""
    rows: dict[str, object] = {}
    for model, frames in TIMED.items():
        ours, ratios = [], {}
        for name, way in WAYS.items():
            beside = take_turns(step_of(Way(), model, frames), step_of(way, model, frames), rounds)
            ours += [one for one, _ in beside]
            ratios[name] = round(statistics.median(other / one for one, other in beside), 3)
            print(model, name, ratios[name], flush=True)
        products = take_turns(step_of(Way(), model, frames), product(), rounds)
        seconds = statistics.median(ours) / frames
        product_seconds = statistics.median(other for _, other in products)
        whole = operations(make_task(model))
        rows[model] = {
            "frames": frames,
            "ms_a_frame": round(1000 * seconds, 2),
            "times_ours": ratios,
            "gflop_a_second": round(whole / seconds / 1e9, 1),
            "gflop_a_second_of_the_product": round(PRODUCT / product_seconds / 1e9, 1),
        }
        print(json.dumps(rows[model], indent=1), flush=True)
    return rows


def take_turns(one: Callable[[], object], other: Callable[[], object], rounds: int) -> list[tuple[float, float]]:
    """Seconds of processor time of both, in turns; the first two rounds warm up. Two at a time, for their memory."""
    times = [(processor_time(one), processor_time(other)) for _ in range(rounds + 2)]
    return times[2:]


def processor_time(act: Callable[[], object]) -> float:
    """Seconds that this process computed."""
    began = time.process_time()
    act()
    return time.process_time() - began


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("count", "speed"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    results = count() if arguments.what == "count" else speed(arguments.rounds)
    hardware = (
        f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, one thread, torch {torch.__version__}"
    )
    record = {
        "command": f"python benchmarks/training_step.py {arguments.what}",
        "hardware": hardware,
        "results": results,
    }
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
