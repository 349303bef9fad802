"""The readers that `fuzz.py` tries: for each a valid input, what reads it, and inputs made to do harm."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from fuzz_archives import hostile_tars, hostile_zip, hostile_zips, tar_of, zip_of
from fuzz_dicom import ENCODINGS, hostile_dicom, write_dicom, write_directory, write_segmentation
from fuzz_pictures import (
    hostile_bmp,
    hostile_jpeg,
    hostile_npy,
    hostile_pgm,
    hostile_png,
    hostile_tiff,
    hostile_webp,
)
from fuzz_texts import (
    hostile_coco,
    hostile_csv,
    hostile_json,
    hostile_list,
    hostile_pickle,
    hostile_safetensors,
    hostile_yaml,
)
from safetensors.torch import save_file

from vasomim.config import FinetuneConfig, load_config
from vasomim.data.arcade import ArcadeDataset
from vasomim.data.boxes import read_boxes
from vasomim.data.dicom.directory import referenced_files
from vasomim.data.dicom.segmentation import read_segmentation
from vasomim.data.frame_list import read_frame_list
from vasomim.data.frames import read_frame, read_mask
from vasomim.data.nnunet import NnUNetDataset
from vasomim.data.open import open_frames
from vasomim.data.packed import PackDataset, PackSettings
from vasomim.data.packing import pack_frames
from vasomim.data.unpack import unpack
from vasomim.engine.checkpoints import load_tensors, save_tensors
from vasomim.engine.comparison import read_evaluation
from vasomim.metrics import METRICS
from vasomim.models.inspection import inspect_weights
from vasomim.models.registry import create_model
from vasomim.models.weights import save_pretrained


@dataclass(frozen=True)
class Reader:
    """What is tried."""

    name: str
    inside: tuple[str, ...]
    """Path of the damaged file below the folder that `make` fills."""
    make: Callable[[Path], Path]
    """Fills a folder with a valid input; the file to damage."""
    read: Callable[[Path, Path], object]
    """Reads the damaged file, or the set it belongs to; what is written goes to the second path."""
    hostile: Callable[[bytes], Iterable[bytes]] = lambda _: ()
    """Inputs made to do harm, from the content of the valid one."""
    count: int = 600
    """Damaged inputs tried, those made to do harm aside."""


def all_readers() -> list[Reader]:
    """Every reader, in the order of the results."""
    return [*pictures(), *dicom(), *annotations(), *packs(), *weights(), *archives(), *texts()]


def picture(seed: int = 0, kind: type = np.uint8) -> np.ndarray:
    """A frame of 24 x 32 pixels."""
    return np.random.default_rng(seed).integers(0, np.iinfo(kind).max, (24, 32)).astype(kind)


# Pictures


def pictures() -> list[Reader]:
    """Each format a frame may have; the larger ones in 16 bits."""
    hostile = {"png": hostile_png, "jpg": hostile_jpeg, "bmp": hostile_bmp, "tif": hostile_tiff}
    hostile |= {"pgm": hostile_pgm, "webp": hostile_webp, "npy": hostile_npy}
    return [_picture(suffix, made) for suffix, made in hostile.items()]


def _picture(suffix: str, hostile: Callable[[bytes], Iterable[bytes]]) -> Reader:
    kind = np.uint16 if suffix in ("png", "tif", "npy") else np.uint8

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"frame.{suffix}"
        if suffix == "npy":
            np.save(path, picture(0, kind))
        else:
            cv2.imwrite(str(path), picture(0, kind))
        return path

    def read(path: Path, _: Path) -> None:
        read_frame(path)
        read_mask(path)

    return Reader(suffix, (f"frame.{suffix}",), make, read, hostile, 1600)


# DICOM


def dicom() -> list[Reader]:
    """A run in each encoding that can be written, a segmentation, a table of contents."""
    readers = []
    for name, (syntax, bits) in ENCODINGS.items():
        count = 150 if "JPEG" in name else 300
        readers.append(_dicom(f"DICOM, {name}", lambda path, s=syntax, b=bits: write_dicom(path, s, b), count))
    return [
        *readers,
        Reader(
            "DICOM segmentation", ("seg",), lambda folder: write_segmentation(folder), _read_masks, hostile_dicom, 300
        ),
        Reader("DICOMDIR", ("DICOMDIR",), write_directory, lambda path, _: referenced_files(path), hostile_dicom, 300),
    ]


def _dicom(name: str, write: Callable[[Path], Path], count: int) -> Reader:
    def read(path: Path, _: Path) -> None:
        frames = open_frames([path])
        for index in range(min(len(frames), 3)):
            _ = frames[index]

    return Reader(name, ("run",), lambda folder: write(folder / "run"), read, hostile_dicom, count)


def _read_masks(path: Path, _: Path) -> None:
    found = read_segmentation(path, str(path))
    for index in list(found.places)[:3]:
        found.mask(index)


# Annotations


def annotations() -> list[Reader]:
    """COCO files, tables of boxes, nnU-Net's table."""
    coco = ("annotations", "set.json")
    return [
        Reader("COCO JSON", coco, make_coco, lambda path, _: _every(ArcadeDataset(path.parents[1])), hostile_coco),
        Reader("boxes.csv", ("boxes.csv",), make_boxes, lambda path, _: read_boxes(path), hostile_csv, 1200),
        Reader(
            "nnU-Net dataset.json",
            ("dataset.json",),
            make_nnunet,
            lambda path, _: _every(NnUNetDataset(path.parent)),
            hostile_json,
        ),
    ]


