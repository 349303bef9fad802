"""From pixels in [0, 1] to what a network was trained on, and back."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn


def check_floats(images: Tensor) -> None:
    """Refuse grey values of 0 to 255, by their type: looking at the values would wait for the device.

    Raises:
        ValueError: if they are integers or bool.
    """
    if not images.is_floating_point():
        raise ValueError(f"images are {images.dtype}; need floats in [0, 1]: divide by the full scale")


class InputNorm(nn.Module):
    """(x - mean) / std with one mean and one standard deviation for all channels.

    Args:
        mean: Mean of the pixels, in [0, 1].
        std: Their standard deviation, above 0.
        persistent: Whether both travel in the state dict; off where foreign keys must be matched exactly.

    Raises:
        ValueError: if `std` is not above 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float = 0.5, std: float = 0.25, persistent: bool = True) -> None:
        super().__init__()
        _check_std(std)
        self.register_buffer("mean", torch.tensor(float(mean)), persistent=persistent)
        self.register_buffer("std", torch.tensor(float(std)), persistent=persistent)

    def forward(self, images: Tensor) -> Tensor:
        """Images in [0, 1] of any shape -> normalised images.

        Raises:
            ValueError: if they are integers.
        """
        check_floats(images)
        return (images - self.mean) / self.std

    def inverse(self, images: Tensor) -> Tensor:
        """Normalised images -> images in [0, 1]; nothing is clipped."""
        return images * self.std + self.mean

    def set(self, mean: float, std: float) -> None:
        """Take other statistics, in place.

        Raises:
            ValueError: if `std` is not above 0.
        """
        _check_std(std)
        self.mean.fill_(mean)
        self.std.fill_(std)


def _check_std(std: float) -> None:
    if not std > 0:
        raise ValueError(f"std must be above 0, got {std}; constant frames have no statistics to learn from")


class MayNormalise(Protocol):
    """A network that normalises its images itself where it has a normalisation."""

    input_norm: InputNorm | None


def take_input_norm(encoder: MayNormalise, mean: float, std: float) -> InputNorm:
    """Move the encoder's normalisation, if it has one, to the model that wraps it: images are normalised once."""
    own, encoder.input_norm = encoder.input_norm, None
    return InputNorm(mean, std) if own is None else InputNorm(float(own.mean), float(own.std))
