"""Flags are made from the settings: short where unambiguous, in full always, and checked by the loader."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from vasomim.cli.flags import parse
from vasomim.cli.verbs import VERBS
from vasomim.config import EvaluateConfig, FinetuneConfig, InfoConfig, PredictConfig, PretrainConfig, load_config
from vasomim.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Left:
    """One section."""

    size: int = 1
    """Shared name."""
    only_left: bool = True
    """Own name."""


@dataclass(frozen=True, kw_only=True)
class Right:
    """Another section."""

    size: int = 2
    """Shared name."""


@dataclass(frozen=True, kw_only=True)
class Twins:
    """Two sections that share a name."""

    left: Left = field(default_factory=Left)
    right: Right = field(default_factory=Right)
    kind: Literal["a", "b"] = "a"
    """A choice."""


def settings(cls: type[Any], *arguments: str) -> Any:
    invocation = parse(cls, arguments, "prog")
    return load_config(cls, invocation.recipe, invocation.overrides)


def test_parse__nothing_given_is_the_default() -> None:
    invocation = parse(PretrainConfig, [], "prog")
    assert (invocation.recipe, invocation.overrides, invocation.json, invocation.verbose) == (None, {}, False, False)


@pytest.mark.parametrize("verb", VERBS)
def test_parse__every_verb_takes_the_shared_flags(verb: str) -> None:
    invocation = parse(VERBS[verb].config, ["--config", "x.yaml", "--json", "-v"], "prog")
    assert (invocation.recipe, invocation.overrides, invocation.json, invocation.verbose) == (
        Path("x.yaml"),
        {},
        True,
        True,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        "--steps 100 --batch-size 8 --mask-ratio 0.6 --device cpu --seed 3",
        "--optim.steps 100 --optim.batch-size 8 --masking.mask-ratio 0.6 --run.device cpu --run.seed 3",
        "--optim.steps=100 --optim.batch_size=8 --mask_ratio=0.6 --device=cpu --run.seed=3",
    ],
)
def test_parse__short_full_and_underscored_spellings_are_the_same(arguments: str) -> None:
    config = settings(PretrainConfig, *arguments.split())
    assert (config.optim.steps, config.optim.batch_size, config.masking.mask_ratio) == (100, 8, 0.6)
    assert (config.run.device, config.run.seed) == ("cpu", 3)


def test_parse__inputs_positional_or_as_data_or_both() -> None:
    for arguments in (["a", "b", "c"], ["--data", "a", "b", "--data", "c"], ["a", "--data", "b", "c"]):
        assert settings(FinetuneConfig, *arguments).inputs == (Path("a"), Path("b"), Path("c"))


def test_parse__inputs_may_follow_flags() -> None:
    config = settings(FinetuneConfig, "--out", "run", "--labels", "0.1", "a", "b")
    assert (config.inputs, config.out, config.labels) == ((Path("a"), Path("b")), Path("run"), "0.1")


def test_parse__switches_pairs_and_none() -> None:
    config = settings(PredictConfig, "a", "--no-overlays", "--probability", "--threshold", "none")
    assert (config.overlays, config.probability, config.threshold) == (False, True, None)


@pytest.mark.parametrize(("given", "flip"), [([], None), (["--flip"], True), (["--no-flip"], False)])
def test_parse__a_switch_that_may_be_left_to_the_weights(given: list[str], flip: bool | None) -> None:
    assert settings(PredictConfig, "a", *given).flip is flip
    assert settings(EvaluateConfig, "a", *given).flip is flip


def test_parse__several_values() -> None:
    config = settings(FinetuneConfig, "a", "--val", "v", "w", "--scale", "0.3", "0.9")
    assert (config.val, config.crop.scale) == ((Path("v"), Path("w")), (0.3, 0.9))


def test_parse__negative_number_is_a_value() -> None:
    with pytest.raises(ConfigError, match=r"consistency_weight must be at least 0, got -1\.0"):
        settings(PretrainConfig, "a", "--consistency-weight", "-1")


def test_parse__flags_win_over_the_recipe_and_epochs_over_its_steps() -> None:
    config = settings(PretrainConfig, "a", "--config", "pretrain_laptop", "--epochs", "2", "--lr", "1e-3")
    assert (config.optim.steps, config.optim.epochs, config.optim.lr) == (None, 2, 1e-3)


def test_parse__values_of_flags_and_recipe_are_reported_together(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("model: vit\n")
    with pytest.raises(ConfigError, match=r"(?s)3 mistakes in .*got 'non'.*got 'x'.*got vit"):
        settings(PretrainConfig, "a", "--config", str(recipe), "--steps", "x", "--guidance", "non")


def test_parse__ambiguous_names_are_spelled_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    config = settings(Twins, "--right.size", "7", "--no-only-left")
    assert (config.left, config.right) == (Left(only_left=False), Right(size=7))
    assert settings(Twins, "--left.no-only-left") == settings(Twins, "--no-only-left")
    with pytest.raises(SystemExit) as stop:
        parse(Twins, ["--size", "7"], "prog")
    assert stop.value.code == 2
    assert "--right.size" in capsys.readouterr().err


def test_parse__unknown_flag_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(PretrainConfig, ["a", "--stps", "3"], "prog")
    assert stop.value.code == 2
    shown = capsys.readouterr()
    assert "--steps" in shown.err
    assert shown.out == ""


def test_parse__help_shows_docstrings_choices_and_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(PretrainConfig, ["--help"], "vasomim pretrain")
    assert stop.value.code == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--guidance {none,anatomy,co}" in shown
    assert "share of patches hidden from the encoder. (default: 0.5)" in shown
    assert "--steps INT|none Optimiser steps; give either steps or epochs. (default: 2600)" in shown
    assert "--norm-pix-loss, --no-norm-pix-loss" in shown


@pytest.mark.parametrize("spelling", [["--config", "pretrain_published_vit_b"], ["--config=pretrain_published_vit_b"]])
def test_parse__help_shows_the_defaults_of_a_recipe(spelling: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(PretrainConfig, [*spelling, "--help"], "vasomim pretrain")
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "(default: 800)" in shown
    assert "mae_vit_base_patch16" in shown


def test_parse__a_verb_without_inputs_takes_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(InfoConfig, ["something"], "prog")
    assert stop.value.code == 2
    assert "something" in capsys.readouterr().err
