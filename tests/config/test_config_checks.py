"""Settings keep their rules however they are made, and say all that is broken at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vasomim.config import (
    BenchmarkMethodsConfig,
    DemoConfig,
    DoctorConfig,
    EvaluateConfig,
    FinetuneConfig,
    OptimConfig,
    PretrainConfig,
    RunConfig,
    SynthesizeConfig,
)
from vasomim.errors import ConfigError


@pytest.mark.parametrize(
    ("make", "mistakes"),
    [
        (
            lambda: OptimConfig(
                steps=1,
                lr=-1,
                base_lr=0,
                min_lr=-1,
                betas=(2, 2),
                weight_decay=-1,
                layer_decay=0,
                clip_grad=-1,
                ema=2.0,
            ),
            [
                "lr must be at least 0, got -1",
                "base_lr must be above 0, got 0",
                "min_lr must be at least 0, got -1",
                "betas must lie in [0, 1), got (2, 2)",
                "weight_decay must be at least 0, got -1",
                "layer_decay must lie in (0, 1], got 0",
                "clip_grad must be above 0, got -1",
                "ema must lie in [0, 1), got 2.0",
            ],
        ),
        (
            lambda: SynthesizeConfig(cine=-1, seed=-1, workers=-1),
            [f"{name} must be at least 0, got -1" for name in ("seed", "cine", "workers")],
        ),
        (lambda: RunConfig(seed=-1), ["seed must be at least 0, got -1"]),
        (lambda: RunConfig(seed=1 << 63), ["seed must be below 2^63, got 9223372036854775808"]),
        (lambda: DemoConfig(seed=-2), ["seed must be at least 0, got -2"]),
        (lambda: BenchmarkMethodsConfig(seeds=(1, -3)), ["seeds must be at least 0, got -3"]),
        (lambda: DoctorConfig(workers=-3), ["workers must be at least 0, got -3"]),
        (
            lambda: EvaluateConfig(
                weights="a",
                predictions=Path("b"),
                threshold=0.3,
                output="main",
                flip=True,
                device="cpu",
                precision="fp32",
                backend="torch",
                size=0,
                batch_size=0,
            ),
            [
                "give either weights or predictions, not both",
                *(
                    f"{name} has no effect on predictions, which are masks already; leave it out"
                    for name in ("threshold", "output", "flip", "device", "precision", "backend")
                ),
                "size must be at least 1, got 0",
                "batch_size must be at least 1, got 0",
            ],
        ),
        (
            lambda: PretrainConfig(img_size=100),
            ["img_size must be a multiple of 16 px, the patches of mae_vit_tiny_patch16, got 100; take 96 or 112"],
        ),
        (lambda: FinetuneConfig(img_size=0), ["img_size must be at least 1, got 0"]),
        (lambda: DemoConfig(minutes=0), ["minutes must be above 0, got 0"]),
        (
            lambda: PretrainConfig(decoder_embed_dim=0, decoder_depth=-1),
            ["decoder_embed_dim must be at least 1, got 0", "decoder_depth must be at least 0, got -1"],
        ),
        (
            lambda: FinetuneConfig(img_size=20, stride=2),
            ["img_size must be a multiple of 32 px, the patches of vit_tiny_patch16_unet, got 20; take 32"],
        ),
    ],
)
def test_settings__broken_rules_are_said_together(make: Callable[[], object], mistakes: list[str]) -> None:
    with pytest.raises(ConfigError) as problem:
        make()
    assert str(problem.value).splitlines() == mistakes


def test_settings__rules_let_through_what_works() -> None:
    OptimConfig(epochs=1, lr=1e-3, betas=(0.0, 0.999), weight_decay=0, clip_grad=1.0, ema=0.0)
    FinetuneConfig(model="unext_s", img_size=100)
    FinetuneConfig(img_size=48, model="vit_test_unet", stride=2)
    EvaluateConfig(weights="default", threshold=0.4)
