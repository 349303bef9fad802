from __future__ import annotations

import errno
import io
from pathlib import Path

import numpy as np
import pytest
from data_tools import grey, save
from PIL import Image

from vasomim.data import frames
from vasomim.data.frames import frame_hash, is_constant, read_frame, read_mask, read_pixels, to_unit, write_png
from vasomim.errors import DataError, LongNameError, MisuseError, WriteError

L = grey(3, 40, 30)
ALPHA = grey(4, 40, 30)


def pil(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff", "pgm", "PNG"])
def test_read_frame__grey_8_bit_is_exact(tmp_path: Path, suffix: str) -> None:
    path = pil(tmp_path / f"a.{suffix}", Image.fromarray(L), format="PPM" if suffix == "pgm" else None)
    image = read_frame(path)
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, L.astype(np.float32) / 255)


@pytest.mark.parametrize(("suffix", "options"), [("jpg", {}), ("jpeg", {"progressive": True}), ("webp", {})])
def test_read_frame__lossy_formats_are_near(tmp_path: Path, suffix: str, options: dict[str, object]) -> None:
    smooth = np.add.outer(np.arange(40), np.arange(30)).astype(np.uint8) * 3
    path = pil(tmp_path / f"a.{suffix}", Image.fromarray(smooth), quality=95, **options)
    assert np.abs(read_frame(path) - smooth / 255).max() < 0.05


def test_read_frame__webp_lossless_is_exact(tmp_path: Path) -> None:
    path = pil(tmp_path / "a.webp", Image.fromarray(L), lossless=True)
    np.testing.assert_array_equal(read_pixels(path), L)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_read_pixels__grey_in_any_mode_is_grey_again(tmp_path: Path, mode: str, suffix: str) -> None:
    image = Image.fromarray(L).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(ALPHA))
    np.testing.assert_array_equal(read_pixels(pil(tmp_path / f"a.{suffix}", image)), L)


