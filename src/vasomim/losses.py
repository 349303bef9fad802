"""Training losses. B batch, L patches, P = p*p*C values a patch, K classes; logits unbounded, targets in [0, 1]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def _full(x: Tensor) -> Tensor:
    """At least float32: sums over millions of pixels do not survive half precision."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16, torch.bool) else x


def _check_shapes(pred: Tensor, target: Tensor) -> None:
    # Broadcasting (B, 1, H, W) against (B, H, W) would silently compare every frame with every other.
    if pred.shape != target.shape:
        raise ValueError(f"prediction {tuple(pred.shape)} and target {tuple(target.shape)} must have the same shape")


def _check_mask(pred: Tensor, mask: Tensor) -> None:
    # Floats or integers would be weights or indices here, and would give a number all the same.
    if mask.shape != pred.shape[:2] or mask.dtype != torch.bool:
        raise ValueError(
            f"mask must be bool of shape {tuple(pred.shape[:2])}, got {mask.dtype} of shape {tuple(mask.shape)}"
        )


def _hidden_errors(pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Prediction less target of the hidden patches, 0 without gradient in visible ones: -> (B, L, P)."""
    _check_shapes(pred, target)
    _check_mask(pred, mask)
    pred = _full(pred)
    # A visible target becomes its own prediction rather than being multiplied by 0: 0 * NaN would be NaN.
    return pred - torch.where(mask[..., None], _full(target), pred.detach())


def _mean_over_hidden(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of values (B, L, P) that are 0 in visible patches over the hidden ones; 0 where there is none."""
    return values.mean(-1).sum() / mask.sum().clamp(min=1)


def reconstruction_loss(pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the hidden patches: (B, L, P), (B, L, P), bool (B, L) -> scalar.

    Visible patches change neither the value nor the gradient, whatever their targets hold.

    Raises:
        ValueError: if the shapes do not fit, or the mask is not bool.
    """
    return _mean_over_hidden(_hidden_errors(pred, target, mask).square(), mask)


def patch_errors(pred: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of each patch: (B, L, P), (B, L, P) -> (B, L).

    Raises:
        ValueError: if the shapes differ.
    """
    _check_shapes(pred, target)
    return (_full(pred) - _full(target)).square().mean(-1)


def absolute_reconstruction_loss(pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error over the hidden patches: (B, L, P), (B, L, P), bool (B, L) -> scalar.

    The loss of SimMIM (arXiv 2111.09886). Visible patches change neither the value nor the gradient, whatever their
    targets hold.

    Raises:
        ValueError: if the shapes do not fit, or the mask is not bool.
    """
    return _mean_over_hidden(_hidden_errors(pred, target, mask).abs(), mask)


def ranking_loss(pred: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """How badly `pred` orders the marked patches of each frame by `target`: (B, L), (B, L), bool (B, L) -> scalar.

    Mean of log(1 + exp(pred_j - pred_i)) over all pairs with target_i > target_j (HPM, arXiv 2304.05919); log 2
    where nothing is told apart. Only the order of the targets counts; they get no gradient.

    Raises:
        ValueError: if the shapes differ, or the mask is not bool.
    """
    _check_shapes(pred, target)
    _check_mask(pred, mask)
    pred, target = _full(pred), _full(target).detach()
    pairs = mask[:, :, None] & mask[:, None, :] & (target[:, :, None] > target[:, None, :])  # (B, L, L)
    costs = F.softplus(pred[:, None, :] - pred[:, :, None])
    return (costs * pairs).sum() / pairs.sum().clamp(min=1)


def contrastive_loss(queries: Tensor, keys: Tensor, temperature: float, first: int = 0) -> Tensor:
    """InfoNCE: query i shall find key first + i among all keys: (B, K), (B', K) -> scalar, times 2 temperature.

    Cosines over `temperature`, cross-entropy (MoCo v3, arXiv 2104.02057, algorithm 1). Keys get no gradient.
    """
    cosines = F.normalize(_full(queries), dim=-1) @ F.normalize(_full(keys), dim=-1).detach().T
    wanted = first + torch.arange(len(queries), device=queries.device)
    return 2 * temperature * F.cross_entropy(cosines / temperature, wanted)


def distillation_loss(
    student: Tensor, teacher: Tensor, center: Tensor, student_temperature: float, teacher_temperature: float
) -> Tensor:
    """Cross-entropy of a student to a centred and sharpened teacher: (B, K), (B, K), (K,) -> scalar.

    DINO, arXiv 2104.14294. The teacher gets no gradient.

    Raises:
        ValueError: if the shapes differ.
    """
    _check_shapes(student, teacher)
    wanted = ((_full(teacher).detach() - center) / teacher_temperature).softmax(-1)
    return -(wanted * (_full(student) / student_temperature).log_softmax(-1)).sum(-1).mean()


def prototype_loss(vessel: Tensor, background: Tensor, valid: Tensor, temperature: float = 0.2) -> Tensor:
    """Vessels of different frames attract each other and repel every background: (B, D), (B, D), bool (B,) -> scalar.

    For each pair of valid frames a != b: -log(e(v_a, v_b) / (e(v_a, v_b) + sum_c e(v_a, n_c))), e = exp(cosine /
    temperature), c over the valid frames; mean over the pairs, 0 where there is none.

    Args:
        vessel: Mean token of the vessels of each frame.
        background: Mean token of what is not vessel.
        valid: Frames that show any vessel.
        temperature: Sharpness.

    Raises:
        ValueError: if the shapes differ.
    """
    _check_shapes(vessel, background)
    v, n = F.normalize(_full(vessel), dim=-1), F.normalize(_full(background), dim=-1)
    pairs = valid[:, None] & valid[None] & ~torch.eye(len(v), dtype=torch.bool, device=v.device)
    # Finite, as the gradient of a sum of nothing but exp(-inf) is not a number.
    repelled = torch.where(valid[None], v @ n.T / temperature, -1e4).logsumexp(1, keepdim=True)  # (B, 1)
    costs = F.softplus(repelled - v @ v.T / temperature)
    return torch.where(pairs, costs, 0).sum() / pairs.sum().clamp(min=1)


def consistency_loss(logits_reconstructed: Tensor, logits_original: Tensor) -> Tensor:
    """Cross-entropy of what the segmentor sees in the reconstruction to what it sees in the original: -> scalar.

    Soft targets sigmoid(S(I)), detached: gradients reach the reconstruction only (VasoMIM, arXiv 2508.10794, L_cons).
    Its lowest value is the entropy of the soft target, not 0.

    Raises:
        ValueError: if the shapes differ.
    """
    _check_shapes(logits_reconstructed, logits_original)
    target = _full(logits_original).sigmoid().detach()
    return F.binary_cross_entropy_with_logits(_full(logits_reconstructed), target)


def soft_dice_loss(logits: Tensor, target: Tensor, smooth: float = 1e-5) -> Tensor:
    """1 - soft Dice of the whole batch taken as one set of pixels: (B, K, H, W), (B, K, H, W) -> scalar in [0, 1].

    The whole batch, not each frame: frames without vessel would else be all-or-nothing terms.

    Raises:
        ValueError: if the shapes differ.
    """
    _check_shapes(logits, target)
    probability, target = _full(logits).sigmoid(), _full(target)
    overlap = (probability * target).sum()
    return 1 - (2 * overlap + smooth) / (probability.sum() + target.sum() + smooth)


def _eroded(x: Tensor) -> Tensor:
    """Minimum over the 4-neighbourhood; pixels outside the frame do not count."""
    return torch.minimum(-F.max_pool2d(-x, (3, 1), 1, (1, 0)), -F.max_pool2d(-x, (1, 3), 1, (0, 1)))


def soft_skeleton(x: Tensor, iterations: int) -> Tensor:
    """Differentiable centreline of a soft mask: (B, K, H, W) in [0, 1] -> the same shape, in [0, 1].

    Shit et al., CVPR 2021, algorithm 1: what opening removes at every depth of erosion. Vessels whose radius exceeds
    `iterations` pixels lose their centreline.
    """
    skeleton = torch.zeros_like(x)
    for depth in range(iterations + 1):
        x = _eroded(x) if depth else x
        ridge = F.relu(x - F.max_pool2d(_eroded(x), 3, 1, 1))
        skeleton = skeleton + F.relu(ridge - skeleton * ridge)
    return skeleton


def soft_cldice_loss(logits: Tensor, target: Tensor, iterations: int = 10, smooth: float = 1.0) -> Tensor:
    """1 - soft clDice of the whole batch: (B, K, H, W), (B, K, H, W) -> scalar in [0, 1].

    Harmonic mean of the predicted centreline's share inside the target and the target centreline's share inside the
    prediction (Shit et al., CVPR 2021, eq. 1-2); it rewards unbroken vessels whatever their width.

    Args:
        logits: Predictions.
        target: Vessel, 0 or 1 (soft values are allowed).
        iterations: Erosions; at least the radius in pixels of the widest vessel.
        smooth: Added to both sides of both fractions.

    Raises:
        ValueError: if the shapes differ or `iterations` is below 1.
    """
    _check_shapes(logits, target)
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1 (the widest radius in pixels), got {iterations}")
    probability, target = _full(logits).sigmoid(), _full(target)
    skeleton, target_skeleton = soft_skeleton(probability, iterations), soft_skeleton(target, iterations)
    precision = ((skeleton * target).sum() + smooth) / (skeleton.sum() + smooth)
    sensitivity = ((target_skeleton * probability).sum() + smooth) / (target_skeleton.sum() + smooth)
    return 1 - 2 * precision * sensitivity / (precision + sensitivity)
