"""Methods of one's own: what `METHODS` is given is pre-trained and exported as what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vasomim.build.models import create_normalised
from vasomim.build.pretraining import METHODS, PretrainingMethod, build_deblurring
from vasomim.commands import pretrain
from vasomim.config import OptimConfig, PretrainConfig, RunConfig
from vasomim.data.frames import write_png
from vasomim.models.mae import MaskedAutoencoder
from vasomim.models.weights import load_encoder, load_pretrained
from vasomim.synth import generate

SIZE = 64


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A function that pre-trains by a method of one's own and returns its run folder."""
    for index in range(6):
        write_png(tmp_path / "frames" / f"{index}.png", generate(index, size=SIZE).image.astype(np.uint8))

    def pretrained(method: PretrainingMethod, **settings: object) -> Path:
        monkeypatch.setitem(METHODS, "own", method)
        config = PretrainConfig(
            inputs=(tmp_path / "frames",),
            out=tmp_path / "out",
            method="own",  # type: ignore[arg-type]
            model="mae_vit_test",
            img_size=SIZE,
            optim=OptimConfig(batch_size=4, steps=2, lr=1e-3),
            run=RunConfig(device="cpu", num_workers=0),
            holdout=0.2,
            **settings,  # type: ignore[arg-type]
        )
        assert pretrain.run(config) == 0
        return config.out

    return pretrained


def test_pretrain__an_encoder_of_another_size_is_exported_as_it_is(own: Callable[..., Path]) -> None:
    sizes = {"img_size": SIZE, "embed_dim": 48, "depth": 3, "num_heads": 4, "decoder_embed_dim": 24}
    out = own(
        PretrainingMethod(lambda config, stats: create_normalised(config.model, stats, **sizes), build_deblurring)
    )
    encoder = load_encoder(out)
    assert {name: encoder.measures[name] for name in ("embed_dim", "depth", "num_heads")} == {
        "embed_dim": 48,
        "depth": 3,
        "num_heads": 4,
    }
    assert load_pretrained(out)[1]["kwargs"] == {"img_size": SIZE, "embed_dim": 48, "depth": 3, "num_heads": 4}
    mae, config = load_pretrained(out / "export_mae")
    assert isinstance(mae, MaskedAutoencoder)
    assert config["kwargs"] == sizes
    images = torch.rand(1, 1, SIZE, SIZE)
    torch.testing.assert_close(mae.encoder(mae.input_norm(images)), encoder(images))
