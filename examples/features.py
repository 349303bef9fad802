"""From frames to features: what a pre-trained encoder sees, as one .npz file a frame.

    python examples/features.py FRAME [FRAME ...] --out OUT [--weights encoder] [--blocks 5 11]

Each file holds, for every block named, `block_5` and so on: float32 (D, H / 16, W / 16), the tokens after it, normed;
frames are padded to whole patches. `encoder` is the package's own; a run folder or a file of MAE or DINO goes as well.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vasomim import load_encoder
from vasomim.data.frames import read_frame
from vasomim.errors import VasomimError
from vasomim.models.vit import VisionTransformer
from vasomim.ops.patches import pad_to_multiple


@torch.inference_mode()
def features(encoder: VisionTransformer, frame: Path, blocks: Sequence[int]) -> list[Tensor]:
    """Tokens after some blocks, as maps: a file -> one (D, h, w) a block."""
    image = torch.from_numpy(read_frame(frame))[None, None]  # (1, 1, H, W) in [0, 1]; the encoder normalises it
    whole = pad_to_multiple(image, encoder.patch_size).expand(-1, encoder.in_chans, -1, -1)
    return [found[0] for found in encoder.forward_intermediates(whole, blocks, norm=True)]


def main() -> int:
    """Write them; exit code 0, or what `vasomim` would give, after one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", default="encoder")
    parser.add_argument("--blocks", type=int, nargs="+", default=[5, 11])
    asked = parser.parse_args()
    try:
        encoder = load_encoder(asked.weights)
        asked.out.mkdir(parents=True, exist_ok=True)
        for frame in asked.frames:
            maps = features(encoder, frame, asked.blocks)
            named = {f"block_{block}": found.numpy() for block, found in zip(asked.blocks, maps, strict=True)}
            np.savez(asked.out / f"{frame.stem}.npz", **named)
    except VasomimError as problem:
        print(problem, file=sys.stderr)
        return problem.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
