"""The Predictor: native size, any input type, modes, and honest refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from inference_tools import Darkness, config, export, frame, stripe

from vasomim.data.frames import write_png
from vasomim.errors import CheckpointError, DataError, MisuseError
from vasomim.inference.contrast import with_usual_contrast
from vasomim.inference.predictor import Predictor
from vasomim.synth import generate


def predictor(mode: str = "tile", size: int = 32, **arguments: object) -> Predictor:
    return Predictor(Darkness(), config(mode, size), device="cpu", precision="fp32", **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["tile", "resize"])
@pytest.mark.parametrize("shape", [(48, 60), (32, 32), (20, 90), (130, 70)])
def test_predict__finds_the_stripe_at_native_size(mode: str, shape: tuple[int, int]) -> None:
    found = predictor(mode, 32 if mode == "tile" else 64).predict(frame(*shape))
    assert found.probability.shape == found.mask.shape == shape
    assert found.probability.dtype == np.float32
    assert found.mask.dtype == np.bool_
    assert 0 <= found.probability.min() <= found.probability.max() <= 1
    assert (found.mask == stripe(*shape)).mean() > 0.97
    np.testing.assert_array_equal(found.mask, found.probability >= 0.5)


def test_predict__pointwise_model_gives_the_same_tiled_and_whole() -> None:
    image = frame(50, 70)
    tiled = predictor("tile").predict(image)
    whole = torch.sigmoid((0.5 - torch.from_numpy(image / np.float32(255))) * 20).numpy()
    np.testing.assert_allclose(tiled.probability, whole, atol=1e-6)


class Slanted(torch.nn.Module):
    """Finds darkness, the more the further to the left."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (0.5 - images) * torch.linspace(20, 2, images.shape[-1])


@pytest.mark.parametrize("mode", ["tile", "resize"])
def test_predict__with_flip_the_mirrored_frame_gives_the_mirrored_result(mode: str) -> None:
    settings = config(mode, 32)
    flipped = Predictor(Slanted(), {**settings, "inference": {**settings["inference"], "flip": True}}, "cpu", "fp32")
    bare = Predictor(Slanted(), settings, "cpu", "fp32")
    image = frame(48, 60)
    mirrored = np.ascontiguousarray(image[:, ::-1])

    def of(predict: Predictor, given: np.ndarray) -> np.ndarray:
        return predict.predict(given).probability

    np.testing.assert_allclose(of(flipped, image), of(flipped, mirrored)[:, ::-1], atol=1e-6)
    np.testing.assert_allclose(of(flipped, image), (of(bare, image) + of(bare, mirrored)[:, ::-1]) / 2, atol=1e-6)
    assert np.abs(of(bare, image) - of(bare, mirrored)[:, ::-1]).max() > 0.1
    assert flipped.settings()["flip"]
    images = torch.from_numpy(frame(32, 32)[None, None] / np.float32(255))
    torch.testing.assert_close(flipped.probability_at(images), flipped.probability_at(images.flip(-1)).flip(-1))


def test_predict__leaves_out_pieces_that_are_nowhere_sure() -> None:
    image = np.full((32, 32), 0.9, np.float32)
    image[8], image[20, 5:9] = 0.1, 0.45
    outputs = [{"name": "main", "threshold": 0.5, "high_threshold": 0.95}]
    found = Predictor(Darkness(), {**config("tile", 32), "outputs": outputs}, "cpu", "fp32").predict(image)
    assert (found.probability[20, 5:9] > 0.5).all()
    np.testing.assert_array_equal(found.mask, image == np.float32(0.1))
    assert found.meta["high_threshold"] == 0.95


def test_predict__size_equal_to_the_frame_needs_no_resizing() -> None:
    image = frame(32, 32)
    np.testing.assert_allclose(
        predictor("resize", 32).predict(image).probability, predictor("tile", 32).predict(image).probability, atol=1e-6
    )


def test_predict__a_border_is_no_vessel_and_changes_nothing_inside() -> None:
    image = frame(64, 64)
    bare = predictor("resize", 64).predict(image)
    # Black, which is vessel to this network.
    framed = predictor("resize", 64).predict(np.pad(image, ((0, 0), (40, 30))))
    np.testing.assert_array_equal(framed.probability, np.pad(bare.probability, ((0, 0), (40, 30))))
    assert bare.mask.any()


@pytest.mark.parametrize("mode", ["tile", "resize"])
def test_predict__sees_a_faint_angiogram_at_usual_contrast(mode: str) -> None:
    image = generate(0, size=256).image / np.float32(255)
    faint = (image / 16).astype(np.float32)
    seen = with_usual_contrast(faint)
    found = predictor(mode, 64).predict(faint).probability
    np.testing.assert_array_equal(found, predictor(mode, 64).predict(seen).probability)
    assert found.min() < 0.5 < found.max()  # as it is, all of it is dark


