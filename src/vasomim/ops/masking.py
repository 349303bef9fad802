"""Which patches are hidden from the encoder. B batch, L patches; a mask is bool (B, L), True = hidden.

Anatomy-guided masking of VasoMIM (Huang et al., AAAI 2026, arXiv 2508.10794): part of the hidden patches is drawn in
proportion to the vessel they hold, the rest uniformly. Nothing here loops over the batch or waits for the device.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vasomim.ops.patches import patch_sums

_SMALLEST = torch.finfo(torch.float32).tiny
_LARGEST = 1.0 - 2.0**-24  # the float32 below 1


def num_hidden(num_patches: int, mask_ratio: float) -> int:
    """Hidden patches of an image: N - floor(N (1 - gamma)), in floats as published.

    Raises:
        ValueError: if `mask_ratio` is not in [0, 1).
    """
    if not 0 <= mask_ratio < 1:
        raise ValueError(f"mask_ratio must lie in [0, 1), got {mask_ratio}")
    return num_patches - math.floor(num_patches * (1 - mask_ratio))


def share_at_epoch(epoch: int, total_epochs: int, start: float, end: float) -> float:
    """Guided share of the hidden patches, weak to strong: beta_0 + (e/E)(beta_E - beta_0) with e = epoch + 1.

    `epoch` counts completed epochs from 0, so the last epoch gets `end`, up to rounding.

    Raises:
        ValueError: if `epoch` is not in [0, total_epochs).
    """
    if not 0 <= epoch < total_epochs:
        raise ValueError(f"epoch must lie in [0, {total_epochs}), got {epoch}")
    return start + (epoch + 1) / total_epochs * (end - start)


def _noise(batch_size: int, num_patches: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """(B, 2, L): one row for guided, one for random patches; both maskers draw both, so that they stay in step."""
    return torch.rand(batch_size, 2, num_patches, generator=generator, device=device)


def hide_lowest(keys: Tensor, count: int) -> Tensor:
    """True at the `count` lowest keys of each row, the first of equal ones: (B, L) -> bool (B, L).

    What a stable sort would choose, on every device, for a third of its time. NaN counts as infinite.
    """
    keys = keys.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
    if count == 0:
        return torch.zeros_like(keys, dtype=torch.bool)
    limit = keys.topk(count, dim=1, largest=False, sorted=False).values.amax(1, keepdim=True)
    below, tied = keys < limit, keys == limit
    room = count - below.sum(1, keepdim=True)
    return below | (tied & (tied.cumsum(1) <= room))


def _check_noise(noise: Tensor, shape: tuple[int, ...]) -> None:
    if noise.shape != shape:
        raise ValueError(f"noise must have shape {shape}, got {tuple(noise.shape)}")


def random_mask(
    batch_size: int,
    num_patches: int,
    mask_ratio: float,
    generator: torch.Generator | None = None,
    noise: Tensor | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Hide patches uniformly at random: -> bool (B, L), True = hidden, the same count in every row.

    Args:
        batch_size: B.
        num_patches: L.
        mask_ratio: gamma in [0, 1), the share of patches hidden.
        generator: Source of randomness, on `device`; the global one by default.
        noise: (B, L) in (0, 1) to use instead; the lowest values are hidden.
        device: Where to make the mask; that of `noise`, then that of `generator`, if not given.

    Raises:
        ValueError: if the ratio or the shape of the noise is wrong.
    """
    hidden = num_hidden(num_patches, mask_ratio)
    if noise is None:
        place = torch.device(device) if device is not None else generator.device if generator else torch.device("cpu")
        noise = _noise(batch_size, num_patches, generator, place)[:, 1]
    _check_noise(noise, (batch_size, num_patches))
    return hide_lowest(noise, hidden)


def draw_in_proportion(weights: Tensor, noise: Tensor, count: int) -> Tensor:
    """Draw at most `count` patches per row without replacement, in proportion to weights: (B, L) -> bool (B, L).

    Sampling without replacement equals taking the top of log(weight) + Gumbel noise (Yellott 1977; Kool et al., ICML
    2019). A row with fewer positive weights than `count` gives those only.
    """
    uniform = noise.float().clamp(_SMALLEST, _LARGEST)
    positive = weights > 0
    scores = weights.log() - (-uniform.log()).log()
    return hide_lowest(torch.where(positive, -scores, torch.inf), count) & positive


def guided_mask(
    guidance: Tensor,
    patch_size: int,
    mask_ratio: float,
    guided_fraction: float,
    generator: torch.Generator | None = None,
    noise: Tensor | None = None,
) -> Tensor:
    """Hide patches, some of them where the vessels are: (B, H, W) -> bool (B, L), True = hidden.

    Every row hides N - floor(N (1 - gamma)) patches. floor(beta * hidden) of them, or as many as hold any guidance, are
    drawn without replacement with probability proportional to their share of the guidance; the others uniformly from
    those left. With `guided_fraction` 0 the mask equals `random_mask` to the bit.

    Args:
        guidance: (B, H, W), >= 0 (values that are not > 0, NaN included, count as no guidance); bool or float.
        patch_size: Side of a patch; H and W are multiples of it.
        mask_ratio: gamma in [0, 1), the share of patches hidden.
        guided_fraction: beta in [0, 1], the guided share of the hidden patches.
        generator: Source of randomness, on the device of `guidance`; the global one by default.
        noise: (B, 2, L) in (0, 1) to use instead: [:, 0] for the guided, [:, 1] for the random patches.

    Raises:
        ValueError: if a share is out of range, a shape does not fit, or `guidance` is no tensor.
    """
    if not isinstance(guidance, Tensor) or guidance.ndim != 3:
        got = f"{type(guidance).__name__} of shape {tuple(getattr(guidance, 'shape', ()))}"
        raise ValueError(f"guidance must be a tensor (B, H, W), got {got}; stack frames, or take torch.from_numpy")
    if not 0 <= guided_fraction <= 1:
        raise ValueError(f"guided_fraction must lie in [0, 1], got {guided_fraction}")
    weights = patch_sums(guidance, patch_size)  # (B, L); normalising would only shift all logarithms alike
    batch_size, num_patches = weights.shape
    hidden = num_hidden(num_patches, mask_ratio)
    if noise is None:
        noise = _noise(batch_size, num_patches, generator, guidance.device)
    _check_noise(noise, (batch_size, 2, num_patches))
    guided = draw_in_proportion(weights, noise[:, 0], math.floor(guided_fraction * hidden))
    return hide_lowest(torch.where(guided, -1.0, noise[:, 1]), hidden)  # guided first, then at random
