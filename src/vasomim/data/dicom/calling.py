"""The one call into pydicom's decoders. Loads without the rest of the package, as `child` must start quickly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def call_decoder(
    plugin: str, content: bytes, transfer_syntax: str, options: Mapping[str, Any], *, encapsulated: bool
) -> npt.NDArray[Any]:
    """Values of one frame.

    Args:
        plugin: name of the library that decodes; empty for uncompressed pixels.
        content: bytes of the frame.
        transfer_syntax: UID of its encoding.
        options: of `pydicom.pixels.decoders.Decoder.as_array`, for one frame.
        encapsulated: whether the encoding is a compressed one.

    Raises:
        Exception: whatever damaged bytes lead the library to.
    """
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    source = encapsulate([content], has_bot=False) if encapsulated else content
    given: Any = {**options, "number_of_frames": 1, "pixel_keyword": "PixelData"}
    values, _ = get_decoder(UID(transfer_syntax)).as_array(source, index=0, decoding_plugin=plugin, **given)
    return np.asarray(values)