def test_predict__same_result_for_all_ways_to_give_a_frame(tmp_path: Path) -> None:
    image = frame()
    write_png(tmp_path / "a.png", image)
    ways = [
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        image.astype(np.uint16) * 257,
        image.astype(np.float64) / 255,
        np.repeat(image[..., None], 3, axis=2),
        np.repeat((image / np.float64(255))[..., None], 4, axis=2),
    ]
    expected = predictor().predict(image).probability
    for way in ways:
        np.testing.assert_allclose(predictor().predict(way).probability, expected, atol=1e-5)


def test_predict__meta_says_how(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", frame())
    meta = predictor("resize", 64, name="run7").predict(tmp_path / "a.png").meta
    assert meta["path"] == str(tmp_path / "a.png")
    assert meta["size"] == [48, 60]
    assert (meta["threshold"], meta["weights"], meta["mode"]) == (0.5, "run7", "resize")
    assert meta["seconds"] >= 0
    assert "warning" not in meta


@pytest.mark.parametrize("mode", ["tile", "resize"])
@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_predict_batch__does_not_depend_on_the_batch(mode: str, batch_size: int) -> None:
    images = [frame(40, 50, 1), frame(64, 33, 2), frame(20, 20, 3)]
    together = predictor(mode, batch_size=batch_size).predict_batch(images)
    for image, found in zip(images, together, strict=True):
        np.testing.assert_allclose(found.probability, predictor(mode).predict(image).probability, atol=1e-6)


def test_predict_batch__computes_frames_together() -> None:
    network = Darkness()
    Predictor(network, config("resize", 64), device="cpu", batch_size=2).predict_batch(
        [frame(seed=k) for k in range(3)]
    )
    assert network.seen == [(2, 1, 64, 64), (1, 1, 64, 64)]


def test_predict_batch__nothing() -> None:
    assert predictor().predict_batch([]) == []


def test_predict__constant_frame_is_empty_with_a_warning() -> None:
    constant, other = predictor().predict_batch([np.full((20, 30), 9, np.uint8), frame()])
    assert not constant.mask.any()
    assert constant.probability.max() == 0
    assert "equal" in constant.meta["warning"]
    assert other.mask.any()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((8, 8), np.nan), "NaN"),
        (np.full((8, 8), 200.0), r"\[0, 1\]"),
        (np.zeros((2, 3, 4, 5), np.uint8), "shape"),
        (np.zeros((0, 4), np.uint8), "empty"),
    ],
)
def test_predict__refuses_what_is_no_frame(image: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        predictor().predict(image)


def test_predict__missing_file(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="no such file"):
        predictor().predict(tmp_path / "none.png")


def test_predictor__threshold_decides_the_mask_only() -> None:
    low, high = (Predictor(Darkness(), config(threshold=t), device="cpu").predict(frame()) for t in (0.01, 0.99))
    np.testing.assert_array_equal(low.probability, high.probability)
    assert low.mask.sum() > high.mask.sum()


def test_predictor__leaves_the_training_mode_as_it_was() -> None:
    network = Darkness().train()
    network.dropout.eval()
    first = Predictor(network, config(), device="cpu").predict(frame())
    second = Predictor(network, config(), device="cpu").predict(frame())
    assert network.training
    assert not network.dropout.training
    np.testing.assert_array_equal(first.probability, second.probability)


def test_probability_at__is_the_network_itself() -> None:
    network = Darkness()
    images = torch.rand(3, 1, 17, 23)
    found = Predictor(network, config(), device="cpu", precision="fp32").probability_at(images)
    assert found.shape == (3, 17, 23)
    assert not found.requires_grad
    torch.testing.assert_close(found, network.eval()(images)[:, 0].sigmoid())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (config("whole"), "mode"),
        (config(size=0), "size"),
        (config(threshold=0.0), "threshold"),
        (config(threshold=1.5), "threshold"),
        (config(outputs=[{"name": "main", "high_threshold": 1.5}]), "high_threshold"),
        ({"inference": {"mode": "tile", "size": 32, "overlap": 1.0}}, "overlap"),
    ],
)
def test_predictor__refuses_settings_out_of_range(settings: dict[str, object], message: str) -> None:
    with pytest.raises(MisuseError, match=message):
        Predictor(Darkness(), settings, device="cpu")


def test_predictor__refuses_an_empty_batch_size() -> None:
    with pytest.raises(MisuseError, match="batch_size"):
        predictor(batch_size=0)


def test_fingerprint__tells_weights_apart() -> None:
    one, same, other = Darkness(0.5), Darkness(0.5), Darkness(0.4)
    prints = [Predictor(network, config(), device="cpu").fingerprint() for network in (one, same, other)]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("inside", ["", "export", "export/model.safetensors"])
def test_from_pretrained__takes_run_export_and_file(tmp_path: Path, inside: str) -> None:
    run = export(tmp_path / "my_run")
    loaded = Predictor.from_pretrained(run / inside, device="cpu")
    assert (loaded.mode, loaded.size, loaded.name) == ("resize", 32, "my_run")
    assert loaded.predict(frame()).probability.shape == (48, 60)


