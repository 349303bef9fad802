"""A network computed by torch, on any of its devices."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vasomim.errors import MisuseError, VasomimError
from vasomim.inference.backends import Images, Maps
from vasomim.ops.devices import DTYPES, resolve_device, resolve_precision


class TorchBackend:
    """`model`, (B, 1, H, W) in [0, 1] -> logits (B, K, H, W), one of the K, on a device and in a precision."""

    name = "torch"

    def __init__(self, model: nn.Module, device: str = "auto", precision: str = "auto", channel: int = 0) -> None:
        """Move the model to the device; its training mode is put back after each prediction.

        Raises:
            MisuseError: unknown device or precision, or one that is not here.
        """
        self._device = resolve_device(device)
        self.device = str(self._device)
        self.precision = resolve_precision(precision, self._device)
        self.model = model.to(self._device)
        self.channel = channel

    @torch.no_grad()
    def probabilities(self, images: Images) -> Maps:
        """See `Backend.probabilities`.

        Raises:
            MisuseError: the network's answer has another shape than logits.
        """
        dtype = DTYPES[self.precision]
        with _evaluating(self.model), torch.autocast(self._device.type, dtype, enabled=dtype != torch.float32):
            try:
                logits: Tensor = self.model(torch.from_numpy(images).to(self._device))
            except torch.OutOfMemoryError as error:
                raise VasomimError(
                    f"{self.device} has not enough memory for {images.shape}; lower the batch size or take --device cpu"
                ) from error
        if logits.ndim != 4 or logits.shape[1] <= self.channel:
            raise MisuseError(
                f"the network gave {tuple(logits.shape)} for frames of {images.shape}; need logits (B, K, H, W), "
                f"K at least {self.channel + 1}"
            )
        found: Maps = logits[:, self.channel].float().sigmoid().cpu().numpy()
        return found

    def fingerprint(self) -> str:
        """Hash of the weights: equal for equal tensors under equal names."""
        digest = hashlib.blake2b(digest_size=16)
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, the former mode after: a network may be watched while it trains."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
