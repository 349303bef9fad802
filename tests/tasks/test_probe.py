"""The vessel probe against features whose R^2 is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from vasomim.ops.patches import patch_sums
from vasomim.tasks.probe import vessel_probe

PATCH = 8


def maps(seed: int, count: int = 6) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    vessels = (torch.rand(count, 32, 32, generator=generator) > 0.8).float()
    vessels *= torch.rand(count, 4, 4, generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2).round()
    return [(vessels[:, None], vessels)]


def shares(images: Tensor) -> Tensor:
    return patch_sums(images[:, 0], PATCH)[..., None]


def test_vessel_probe__is_one_where_tokens_hold_the_share() -> None:
    assert vessel_probe(shares, maps(0), maps(1), PATCH) == pytest.approx(1, abs=1e-3)


def test_vessel_probe__is_about_zero_where_tokens_hold_nothing() -> None:
    def blind(images: Tensor) -> Tensor:
        return torch.ones_like(shares(images))

    assert vessel_probe(blind, maps(0), maps(1), PATCH) == pytest.approx(0, abs=0.1)


def test_vessel_probe__does_not_depend_on_how_frames_are_batched() -> None:
    def split(pairs: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        return [(i[k : k + 2], v[k : k + 2]) for i, v in pairs for k in range(0, len(i), 2)]

    def noisy(images: Tensor) -> Tensor:
        return torch.cat([shares(images), images[:, :, ::8, ::8].flatten(1)[..., None]], dim=2)

    whole = vessel_probe(noisy, maps(0), maps(1), PATCH)
    assert vessel_probe(noisy, split(maps(0)), split(maps(1)), PATCH) == pytest.approx(whole, abs=1e-9)


def test_vessel_probe__without_vessels_is_zero() -> None:
    empty = [(torch.rand(2, 1, 32, 32), torch.zeros(2, 32, 32))]
    assert vessel_probe(shares, empty, empty, PATCH) == 0.0


def test_vessel_probe__says_that_frames_are_missing() -> None:
    with pytest.raises(ValueError, match="no frames"):
        vessel_probe(shares, [], maps(1), PATCH)
