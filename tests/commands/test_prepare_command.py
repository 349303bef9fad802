"""`vasomim prepare` from settings to exit status: packing, unpacking, checking, refusing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vasomim.cli.app import main
from vasomim.commands.prepare import run
from vasomim.config import PrepareConfig
from vasomim.data.frames import write_png
from vasomim.data.open import open_frames, open_labelled
from vasomim.errors import ConfigError, MisuseError
from vasomim.synth import generate


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five synthetic frames in images/ and masks/."""
    root = tmp_path_factory.mktemp("labelled")
    for index in range(5):
        made = generate(index, size=64)
        write_png(root / "images" / f"{index}.png", made.image)
        write_png(root / "masks" / f"{index}.png", made.mask.astype(np.uint8) * 255)
    return root


def config(out: Path, *inputs: Path, **changes: object) -> PrepareConfig:
    return PrepareConfig(inputs=inputs, out=out, workers=1, **changes)  # type: ignore[arg-type]


def test_run__packs_says_so_and_does_nothing_twice(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kept in (0, 5):
        assert run(config(tmp_path / "pack", labelled, extraction="reference"), json=True) == 0
        result = json.loads(capsys.readouterr().out)
        assert (result["packed"], result["kept"], result["left_out"]) == (5, kept, 0)
        assert result["holds"] == "image vessels"
    assert open_frames([tmp_path / "pack"])[2].vessels is not None


def test_run__labels_travel_and_come_back(labelled: Path, tmp_path: Path) -> None:
    sent, there = tmp_path / "sent", tmp_path / "there"
    assert run(config(sent, labelled, labels=True, rasteriser="coco", extraction="default", codec="png")) == 0
    assert run(config(there, sent)) == 0
    folder, packed = open_labelled([labelled]), open_labelled([there], "coco")
    for index in range(5):
        np.testing.assert_array_equal(packed[index].image, folder[index].image)
        np.testing.assert_array_equal(packed[index].mask, folder[index].mask)
        assert packed[index].vessels is not None


def test_run__takes_extracted_folders(labelled: Path, tmp_path: Path) -> None:
    assert main(["extract", str(labelled), "--out", str(tmp_path / "vessels"), "--workers", "1"]) == 0
    assert run(config(tmp_path / "pack", labelled, vessels=tmp_path / "vessels")) == 0
    head = json.loads((tmp_path / "pack" / "pack.json").read_text())
    assert head["settings"]["vessels"].startswith("default ")


def test_run__a_pack_and_a_folder_lose_the_vessels_of_the_pack(labelled: Path, tmp_path: Path) -> None:
    assert run(config(tmp_path / "pack", labelled, extraction="reference")) == 0
    write_png(tmp_path / "more" / "9.png", generate(9, size=64).image)
    assert run(config(tmp_path / "both", tmp_path / "pack", tmp_path / "more")) == 0
    both = open_frames([tmp_path / "both"])
    assert len(both) == 6
    assert both[0].vessels is None


def test_run__broken_frame_is_named_and_the_rest_packed(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_png(tmp_path / "frames" / "0.png", generate(0, size=64).image)
    (tmp_path / "frames" / "1.png").write_bytes(b"no picture")
    assert main(["prepare", str(tmp_path / "frames"), str(labelled), "--out", str(tmp_path / "pack")]) == 1
    told = capsys.readouterr()
    assert "warning: frames/1: cannot decode" in told.err
    assert "packed: 6" in told.out


def test_run__verify(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = tmp_path / "pack"
    assert run(config(pack, labelled)) == 0
    assert run(config(tmp_path / "unused", pack, verify=True)) == 0
    path = pack / "part_00000.bin"
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    capsys.readouterr()
    assert main(["prepare", str(pack), "--verify"]) == 1
    told = capsys.readouterr()
    assert "part_00000.bin: frame 1 is damaged" in told.err
    assert "damages: 1" in told.out
    with pytest.raises(MisuseError, match="is no pack; make one"):
        run(config(tmp_path / "unused", labelled, verify=True))
    assert not (tmp_path / "unused").exists()


def test_run__refuses(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="no such file or folder"):
        run(config(tmp_path / "pack", tmp_path / "none"))
    with pytest.raises(MisuseError, match="got no frames"):
        run(config(tmp_path / "pack"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"vessels": Path("v"), "extraction": "default"}, "either vessels or extraction"),
        ({"codec": "jpeg"}, "jpeg needs a quality"),
        ({"codec": "png", "quality": 90}, "quality has no effect on codec=png"),
        ({"codec": "webp", "bits": 16}, "webp holds 8 bits"),
        ({"codec": "webp", "quality": 0}, r"quality must lie in \[1, 100\]"),
        ({"size": 0}, "size must be at least 1"),
    ],
)
def test_prepare_config__refuses(changes: dict[str, object], told: str) -> None:
    with pytest.raises((ValueError, ConfigError), match=told):
        PrepareConfig(**changes)  # type: ignore[arg-type]
