"""The pre-training task: what must hold whatever the weights are."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from vasomim.losses import reconstruction_loss
from vasomim.models.mae import MaskedAutoencoder
from vasomim.models.registry import create_model
from vasomim.ops.masking import num_hidden, random_mask, share_at_epoch
from vasomim.ops.noise import counter_uniform
from vasomim.ops.patches import normalize_patches, patchify
from vasomim.tasks.frozen import FrozenSegmentor
from vasomim.tasks.pretraining import MaskingPlan, PretrainingTask
from vasomim.types import Progress

SIZE, PATCH, FRAMES = 64, 8, 3
PATCHES = (SIZE // PATCH) ** 2
MIDWAY = Progress(step=5, total_steps=10, epoch=1, total_epochs=4, seed=3)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    vessels = torch.zeros(FRAMES, SIZE, SIZE)
    vessels[:, 20:23, 4:60] = 1
    return {
        "image": torch.rand(FRAMES, 1, SIZE, SIZE, generator=generator),
        "vessels": vessels,
        "index": torch.tensor([4, 7, 9]),
        "epoch": torch.tensor([1, 1, 1]),
    }


def make_task(guidance: str = "co", consistency_weight: float = 1.0, **more: object) -> PretrainingTask:
    torch.manual_seed(1)
    mae = create_model("mae_vit_test", img_size=SIZE)
    assert isinstance(mae, MaskedAutoencoder)
    segmentor = create_model("unext_test") if guidance == "co" or consistency_weight else None
    plan = MaskingPlan(guidance=guidance, guided_start=0.2, guided_end=0.8)  # type: ignore[arg-type]
    return PretrainingTask(mae, plan, segmentor, consistency_weight=consistency_weight, **more)  # type: ignore[arg-type]


def test_pretraining_task__is_plain_mae_to_the_bit_without_guidance_and_consistency(batch: dict[str, Tensor]) -> None:
    task = make_task("none", 0.0)
    noise = counter_uniform(MIDWAY.seed, batch["epoch"], batch["index"], 2 * PATCHES).unflatten(1, (2, PATCHES))
    mask = random_mask(FRAMES, PATCHES, 0.5, noise=noise[:, 1])
    targets, _, _ = normalize_patches(patchify(task.mae.input_norm(batch["image"]), PATCH))
    plain = reconstruction_loss(task.mae(batch["image"], mask), targets, mask)
    out = task(batch, MIDWAY)
    assert torch.equal(out.loss, plain)
    assert set(out.logs) == {"loss", "reconstruction"}


def test_pretraining_task__needs_no_vessels_without_guidance(batch: dict[str, Tensor]) -> None:
    del batch["vessels"]
    assert torch.isfinite(make_task("none", 0.0)(batch, MIDWAY).loss)


@pytest.mark.parametrize("guidance", ["none", "anatomy", "co"])
def test_draw_mask__hides_the_same_number_in_every_row(batch: dict[str, Tensor], guidance: str) -> None:
    task = make_task(guidance)
    mask = task.draw_mask(batch, task._segment(batch["image"]), MIDWAY)
    assert mask.shape == (FRAMES, PATCHES)
    assert mask.sum(1).tolist() == [num_hidden(PATCHES, 0.5)] * FRAMES


def test_draw_mask__does_not_depend_on_the_rest_of_the_batch(batch: dict[str, Tensor]) -> None:
    task = make_task("anatomy", 0.0)
    whole = task.draw_mask(batch, None, MIDWAY)
    alone = task.draw_mask({name: value[1:2] for name, value in batch.items()}, None, MIDWAY)
    assert torch.equal(whole[1:2], alone)


def test_draw_mask__hides_vessel_patches_more_and_more(batch: dict[str, Tensor]) -> None:
    task = make_task("anatomy", 0.0)
    task.plan = MaskingPlan(guidance="anatomy", guided_start=0.0, guided_end=0.25)
    vessel = batch["vessels"].unflatten(2, (-1, PATCH)).unflatten(1, (-1, PATCH)).amax((2, 4)).flatten(1).bool()
    shares = []
    for epoch in range(4):
        hits = []
        for seed in range(40):
            mask = task.draw_mask(batch, None, Progress(0, 1, epoch, 4, seed))
            hits.append(mask[vessel].float().mean())
        shares.append(float(torch.stack(hits).mean()))
    assert vessel.sum(1).tolist() == [8] * FRAMES
    assert shares == sorted(set(shares))
    assert shares[-1] == 1.0  # a quarter of the 32 hidden patches is guided


def test_guidance_map__mixes_anatomy_and_segmentor_as_in_v2(batch: dict[str, Tensor]) -> None:
    task = make_task("co")
    seen = task._segment(batch["image"])
    assert seen is not None
    expected = 0.5 * batch["vessels"] + 0.5 * torch.sigmoid(task.segmentor.net(batch["image"]))[:, 0]  # type: ignore[union-attr,operator]
    torch.testing.assert_close(task.guidance_map(batch, seen), expected)


def test_reconstruct__gives_the_frame_back_from_perfect_predictions(
    batch: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task()
    targets, _, _ = normalize_patches(patchify(task.mae.input_norm(batch["image"]), PATCH))
    monkeypatch.setattr(task.mae, "forward", lambda *_: targets)
    decoded = task.reconstruct(batch["image"], torch.zeros(FRAMES, PATCHES, dtype=torch.bool))
    torch.testing.assert_close(decoded.images, batch["image"], atol=1e-5, rtol=0)


def test_pretraining_task__consistency_of_a_perfect_reconstruction_is_the_entropy_of_the_target(
    batch: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task()
    targets, _, _ = normalize_patches(patchify(task.mae.input_norm(batch["image"]), PATCH))
    monkeypatch.setattr(task.mae, "forward", lambda *_: targets.requires_grad_())
    out = task(batch, MIDWAY)
    p = task.segmentor(batch["image"]).sigmoid()  # type: ignore[misc]
    entropy = -(p * p.log() + (1 - p) * (1 - p).log()).mean()
    torch.testing.assert_close(out.logs["consistency"], entropy, atol=1e-4, rtol=0)
    assert float(out.logs["reconstruction"]) < 1e-8


def test_pretraining_task__loss_is_the_weighted_sum(batch: dict[str, Tensor]) -> None:
    out = make_task(consistency_weight=0.3)(batch, MIDWAY)
    assert math.isclose(
        out.loss.item(), out.logs["reconstruction"].item() + 0.3 * out.logs["consistency"].item(), rel_tol=1e-6
    )


@pytest.mark.parametrize("norm_pix_loss", [True, False])
def test_pretraining_task__frozen_segmentor_never_changes(batch: dict[str, Tensor], norm_pix_loss: bool) -> None:
    task = make_task(norm_pix_loss=norm_pix_loss)
    before = {name: value.clone() for name, value in task.segmentor.state_dict().items()}  # type: ignore[union-attr]
    optimizer = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    for _ in range(3):
        task.train()
        optimizer.zero_grad()
        task(batch, MIDWAY).loss.backward()
        optimizer.step()
    after = task.segmentor.state_dict()  # type: ignore[union-attr]
    assert not any(module.training for module in task.segmentor.modules())  # type: ignore[union-attr]
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(value, after[name]), name


def test_frozen_segmentor__lets_gradients_through_to_the_image() -> None:
    frozen = FrozenSegmentor(create_model("unext_test"))
    images = torch.rand(1, 1, 32, 32, requires_grad=True)
    frozen(images).sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0
    assert all(p.grad is None for p in frozen.parameters())


def test_pretraining_task__consistency_trains_the_autoencoder(batch: dict[str, Tensor]) -> None:
    grads = []
    for weight in (0.0, 1.0):
        task = make_task("anatomy", consistency_weight=weight)
        task(batch, MIDWAY).loss.backward()
        grads.append(task.mae.decoder_pred.weight.grad.clone())  # type: ignore[union-attr]
    assert not torch.equal(grads[0], grads[1])


def test_inspect__shows_guidance_and_masks_of_training_in_mixed_precision(batch: dict[str, Tensor]) -> None:
    task = make_task("co")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        seen = task.segmentor(batch["image"]).float()  # type: ignore[misc]
        shown = task.inspect(batch, MIDWAY)
    assert torch.equal(shown.maps["guidance"], task.guidance_map(batch, seen))
    assert torch.equal(shown.hidden, task.draw_mask(batch, seen, MIDWAY))  # type: ignore[arg-type]


def test_inspect__leaves_a_segmentor_without_effect_alone(batch: dict[str, Tensor]) -> None:
    plan = MaskingPlan(guidance="anatomy")
    mae = make_task("anatomy", 0.0).mae
    task = PretrainingTask(mae, plan, nn.Linear(1, 1), consistency_weight=0.0)  # which takes no frames
    assert torch.equal(task.inspect(batch, MIDWAY).maps["guidance"], batch["vessels"])


def test_pretraining_task__says_that_a_segmentor_is_missing() -> None:
    mae = create_model("mae_vit_test", img_size=SIZE)
    assert isinstance(mae, MaskedAutoencoder)
    with pytest.raises(ValueError, match="segmentor"):
        PretrainingTask(mae, MaskingPlan(guidance="co"), None, consistency_weight=0.0)


def test_schedule__reaches_its_end_in_the_last_epoch(batch: dict[str, Tensor]) -> None:
    shares: list[float] = []

    def noting(guidance: Tensor, *, guided_fraction: float, **_: object) -> Tensor:
        shares.append(guided_fraction)
        return torch.zeros(len(guidance), PATCHES, dtype=torch.bool)

    task = make_task("anatomy", 0.0, masker=noting)
    for epoch in range(4):
        task.draw_mask(batch, None, replace(MIDWAY, epoch=epoch))
    assert shares == [share_at_epoch(epoch, 4, 0.2, 0.8) for epoch in range(4)]
    assert shares[-1] == 0.8


@pytest.mark.parametrize("guidance", ["none", "anatomy"])
def test_pretraining_task__takes_another_masker_and_another_loss(batch: dict[str, Tensor], guidance: str) -> None:
    given: list[Tensor] = []

    def first_patches(guidance: Tensor, *, mask_ratio: float, **others: object) -> Tensor:
        given.append(guidance)
        assert set(others) == {"patch_size", "guided_fraction", "noise"}
        return (torch.arange(PATCHES) < num_hidden(PATCHES, mask_ratio)).expand(len(guidance), -1)

    task = make_task(guidance, 0.0, masker=first_patches, loss=lambda pred, target, mask: (pred - target)[mask].sum())
    out = task(batch, MIDWAY)
    mask = task.inspect(batch, MIDWAY).hidden
    assert mask is not None
    assert mask[:, : PATCHES // 2].all()
    assert not mask[:, PATCHES // 2 :].any()
    assert torch.equal(given[0], batch["vessels"] * (guidance == "anatomy"))
    seen = task.reconstruct(batch["image"], mask)
    assert torch.equal(out.loss, (seen.predictions - seen.targets)[mask].sum())
