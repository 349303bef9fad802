"""Methods of one's own: what `METHODS` is given is pre-trained and exported as what it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vasomim.build.models import create_normalised
from vasomim.build.pretraining import (
    METHODS,
    PretrainingMethod,
    build_autoencoder,
    build_deblurring,
    build_pretraining,
    build_vasomim,
    build_views,
)
from vasomim.commands import pretrain
from vasomim.config import OptimConfig, PretrainConfig, RunConfig
from vasomim.data.frames import write_png
from vasomim.errors import MisuseError
from vasomim.models.mae import MaskedAutoencoder
from vasomim.models.registry import create_model
from vasomim.models.weights import load_encoder, load_pretrained, save_pretrained
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


def test_build_vasomim__finds_its_segmentor_under_a_name_of_ones_own(own: Callable[..., Path], tmp_path: Path) -> None:
    guide = create_model("unext_test")
    save_pretrained(tmp_path / "guide", guide, {"kind": "segmentor", "model": "unext_test"}, "")
    out = own(PretrainingMethod(build_autoencoder, build_vasomim), segmentor=tmp_path / "guide")
    assert '"consistency"' in (out / "metrics.jsonl").read_text()


def test_build_pretraining__unknown_method_gets_the_nearest() -> None:
    config = PretrainConfig(method="vasomin")  # type: ignore[arg-type]
    for build in (lambda: build_pretraining(config, (0.5, 0.2)), lambda: build_views(config)):
        with pytest.raises(MisuseError, match=r"no method is called 'vasomin'; did you mean vasomim\?"):
            build()
