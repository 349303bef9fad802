"""Every recipe that comes with the package loads and says how it is run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from vasomim.cli.verbs import VERBS
from vasomim.config import (
    OptimConfig,
    PretrainConfig,
    SegmentorConfig,
    idle_settings,
    load_config,
)
from vasomim.config.loading import recipe_names, recipe_text
from vasomim.config.methods import Method
from vasomim.models.sizes import model_names


def verb_of(name: str) -> str:
    first = name.partition("_")[0]
    supervised = {"pseudo", "scratch", "synthetic", "unet"}  # every other name that is no verb is a pre-training method
    return first if first in VERBS else "finetune" if first in supervised else "pretrain"


def test_recipe_names__are_there() -> None:
    assert {"pretrain_laptop", "mae_laptop", "pretrain_published_vit_b", "finetune_laptop"} <= set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_recipe__loads(name: str) -> None:
    load_config(VERBS[verb_of(name)].config, Path(name))


@pytest.mark.parametrize("name", recipe_names())
def test_recipe__first_lines_say_command_hours_and_expected(name: str) -> None:
    command, *others = recipe_text(name).splitlines()[:3]
    assert command.startswith(f"# vasomim {verb_of(name)} ")
    assert command.endswith(f"--config {name}")
    said = " ".join(others).lower()
    assert "hours" in said
    assert "expected" in said


def test_recipe__published_vit_b_is_the_published_one() -> None:
    config = load_config(PretrainConfig, Path("pretrain_published_vit_b"))
    assert config.model == "mae_vit_base_patch16"
    assert config.extraction == "reference"
    assert config.optim == OptimConfig(
        batch_size=2048, epochs=800, base_lr=1.5e-4, warmup=40 / 800, betas=(0.9, 0.95), weight_decay=0.05
    )
    assert (config.masking.mask_ratio, config.masking.eta, config.consistency_weight) == (0.5, 0.5, 1.0)
    assert (config.masking.guidance, config.masking.guided_start, config.masking.guided_end) == ("co", 0.0, 0.5)
    assert (config.crop.scale, config.crop.horizontal_flip, config.img_size) == ((0.2, 1.0), 0.5, 224)


def test_recipe__published_segmentor_is_the_published_one() -> None:
    config = load_config(SegmentorConfig, Path("segmentor_published"))
    assert (config.model, config.extraction, config.img_size) == ("unext_s", "reference", 224)
    assert (config.optim.batch_size, config.optim.epochs, config.optim.lr) == (256, 200, 1e-3)
    assert (config.optim.optimizer, config.optim.schedule) == ("adam", "polynomial")


def test_recipe__mae_differs_from_vasomim_in_guidance_and_consistency_alone() -> None:
    mae, vasomim = (load_config(PretrainConfig, Path(name)) for name in ("mae_laptop", "pretrain_laptop"))
    assert (mae.masking.guidance, mae.consistency_weight) == ("none", 0.0)
    guided = replace(mae.masking, guidance=vasomim.masking.guidance)
    assert replace(mae, masking=guided, consistency_weight=vasomim.consistency_weight) == vasomim


@pytest.mark.parametrize("name", sorted({*get_args(Method), "mae", "vasomim_v1"} - {"vasomim"}))
def test_recipe__of_a_method_has_the_encoder_steps_and_batch_of_vasomim(name: str) -> None:
    ours, other = (load_config(PretrainConfig, Path(recipe)) for recipe in ("pretrain_laptop", f"{name}_laptop"))
    assert other.method == (name if name in get_args(Method) else "vasomim")
    shared = ("model", "optim", "run", "img_size", "holdout", "extraction")
    assert all(getattr(other, part) == getattr(ours, part) for part in shared)


@pytest.mark.parametrize("name", recipe_names())
def test_recipe__changes_nothing_that_has_no_effect(name: str) -> None:
    assert idle_settings(load_config(VERBS[verb_of(name)].config, Path(name))) == []


def test_model_names__are_those_of_the_registry() -> None:
    from vasomim.models.registry import list_models

    assert model_names() == list_models()
