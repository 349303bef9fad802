"""Learning rates against closed forms."""

from __future__ import annotations

import math

import pytest

from vasomim.engine.schedules import cosine, cosine_schedule, epoch_of, polynomial, polynomial_schedule


def test_cosine__warms_up_and_falls():
    rate = cosine_schedule(110, 10, peak=2.0, final=0.2)
    assert [rate(step) for step in range(10)] == pytest.approx([0.2 * k for k in range(1, 11)])
    assert rate(10) == 2.0
    assert rate(60) == pytest.approx(1.1), "halfway"
    assert rate(35) == pytest.approx(0.2 + 0.9 * (1 + math.cos(math.pi / 4)))
    assert rate(110) == rate(1000) == pytest.approx(0.2)


def test_cosine__falls_in_every_step():
    rates = [cosine(step, 50, 5, 1.0) for step in range(5, 51)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.0, abs=1e-12)


def test_cosine__without_warm_up_starts_at_the_peak():
    assert cosine(0, 10, 0, 3.0) == 3.0
    assert cosine(0, 1, 1, 3.0) == 3.0


@pytest.mark.parametrize("warmup", [-1, 11])
def test_cosine_schedule__refuses_a_bad_warm_up(warmup):
    with pytest.raises(ValueError, match="warmup_steps"):
        cosine_schedule(10, warmup, 1.0)


def test_polynomial__is_the_closed_form():
    assert [polynomial(e, 200, 1e-3) for e in (0, 50, 199)] == pytest.approx(
        [1e-3, 1e-3 * 0.75**0.9, 1e-3 * 0.005**0.9]
    )
    assert polynomial(200, 200, 1.0) == polynomial(300, 200, 1.0) == 0.0


def test_polynomial_schedule__changes_between_epochs_only():
    rate = polynomial_schedule(2.5, 4, peak=1.0)
    epochs = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
    assert [rate(step) for step in range(10)] == pytest.approx([(1 - e / 4) ** 0.9 for e in epochs])


@pytest.mark.parametrize(("per_epoch", "epochs"), [(0, 1), (2.0, 0)])
def test_polynomial_schedule__refuses_an_empty_run(per_epoch, epochs):
    with pytest.raises(ValueError, match="must be positive"):
        polynomial_schedule(per_epoch, epochs, 1.0)


@pytest.mark.parametrize(("frames", "batch"), [(3951, 32), (3, 10), (7, 3), (1, 1), (1000, 7)])
def test_epoch_of__counts_whole_epochs_exactly(frames, batch):
    for step in range(0, 3 * frames, max(1, frames // 50)):
        assert epoch_of(step, frames / batch) == step * batch // frames
    assert epoch_of(frames, frames / batch) == batch