@pytest.mark.parametrize("mode", ["tile", "resize"])
def test_from_pretrained__real_network_does_not_depend_on_the_batch(tmp_path: Path, mode: str) -> None:
    export(tmp_path)
    images = [frame(40, 50, 1), frame(64, 33, 2), frame(32, 32, 3)]
    maps = [
        Predictor.from_pretrained(tmp_path, device="cpu", precision="fp32", batch_size=size, mode=mode).probabilities(
            [image.astype(np.float32) / 255 for image in images]
        )
        for size in (1, 5)
    ]
    for one, other in zip(*maps, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_from_pretrained__overrides(tmp_path: Path) -> None:
    loaded = Predictor.from_pretrained(export(tmp_path), device="cpu", threshold=0.3, mode="tile", flip=True)
    assert (loaded.threshold, loaded.mode, loaded.size, loaded.flip) == (0.3, "tile", 32, True)


def test_from_pretrained__a_segmentor_segments(tmp_path: Path) -> None:
    loaded = Predictor.from_pretrained(export(tmp_path, "segmentor", "unext_test"), device="cpu")
    assert loaded.predict(frame()).mask.shape == (48, 60)


def test_from_pretrained__encoders_segment_nothing_yet(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="finetune"):
        Predictor.from_pretrained(export(tmp_path, "encoder", "vit_test"), device="cpu")


def test_from_pretrained__nothing_there(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="run folder"):
        Predictor.from_pretrained(str(tmp_path / "vasomim-base"))


def test_predict__bf16_is_close() -> None:
    exact = predictor().predict(frame()).probability
    rough = Predictor(Darkness(), config(), device="cpu", precision="bf16").predict(frame()).probability
    assert np.abs(exact - rough).max() < 0.05


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
def test_predict__takes_tensors_on_the_cpu(dtype: torch.dtype) -> None:
    pixels = torch.from_numpy(frame())
    given = (pixels.float() / 255).to(dtype).requires_grad_() if dtype.is_floating_point else pixels
    found = predictor().predict(given)
    as_array = given.detach().float().numpy() if dtype.is_floating_point else frame()
    np.testing.assert_array_equal(found.probability, predictor().predict(as_array).probability)
    assert "path" not in found.meta


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["frame.png"], "got a list for a frame; need a file, or an array or tensor"),
        (None, "got a NoneType for a frame"),
        (torch.zeros(8, 8, device="meta"), "got a frame on meta, need it on the CPU"),
    ],
)
def test_predict__refuses_what_is_neither_file_nor_pixels(given: object, message: str) -> None:
    with pytest.raises(MisuseError, match=message):
        predictor().predict(given)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["frame.png", Path("frame.png"), None])
def test_predict_batch__refuses_one_frame(given: object) -> None:
    with pytest.raises(MisuseError, match=r"takes several frames, got .*; give a list, or one frame to predict"):
        predictor().predict_batch(given)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="need one grey frame"):
        predictor().predict_batch(frame())  # type: ignore[arg-type]


def test_predict_batch__takes_a_stack() -> None:
    stack = np.stack([frame(seed=0), frame(seed=1)])
    found = predictor().predict_batch(stack)  # type: ignore[arg-type]
    assert [each.probability.shape for each in found] == [(48, 60)] * 2


class Flat(torch.nn.Module):
    """Answers without a dimension of channels."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0]


def test_predictor__says_what_a_network_must_answer() -> None:
    with pytest.raises(MisuseError, match=r"the network gave \(\d+, 32, 32\) for frames of .*; need logits \(B, K"):
        Predictor(Flat(), config(), device="cpu").predict(frame())


def test_predictor__refuses_settings_where_nobody_reads_them() -> None:
    with pytest.raises(MisuseError, match=r"mode, size at its top, where nobody looks; give inference=\{'mode'"):
        Predictor(Darkness(), {"mode": "tile", "size": 64}, device="cpu")


@pytest.mark.parametrize("given", [torch.full((1, 1, 8, 8), 200.0), np.full((1, 1, 8, 8), -0.5, np.float32)])
def test_probability_at__refuses_grey_values_out_of_range(given: torch.Tensor | np.ndarray) -> None:
    with pytest.raises(MisuseError, match=r"images hold .*; need values in \[0, 1\]"):
        predictor().probability_at(given)  # type: ignore[arg-type]
    with pytest.raises(MisuseError, match="images hold nan"):
        predictor().probability_at(given * np.nan)  # type: ignore[arg-type]


def test_from_pretrained__names_what_segments_and_how_to_start_from_the_rest() -> None:
    with pytest.raises(MisuseError, match="give default, full-tree, fast, a run folder"):
        Predictor.from_pretrained("fasst")
    with pytest.raises(CheckpointError, match=r"^encoder holds weights of kind 'encoder', .* DATA --init encoder$"):
        Predictor.from_pretrained("encoder", device="cpu")