def test_read_pixels__colour_agrees_with_pillow(tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
    ours = read_pixels(pil(tmp_path / "a.png", image)).astype(int)
    assert np.abs(ours - np.asarray(image.convert("L")).astype(int)).max() <= 1


def test_read_pixels__palette_is_looked_up(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    image.putpalette([10, 10, 10, 200, 200, 200, 90, 90, 90])
    np.testing.assert_array_equal(read_pixels(pil(tmp_path / "a.png", image)), [[10, 200], [90, 200]])


@pytest.mark.parametrize(
    ("high", "scale"),
    [
        *((200, 255), (255, 255), (256, 1023), (1023, 1023), (1024, 4095), (4095, 4095)),
        *((9000, 16383), (16384, 65535), (65535, 65535)),
    ],
)
@pytest.mark.parametrize("suffix", ["png", "tif", "pgm", "npy"])
def test_read_frame__16_bit_is_scaled_by_its_depth(tmp_path: Path, high: int, scale: int, suffix: str) -> None:
    array = np.linspace(0, high, 48).astype(np.uint16).reshape(6, 8)
    path = tmp_path / f"a.{suffix}"
    np.save(path, array) if suffix == "npy" else save(path, array)
    np.testing.assert_array_equal(read_frame(path), array.astype(np.float32) / np.float32(scale))


def test_to_unit__a_hot_pixel_is_white_and_darkens_nothing() -> None:
    array = np.random.default_rng(0).integers(0, 4096, (64, 64)).astype(np.uint16)
    expected = array / np.float32(4095)
    array[5, 7] = 65535
    expected[5, 7] = 1
    np.testing.assert_array_equal(to_unit(array), expected)
    array[:1] = 65535  # writing, not a hot pixel: then white is white
    np.testing.assert_array_equal(to_unit(array), array / np.float32(65535))


@pytest.mark.parametrize("dtype", [np.int16, np.int64, np.float16, np.float64, np.bool_])
def test_to_unit__other_types(dtype: type) -> None:
    array = (np.arange(12).reshape(3, 4) / 11 if np.dtype(dtype).kind == "f" else np.eye(3, 4) * 255).astype(dtype)
    expected = array.astype(np.float32) if np.dtype(dtype).kind in "fb" else array / np.float32(255)
    np.testing.assert_allclose(to_unit(array), expected, rtol=1e-3)


def test_read_frame__npy_shapes(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((5, 6), np.float32)
    for number, array in enumerate([image, image[None], image[..., None], np.stack([image] * 3, -1)]):
        np.save(tmp_path / f"{number}.npy", array)
        np.testing.assert_allclose(read_frame(tmp_path / f"{number}.npy"), image, atol=1e-6)


def test_read_frame__npy_colours_are_rgb(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    np.save(tmp_path / "a.npy", colour)
    save(tmp_path / "a.png", colour[..., ::-1])
    np.testing.assert_array_equal(read_frame(tmp_path / "a.npy"), read_frame(tmp_path / "a.png"))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((4, 4), np.nan), "NaN"),
        (np.array([[0.0, np.inf]]), "infinite"),
        (np.full((4, 4), 3.5), "divide by the full scale"),
        (np.full((4, 4), -5, np.int16), "integers from -5"),
        (np.full((4, 4), 70000), "0 to 65535"),
        (np.zeros((2, 4, 4, 3)), "shape"),
        (np.zeros((9, 4, 5)), "shape"),
        (np.zeros((0, 4)), "empty"),
        (np.zeros(4), "shape"),
        (np.zeros((4, 4), complex), "complex128"),
    ],
)
def test_read_frame__unusable_array_is_named(tmp_path: Path, array: np.ndarray, words: str) -> None:
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(DataError, match=words) as caught:
        read_frame(tmp_path / "bad.npy")
    assert "bad.npy" in str(caught.value)


def test_read_frame__pickled_or_broken_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(b"\x93NUMPY")
    np.savez(tmp_path / "c.npz", x=L)
    (tmp_path / "c.npz").rename(tmp_path / "c.npy")
    for name in "abc":
        with pytest.raises(DataError, match=f"{name}.npy"):
            read_frame(tmp_path / f"{name}.npy")


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("png", {}),
        ("jpg", {}),
        ("jpg", {"progressive": True}),
        ("bmp", {}),
        ("tif", {}),
        ("tif", {"compression": "tiff_lzw"}),
        ("webp", {}),
        ("pgm", {}),
    ],
)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_read_frame__truncated_is_refused(
    tmp_path: Path, suffix: str, options: dict[str, object], share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    buffer = io.BytesIO()
    form = {"jpg": "JPEG", "tif": "TIFF", "pgm": "PPM"}.get(suffix, suffix.upper())
    Image.fromarray(grey(0, 200, 200)).save(buffer, form, **options)
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(buffer.getvalue()[: int(len(buffer.getvalue()) * share)])
    with pytest.raises(DataError, match=f"cut.{suffix}"):
        read_frame(path)
    assert capfd.readouterr().err == ""


def test_read_frame__truncated_jpeg_with_whole_thumbnail(tmp_path: Path) -> None:
    def jpeg(array: np.ndarray, **options: object) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, "JPEG", **options)
        return buffer.getvalue()

    whole = jpeg(grey(0, 200, 200), exif=b"Exif\0\0" + jpeg(grey(1, 16, 16)))
    path = tmp_path / "a.jpg"
    path.write_bytes(whole + b"trailing bytes")
    assert read_frame(path).shape == (200, 200)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="truncated"):
        read_frame(path)