def _every(dataset: Any) -> None:
    for index in range(len(dataset)):
        _ = dataset[index]


def make_coco(folder: Path) -> Path:
    """Two frames, three polygons."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "annotations").mkdir(exist_ok=True)
    images = [{"id": n, "file_name": f"{n}.png", "width": 32, "height": 24} for n in (1, 2)]
    for image in images:
        cv2.imwrite(str(folder / "images" / str(image["file_name"])), picture(int(str(image["id"]))))
    outlines = [[2.0, 2, 20, 3, 18, 20], [5, 5, 9, 5, 9, 9, 5, 9], [1, 20, 30, 22, 30, 23]]
    marks = [
        {"id": n, "image_id": 1 + n % 2, "category_id": n + 1, "segmentation": [o]} for n, o in enumerate(outlines)
    ]
    path = folder / "annotations" / "set.json"
    content = {"images": images, "annotations": marks, "categories": [{"id": n, "name": str(n)} for n in range(1, 27)]}
    path.write_text(json.dumps(content))
    return path


def make_boxes(folder: Path) -> Path:
    """A table of three frames."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "boxes.csv"
    path.write_text("file,patient,series,x0,y0,x1,y1\n1.png,p1,a,1,2,3,4\n2.png,p1,a,,,,\n3.png,p2,b,0.5,1,7,9\n")
    return path


def make_nnunet(folder: Path) -> Path:
    """One case."""
    for name, frame in (("imagesTr/c_0000.png", picture()), ("labelsTr/c.png", picture() % 2)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), frame)
    path = folder / "dataset.json"
    labels = {"background": 0, "vessel": 1}
    path.write_text(json.dumps({"channel_names": {"0": "XA"}, "labels": labels, "file_ending": ".png"}))
    return path


# Packs, weights, archives, texts


def packs() -> list[Reader]:
    """Each file of a pack, raw and compressed."""
    files = (("pack.json", hostile_json), ("part_00000.json", hostile_json), ("part_00000.bin", lambda _: ()))
    found = [Reader(f"pack, {name}", (name,), lambda f, n=name: make_pack(f, n), _read_pack, h) for name, h in files]
    return [
        *found,
        Reader(
            "pack, PNG in part_00000.bin",
            ("part_00000.bin",),
            lambda folder: make_pack(folder, "part_00000.bin", "png"),
            _read_pack,
        ),
    ]


def make_pack(folder: Path, name: str, codec: str = "raw") -> Path:
    """Three frames."""
    frames = folder.with_name(f"{folder.name}_frames")
    frames.mkdir(parents=True, exist_ok=True)
    for seed in range(3):
        cv2.imwrite(str(frames / f"{seed}.png"), picture(seed))
    pack_frames(open_frames([frames]), folder, PackSettings(codec=codec), workers=1)  # type: ignore[arg-type]
    return folder / name


def _read_pack(path: Path, _: Path) -> None:
    _every(PackDataset(path.parent))


