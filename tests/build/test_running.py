"""How long a run is, in steps and in epochs."""

from __future__ import annotations

import pytest

from vasomim.build import build_length, build_schedule, build_settings
from vasomim.config import OptimConfig, RunConfig
from vasomim.ops.masking import share_at_epoch

FRAMES = 3951


def optim(**more: object) -> OptimConfig:
    return OptimConfig(batch_size=16, lr=1.0, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("epochs", [1, 2, 7, 800])
def test_build_length__holds_the_epochs_asked_for(epochs: int) -> None:
    length = build_length(optim(steps=None, epochs=epochs), FRAMES)
    assert length.epochs == epochs
    assert 0 <= length.steps - epochs * FRAMES / 16 < 1, "the last frames make a whole step"


@pytest.mark.parametrize("epochs", [1, 2, 7])
def test_build_settings__the_last_epoch_has_the_guided_share_of_the_end(epochs: int) -> None:
    config = optim(steps=None, epochs=epochs)
    settings = build_settings(config, RunConfig(), build_length(config, FRAMES))
    for step in (settings.total_steps - 1, settings.total_steps):
        progress = settings.progress(step)
        assert share_at_epoch(progress.epoch, progress.total_epochs, 0.0, 0.5) == 0.5


def test_build_schedule__polynomial_counts_the_epochs_asked_for() -> None:
    config = optim(steps=None, epochs=2, schedule="polynomial")
    schedule = build_schedule(config, build_length(config, FRAMES))
    assert [schedule(step) for step in (0, 493)] == pytest.approx([1.0, 0.5**0.9])


@pytest.mark.parametrize(("steps", "epochs"), [(1, 1), (246, 1), (247, 2), (740, 3), (741, 4)])
def test_build_length__runs_given_in_steps_count_the_epochs_they_begin(steps: int, epochs: int) -> None:
    config = optim(steps=steps)
    length = build_length(config, FRAMES)
    assert (length.steps, length.epochs) == (steps, epochs)
    assert build_settings(config, RunConfig(), length).progress(0).total_epochs == epochs
