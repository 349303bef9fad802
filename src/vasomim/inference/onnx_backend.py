"""An exported network computed by ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from vasomim.errors import CheckpointError, VasomimError
from vasomim.inference.backends import Images, Maps, asked_threads, check_precision, first_line

_ERRORS_ONLY = 3


class OnnxBackend:
    """A session, from which threads may compute side by side."""

    name = "onnx"
    device = "cpu"
    precision = "fp32"

    def __init__(self, entry: Path, fingerprint: str) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = asked_threads()
        try:
            self._session = onnxruntime.InferenceSession(str(entry), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common base but this
            raise CheckpointError(f"ONNX Runtime cannot read {entry}: {first_line(error)}; export it again") from error
        self._fingerprint = fingerprint

    def probabilities(self, images: Images) -> Maps:
        """See `Backend.probabilities`."""
        if not len(images):  # shapes of nothing are not what its kernels reckon with
            return np.zeros((0, *images.shape[2:]), np.float32)
        try:
            (found,) = self._session.run(None, {"images": np.ascontiguousarray(images)})
        except Exception as error:
            raise VasomimError(f"ONNX Runtime failed on frames of {images.shape}: {first_line(error)}") from error
        return np.asarray(found, np.float32)

    def fingerprint(self) -> str:
        """Hash of the files."""
        return self._fingerprint


def open_backend(entry: Path, precision: str, fingerprint: str) -> OnnxBackend:
    """Open model.onnx.

    Raises:
        MisuseError: another precision than fp32 is asked for.
        CheckpointError: the file is damaged.
    """
    check_precision(precision, ["fp32"], "ONNX Runtime")
    return OnnxBackend(entry, fingerprint)