def weights() -> list[Reader]:
    """Files of torch.save, new and old, safetensors, an export folder, a checkpoint of a run."""
    return [
        Reader("weights, .pth", ("w.pth",), lambda f: _torch(f, zipped=True), _inspect, hostile_zip, 300),
        Reader(
            "weights, .pth before 1.6", ("w.pth",), lambda f: _torch(f, zipped=False), _inspect, hostile_pickle, 400
        ),
        Reader("weights, safetensors", ("model.safetensors",), _safetensors, _inspect, hostile_safetensors, 400),
        Reader("export, config.json", ("config.json",), _export, _inspect, hostile_json, 300),
        Reader("checkpoint of a run", ("step.pt",), _checkpoint, lambda path, _: load_tensors(path), hostile_zip, 400),
    ]


def _inspect(path: Path, _: Path) -> None:
    inspect_weights(path.parent if path.name == "config.json" else path)


def _state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {"patch_embed.proj.weight": torch.rand(4, 1, 2, 2), "norm.bias": torch.rand(4), "head.w": torch.rand(3, 4)}


def _torch(folder: Path, *, zipped: bool) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"model": _state(), "epoch": 3}, folder / "w.pth", _use_new_zipfile_serialization=zipped)
    return folder / "w.pth"


def _safetensors(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_state(), folder / "model.safetensors", metadata={"format": "pt"})
    return folder / "model.safetensors"


def _export(folder: Path) -> Path:
    torch.manual_seed(0)
    facts = {"kind": "encoder", "model": "vit_test", "kwargs": {"img_size": 32}}
    save_pretrained(folder, create_model("vit_test", img_size=32), facts, "A test.")
    return folder / "config.json"


def _checkpoint(folder: Path) -> Path:
    save_tensors(folder / "step.pt", {"step": 4, "task": _state(), "name": "a"})
    return folder / "step.pt"


def archives() -> list[Reader]:
    """What `vasomim datasets --download` unpacks."""
    kinds: dict[str, Callable[[], bytes]] = {"zip": lambda: zip_of({"a/1.png": b"x" * 900, "a/b/2.png": b"y" * 90})}
    for suffix, mode in (("tar", "w"), ("tar.gz", "w:gz"), ("tar.bz2", "w:bz2"), ("tar.xz", "w:xz")):
        kinds[suffix] = lambda m=mode: tar_of([("a/1.png", b"x" * 900), ("a/b/2.png", b"y" * 90)], m)  # type: ignore[misc]
    return [
        Reader(
            f"archive, {suffix}",
            ("archive",),
            lambda folder, make=make: _write(folder / "archive", make()),  # type: ignore[misc]
            lambda path, out: unpack(path, out),
            lambda _: [*hostile_zips(), *hostile_tars()],
            400,
        )
        for suffix, make in kinds.items()
    ]


def _write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def texts() -> list[Reader]:
    """Recipes, lists of frames, evaluations to compare with."""
    return [
        Reader("recipe YAML", ("r.yaml",), _recipe, lambda path, _: load_config(FinetuneConfig, path), hostile_yaml),
        Reader("list of frames", ("frames.txt",), _list, lambda path, _: read_frame_list(path), hostile_list, 1200),
        Reader("evaluation.json", ("evaluation.json",), _evaluation, lambda p, _: read_evaluation(p), hostile_json),
    ]


def _recipe(folder: Path) -> Path:
    text = "model: vit_test_unet\nimg_size: 64\noptim: {lr: 1e-4, steps: 10}\ncrop:\n  scale: [0.5, 1.0]\n"
    return _write(folder / "r.yaml", text.encode())


def _list(folder: Path) -> Path:
    for seed in range(2):
        _write(folder / "f" / f"{seed}.png", b"")
    return _write(folder / "frames.txt", b"# two frames\nf/\n0.png\n1.png\n")


def _evaluation(folder: Path) -> Path:
    names = [*METRICS]
    _write(folder / "per_image.csv", (",".join(["id", *names]) + "\n1," + ",".join(["0.5"] * len(names))).encode())
    return _write(folder / "evaluation.json", json.dumps({"protocol": {"data": "a", "size": None}, "n": 1}).encode())