def test_read_frame__damaged_png(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", grey(0, 60, 60))
    content = bytearray(path.read_bytes())
    content[500:540] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot decode"):
        read_frame(path)


def test_read_frame__no_image_at_all(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("not a picture")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(DataError, match="known: bmp"):
        read_frame(tmp_path / "a.png")
    with pytest.raises(DataError, match="0 bytes"):
        read_frame(tmp_path / "b.png")


def test_read_frame__missing_or_folder_is_misuse(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(MisuseError, match=r"no such file|is a folder"):
            read_frame(path)


def test_read_frame__several_pages(tmp_path: Path) -> None:
    path = tmp_path / "cine.tif"
    Image.fromarray(L).save(path, save_all=True, append_images=[Image.fromarray(L)])
    with pytest.raises(DataError, match="2 pages"):
        read_frame(path)
    Image.fromarray(L).save(path, save_all=True, append_images=[Image.fromarray(L)], big_tiff=True)
    assert path.read_bytes()[2] == 43
    with pytest.raises(DataError, match="2 pages"):
        read_frame(path)


@pytest.mark.parametrize("value", [0, 77, 255])
def test_read_frame__constant_frame_is_readable(tmp_path: Path, value: int) -> None:
    image = read_frame(save(tmp_path / "a.png", np.full((8, 9), value, np.uint8)))
    assert is_constant(image)
    assert not is_constant(to_unit(L))


def mask_images() -> dict[str, Image.Image]:
    truth = np.zeros((6, 8), bool)
    truth[2:4, 1:7] = True
    levels = np.where(truth, 255, 0).astype(np.uint8)
    stray = np.where(truth, 240, 13).astype(np.uint8)
    stray[2, 1] = 200
    palette = Image.fromarray(truth.astype(np.uint8), "P")
    palette.putpalette([0, 0, 0, 128, 0, 0])
    colours = np.zeros((6, 8, 3), np.uint8)
    colours[truth] = (0, 0, 255)
    colours[3, 1:7] = (255, 0, 0)
    transparent = Image.fromarray(np.full((6, 8, 3), 255, np.uint8)).convert("RGBA")
    transparent.putalpha(Image.fromarray(levels))
    black = Image.fromarray(np.zeros((6, 8, 3), np.uint8)).convert("RGBA")
    black.putalpha(Image.fromarray(levels))
    return {
        "ones": Image.fromarray(truth.astype(np.uint8)),
        "255": Image.fromarray(levels),
        "one bit": Image.fromarray(truth),
        "stray": Image.fromarray(stray),
        "palette": palette,
        "colours": Image.fromarray(colours),
        "opaque": Image.fromarray(levels).convert("RGBA"),
        "grey and alpha": Image.fromarray(levels).convert("LA"),
        "white where opaque": transparent,
        "black where opaque": black,
        "16 bit": Image.fromarray(levels.astype(np.uint16) * 257),
    }


@pytest.mark.parametrize("kind", sorted(mask_images()))
def test_read_mask__any_encoding_reads_alike(tmp_path: Path, kind: str) -> None:
    mask = read_mask(pil(tmp_path / "m.png", mask_images()[kind]))
    expected = np.zeros((6, 8), bool)
    expected[2:4, 1:7] = True
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, expected)


def test_read_mask__empty_and_full(tmp_path: Path) -> None:
    assert not read_mask(save(tmp_path / "0.png", np.zeros((4, 5), np.uint8))).any()
    assert read_mask(save(tmp_path / "1.png", np.full((4, 5), 255, np.uint8))).all()
    np.save(tmp_path / "m.npy", np.eye(4, dtype=bool))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.npy"), np.eye(4, dtype=bool))


def test_read_mask__jpeg_ringing_is_cut(tmp_path: Path) -> None:
    truth = np.zeros((32, 32), bool)
    truth[8:24, 12:20] = True
    mask = read_mask(save(tmp_path / "m.jpg", truth.astype(np.uint8) * 255))
    np.testing.assert_array_equal(mask, truth)


def test_frame_hash__follows_pixels_not_files(tmp_path: Path) -> None:
    image = Image.fromarray(L)
    paths = [
        pil(tmp_path / "a.png", image),
        pil(tmp_path / "b.png", image, compress_level=0),
        pil(tmp_path / "c.bmp", image),
        pil(tmp_path / "d.png", image.convert("RGB")),
        tmp_path / "e.npy",
    ]
    np.save(paths[-1], L.astype(np.float32) / 255)
    assert len({frame_hash(path) for path in paths} | {frame_hash(L), frame_hash(read_frame(paths[0]))}) == 1


def test_frame_hash__differs_by_one_pixel_or_shape() -> None:
    other = L.copy()
    other[0, 0] ^= 1
    fine = to_unit(L) * np.float32(0.999)
    assert len({frame_hash(x) for x in (L, other, L.T, L.reshape(30, 40), fine)}) == 5


@pytest.mark.parametrize(
    "array", [L, L.astype(np.uint16) * 200, L > 128, np.stack([L, 255 - L, L // 2], -1), np.asfortranarray(L), L[::2]]
)
def test_write_png__reads_back(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "new" / "a.png"
    write_png(path, array)
    expected = array * np.uint8(255) if array.dtype == bool else array
    np.testing.assert_array_equal(np.asarray(Image.open(path)), expected)
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]


@pytest.mark.parametrize("array", [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3), np.uint16)])
def test_write_png__refuses_other_types(tmp_path: Path, array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="write_png needs"):
        write_png(tmp_path / "a.png", array)


def test_write_png__full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    write_png(path, L)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(WriteError, match="No space left"):
        write_png(path, 255 - L)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_write_png__a_name_as_long_as_a_name_may_be(tmp_path: Path) -> None:
    path = tmp_path / f"{'血' * 82}12345.png"
    assert len(path.name.encode()) == 255
    write_png(path, L)
    np.testing.assert_array_equal(read_pixels(path), L)


def test_write_png__a_longer_name_is_to_be_shortened(tmp_path: Path) -> None:
    with pytest.raises(LongNameError, match="too long; shorten it") as caught:
        write_png(tmp_path / f"{'血' * 84}.png", L)
    assert "free some space" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_read_pixels__suffix_list_is_what_folders_take() -> None:
    assert {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".pgm", ".webp", ".npy"} == frames.FRAME_SUFFIXES
