"""A setting that has no effect in a run is named."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_args

import pytest

from vasomim.config import (
    FinetuneConfig,
    MaskingConfig,
    OptimConfig,
    PretrainConfig,
    SegmentorConfig,
    TreeConfig,
    idle_settings,
    load_config,
)
from vasomim.config.idle import USED_BY
from vasomim.config.methods import DINOConfig, HPMConfig, Method, PrototypeConfig

METHODS = get_args(Method)


@pytest.mark.parametrize("method", METHODS)
def test_idle_in_pretraining__says_nothing_of_defaults(method: str) -> None:
    assert idle_settings(PretrainConfig(method=method)) == []  # type: ignore[arg-type]


def test_idle_in_pretraining__names_the_setting_of_another_method() -> None:
    config = PretrainConfig(method="simmim", dino=DINOConfig(local_crops=2), hpm=HPMConfig(momentum=0.5))
    assert idle_settings(config) == [
        "hpm.momentum has no effect: method is simmim",
        "dino.local_crops has no effect: method is simmim",
    ]


@pytest.mark.parametrize("method", METHODS)
def test_idle_in_pretraining__a_changed_schedule_matters_to_vasomim_and_hpm_alone(method: str) -> None:
    config = PretrainConfig(method=method, masking=MaskingConfig(guided_end=0.3))  # type: ignore[arg-type]
    expected = [] if method in ("vasomim", "hpm") else [f"masking.guided_end has no effect: method is {method}"]
    assert idle_settings(config) == expected


def test_idle_in_pretraining__what_plain_mae_leaves_idle() -> None:
    config = PretrainConfig(
        segmentor=Path("s"), masking=MaskingConfig(guidance="none", eta=0.2, guided_end=0.1), consistency_weight=0
    )
    lines = idle_settings(config)
    assert [line.split()[0] for line in lines] == ["segmentor", "masking.eta", "masking.guided_end"]


def test_idle_in_pretraining__a_temperature_without_weight() -> None:
    prototypes = PrototypeConfig(temperature=0.5)
    assert idle_settings(PretrainConfig(prototypes=prototypes)) == [
        "prototypes.temperature has no effect: prototypes.weight is 0"
    ]


def test_idle_in_pretraining__names_the_average_that_dino_does_not_export() -> None:
    optim = OptimConfig(steps=10, ema=0.99)
    assert idle_settings(PretrainConfig(method="dino", optim=optim)) == ["optim.ema has no effect: method is dino"]
    assert idle_settings(PretrainConfig(method="mae", optim=optim)) == []


def test_idle_in_pretraining__says_nothing_of_a_method_of_ones_own() -> None:
    assert idle_settings(PretrainConfig(method="own", dino=DINOConfig(local_crops=2))) == []  # type: ignore[arg-type]


def test_used_by__every_section_of_one_method_is_listed() -> None:
    sections = {item.name for item in fields(PretrainConfig) if is_dataclass(getattr(PretrainConfig(), item.name))}
    assert sections - {"crop", "masking", "optim", "run", "dicom"} <= USED_BY.keys()
    assert {method for users in USED_BY.values() for method in users} == set(METHODS)


def test_idle_in_finetuning__what_a_convolutional_model_has_no_use_for() -> None:
    assert idle_settings(FinetuneConfig(model="unet_plain")) == []
    optim = OptimConfig(steps=1, layer_decay=0.5)
    lines = idle_settings(FinetuneConfig(model="unet_plain", drop_path_rate=0.3, optim=optim))
    assert lines == [f"{name} has no effect: unet_plain has no ViT" for name in ("drop_path_rate", "optim.layer_decay")]
    lines = idle_settings(FinetuneConfig(vessels=Path("v"), rasteriser="coco"))
    assert lines == ["rasteriser has no effect: the masks are extracted"]


def test_idle_in_finetuning__what_tiles_and_trees_have_no_use_for() -> None:
    assert idle_settings(FinetuneConfig(frame_size=512)) == []
    lines = idle_settings(FinetuneConfig(frame_size=512, inference="tile"))
    assert lines == ["frame_size has no effect: inference is `tile`"]
    lines = idle_settings(FinetuneConfig(tree=TreeConfig(learn=True, share=0.2)))
    assert lines == ["tree.share has no effect: there are neither tree.unlabelled nor tree.drawn"]
    assert idle_settings(FinetuneConfig(tree=TreeConfig(learn=True, share=0.2, drawn=(Path("d"),)))) == []


@pytest.mark.parametrize("cls", [SegmentorConfig, PretrainConfig, FinetuneConfig])
def test_idle_settings__what_schedule_and_optimiser_have_no_use_for(cls: type) -> None:
    optim = {"schedule": "polynomial", "optimizer": "adam", "warmup": 0.2, "min_lr": 1e-6, "weight_decay": 0.1}
    assert idle_settings(load_config(cls, None, {"optim": optim})) == [
        "optim.warmup has no effect: schedule is `polynomial`",
        "optim.min_lr has no effect: schedule is `polynomial`",
        "optim.weight_decay has no effect: optimizer is `adam`",
    ]
    assert idle_settings(load_config(cls, None, {"optim": {**optim, "schedule": "cosine", "optimizer": "adamw"}})) == []


def test_idle_settings__what_given_vessels_and_frames_leave_idle() -> None:
    for cls in (SegmentorConfig, PretrainConfig):
        lines = idle_settings(cls(vessels=Path("v"), extraction="reference"))
        assert lines == ["extraction has no effect: vessels are given"]
    assert idle_settings(FinetuneConfig(val=(Path("v"),))) == []
    assert idle_settings(FinetuneConfig(val=(Path("v"),), holdout=0.2)) == ["holdout has no effect: val is given"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"method": "amt", "masking.mask_ratio": 0.6}, "add up to less than 1"),
        ({"prototypes.weight": 0.1, "masking.guidance": "none"}, "prototypes.weight above 0 needs"),
        ({"method": "mocov3", "optim.batch_size": 4, "optim.accumulate": 4}, "mocov3 compares frames"),
        ({"method": "dino", "run.strategy": "fsdp"}, "dino needs whole weights on each device"),
        ({"method": "mea"}, "one of vasomim, simmim"),
        ({"dino.local_scale": [0.5, 0.4]}, "local_scale must satisfy"),
        ({"mocov3.temperature": 0}, "temperature must be above 0"),
    ],
)
def test_load_config__refuses_what_a_method_cannot_do(overrides: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load_config(PretrainConfig, None, overrides)
