"""Main vessels from labelled frames, the tree from all."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vasomim.build import build_loss
from vasomim.tasks.partial import PartialLabelsTask
from vasomim.types import Progress

START = Progress(0, 1, 0, 1)
LABELLED = (True, False, True, False)


class Given(nn.Module):
    """Logits that were made before."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: Tensor) -> Tensor:  # noqa: ARG002
        return self.logits


def batch() -> dict[str, Tensor]:
    torch.manual_seed(0)
    masks = (torch.rand(2, 4, 8, 8) > 0.7).float()
    return {
        "image": torch.rand(4, 1, 8, 8),
        "mask": masks[0],
        "vessels": masks[1],
        "index": torch.arange(4),
    }


def test_partial_labels__main_vessels_learn_from_labelled_frames_alone() -> None:
    given, loss = batch(), build_loss(dice=1, bce=1)
    model = Given(torch.randn(4, 2, 8, 8))
    out = PartialLabelsTask(model, loss, LABELLED)(given, START)
    out.loss.backward()
    grad = model.logits.grad
    assert grad is not None
    assert not grad[[1, 3], 0].any()
    assert grad[[0, 2], 0].any()
    assert grad[:, 1].any()
    changed = {**given, "mask": torch.where(torch.tensor(LABELLED)[:, None, None], given["mask"], 1.0)}
    torch.testing.assert_close(PartialLabelsTask(model, loss, LABELLED)(changed, START).loss, out.loss)


def test_partial_labels__equals_both_losses_where_all_frames_are_labelled() -> None:
    given, loss = batch(), build_loss(dice=1, bce=1)
    model = Given(torch.randn(4, 2, 8, 8))
    out = PartialLabelsTask(model, loss, (True,) * 4)(given, START)
    main = loss(model.logits[:, :1], given["mask"].unsqueeze(1))
    tree = loss(model.logits[:, 1:], given["vessels"].unsqueeze(1))
    torch.testing.assert_close(out.loss, sum(main.values()) + sum(tree.values()))
    assert set(out.logs) == {"loss", "main_dice", "main_bce", "tree_dice", "tree_bce"}


def test_partial_labels__dice_of_the_main_vessels_is_that_of_the_labelled_frames() -> None:
    given, loss = batch(), build_loss(dice=1, bce=0)
    model = Given(torch.randn(4, 2, 8, 8))
    out = PartialLabelsTask(model, loss, LABELLED)(given, START)
    rows = [0, 2]
    expected = loss(model.logits[rows, :1], given["mask"][rows].unsqueeze(1))["dice"]
    torch.testing.assert_close(out.logs["main_dice"], expected.detach())


def test_partial_labels__no_labelled_frame_in_a_batch_is_no_trouble() -> None:
    given = batch()
    model = Given(torch.randn(4, 2, 8, 8))
    out = PartialLabelsTask(model, build_loss(dice=1, bce=1), (False,) * 4)(given, START)
    assert out.loss.isfinite()
    assert out.logs["main_dice"] == pytest.approx(0, abs=1e-4)
    assert out.logs["main_bce"] == pytest.approx(0, abs=1e-6)


def test_partial_labels__follows_the_index_of_frames() -> None:
    given, loss = batch(), build_loss(dice=1, bce=1)
    model = Given(torch.randn(4, 2, 8, 8))
    far = {**given, "index": torch.tensor([7, 5, 9, 0])}
    labelled = [False] * 10
    labelled[7] = labelled[9] = True
    torch.testing.assert_close(
        PartialLabelsTask(model, loss, labelled)(far, START).loss,
        PartialLabelsTask(model, loss, LABELLED)(given, START).loss,
    )
