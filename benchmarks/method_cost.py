"""What a step costs: of each pre-training method relative to plain MAE, of each segmenter relative to the ViT's.

    python benchmarks/method_cost.py [--rounds 3] > results/method_cost.json
    python benchmarks/method_cost.py --what finetune > results/finetune_cost.json
    python benchmarks/method_cost.py --what unet > results/unet_cost.json  # a U-Net as it might be computed

Recipes, random frames, one thread.

The methods take turns, so that other load on the machine meets all alike. Times are processor time of one optimiser
step (forward, backward, AdamW) on a batch that is already there; cropping further views is not counted. One JSON
object.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vasomim.build import build_finetuning, build_pretraining, build_trainer, build_views
from vasomim.build.running import Length
from vasomim.config import FinetuneConfig, PretrainConfig, load_config
from vasomim.engine.blocks import order_weights
from vasomim.engine.run_folder import git_commit
from vasomim.models.registry import create_model
from vasomim.models.unet import ConvStage
from vasomim.models.weights import save_pretrained
from vasomim.ops.allocator import keep_freed_memory
from vasomim.types import Progress, view_key

RECIPES = {
    "mae": "MAE",
    "vasomim_v1": "VasoMIM v1",
    "pretrain": "VasoMIM v2",
    "simmim": "SimMIM",
    "amt": "AMT",
    "hpm": "HPM",
    "deblur": "Deblurring MAE",
    "crossmae": "CrossMAE",
    "mocov3": "MoCo v3",
    "dino": "DINO",
}
SEGMENTERS = ("finetune_laptop", "unet_half_laptop", "unet_laptop", "finetune_default", "finetune_fast")
MIDWAY = Progress(step=1200, total_steps=2400, epoch=5, total_epochs=10, seed=0)


def make_batch(config: PretrainConfig) -> dict[str, torch.Tensor]:
    """Random frames, vessels and views, of the sizes that the recipe asks for."""
    size, count = config.img_size, config.optim.batch_size
    views = {view_key(n): torch.rand(count, 1, v.size, v.size) for n, v in enumerate(build_views(config), start=1)}
    return {
        "image": torch.rand(count, 1, size, size),
        "vessels": (torch.rand(count, size, size) < 0.05).float(),
        **views,
        "index": torch.arange(count),
        "epoch": torch.zeros(count, dtype=torch.int64),
    }


def stepper(recipe: str, segmentor: Path) -> Callable[[], float]:
    """A function that takes one step of a recipe and says how much processor time it took."""
    overrides = {"segmentor": segmentor} if recipe in ("pretrain", "vasomim_v1") else {}
    config = load_config(PretrainConfig, Path(f"{recipe}_laptop"), overrides)
    task = build_pretraining(config, (0.5, 0.2))
    order_weights(task)
    return step_of(task, config, make_batch(config))


def segmenter_stepper(recipe: str, prepare: Callable[[nn.Module], object] = order_weights) -> Callable[[], float]:
    """As `stepper`, of a fine-tuning from random weights."""
    config = load_config(FinetuneConfig, Path(recipe))
    size, count = config.img_size, config.optim.batch_size
    task = build_finetuning(config, (0.5, 0.2), labelled=(True,) * count)
    prepare(task)
    maps = {name: (torch.rand(count, size, size) < 0.05).float() for name in ("mask", "vessels")}
    batch = {"image": torch.rand(count, 1, size, size), **maps, "index": torch.arange(count)}
    return step_of(task, config, {**batch, "epoch": torch.zeros(count).long()})


def step_of(
    task: nn.Module, config: PretrainConfig | FinetuneConfig, batch: dict[str, torch.Tensor]
) -> Callable[[], float]:
    """A function that takes one step and says how much processor time it took."""
    optimizer, _ = build_trainer(task, config.optim, Length(config.optim.steps or 1, 240.0))

    def step() -> float:
        start = time.process_time()
        optimizer.zero_grad(set_to_none=True)
        task(batch, MIDWAY).loss.backward()
        optimizer.step()
        return time.process_time() - start

    return step


def instance_norms(task: nn.Module) -> nn.Module:
    """The same function by another name: nn.InstanceNorm2d in the place of a GroupNorm of single channels."""
    for stage in [part for part in task.modules() if isinstance(part, ConvStage)]:
        for name, part in stage.named_children():
            if isinstance(part, nn.GroupNorm):
                setattr(stage, name, nn.InstanceNorm2d(part.num_channels, affine=True))
    return task


def channels_last(task: nn.Module) -> nn.Module:
    """As all other networks lie."""
    return task.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


WAYS: dict[str, Callable[[nn.Module], object]] = {
    "as it is": order_weights,
    "InstanceNorm": instance_norms,
    "channels last": channels_last,
    "InstanceNorm, channels last": lambda task: channels_last(instance_norms(task)),
}
"""How the recipe `unet_half_laptop` could be computed; the first is what the others are measured by."""


def steppers(what: str) -> dict[str, Callable[[], float]]:
    """What takes turns, by recipe; the first is what the others are measured by."""
    if what == "unet":
        return {way: segmenter_stepper("unet_half_laptop", prepare) for way, prepare in WAYS.items()}
    if what == "finetune":
        return {recipe: segmenter_stepper(recipe) for recipe in SEGMENTERS}
    with tempfile.TemporaryDirectory() as folder:
        guide = Path(folder) / "segmentor"
        save_pretrained(guide, create_model("unext_s"), {"kind": "segmentor", "model": "unext_s", "kwargs": {}}, "")
        return {recipe: stepper(recipe, guide) for recipe in RECIPES}


def measure(what: str, rounds: int) -> dict[str, object]:
    """Median seconds of a step of each recipe, and relative to the first one's, after one step to warm up."""
    steps = steppers(what)
    seconds: dict[str, list[float]] = {recipe: [] for recipe in steps}
    for number in range(rounds + 1):
        for recipe, step in steps.items():
            taken = step()
            seconds[recipe] += [taken] if number else []
    medians = {recipe: float(np.median(values)) for recipe, values in seconds.items()}
    return {
        "seconds": {recipe: round(value, 3) for recipe, value in medians.items()},
        "relative": {recipe: round(value / medians[next(iter(steps))], 2) for recipe, value in medians.items()},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--what", choices=("pretrain", "finetune", "unet"), default="pretrain")
    arguments = parser.parse_args()
    rounds, what = arguments.rounds, arguments.what
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()  # as training has it
    facts = {
        "command": f"python benchmarks/method_cost.py --what {what} --rounds {rounds}",
        "git": git_commit(),
        "torch": torch.__version__,
        "cpu": platform.processor() or platform.machine(),
    }
    print(json.dumps({**facts, **measure(what, rounds)}, indent=2))


if __name__ == "__main__":
    main()
