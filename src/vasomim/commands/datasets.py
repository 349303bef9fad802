"""`vasomim datasets`: public data sets by name, fetched, verified, arranged; labelled data for nnU-Net."""

from __future__ import annotations

from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import Any

from vasomim.commands.console import byte_bars, print_result, progress_bar, say
from vasomim.config import DatasetsConfig
from vasomim.data.registry import DATASETS, DatasetCard, dataset_named


def run(config: DatasetsConfig, *, json: bool = False, verbose: bool = False) -> int:  # noqa: ARG001
    """List the data sets, or do what is asked with one; 1 where a verified folder lacks something."""
    if config.show is not None:
        return _show(dataset_named(config.show), json=json)
    if config.download is not None:
        return _download(dataset_named(config.download), config.out or Path(), json=json)
    if config.verify is not None:
        return _verify(dataset_named(config.verify), config.inputs[0], json=json)
    if config.arrange is not None:
        return _arrange(dataset_named(config.arrange), config, json=json)
    if config.nnunet is not None:
        return _write_nnunet(config, json=json)
    return _list(json=json)


def _list(*, json: bool) -> int:
    if json:
        print(dumps([_facts(card) for card in DATASETS.values()], indent=2, ensure_ascii=False))
        return 0
    width = max(map(len, DATASETS))
    for card in DATASETS.values():
        way = "download" if card.downloadable else "by hand"
        print(f"{card.name:<{width}}  {way:<8}  {card.licence or 'no licence stated':<17.17}  {card.frames}")
    say("`vasomim datasets --show NAME` says more; respect the licences, and cite")
    return 0


def _facts(card: DatasetCard) -> dict[str, Any]:
    return {**asdict(card), "downloadable": card.downloadable}


def _show(card: DatasetCard, *, json: bool) -> int:
    if json:
        print(dumps(_facts(card), indent=2, ensure_ascii=False))
        return 0
    rows = [
        ("", card.title),
        ("frames", card.frames),
        ("labels", card.labels),
        ("licence", card.licence or "none stated: ask the publishers before you pass on data or weights"),
        ("cite", card.citation),
        ("page", card.page),
        ("size", card.size or "unknown"),
        ("get it", card.obtain),
        *(("file", f"{a.file}: {'sha256 ' + a.sha256 if a.sha256 else 'no hash published'}") for a in card.archives),
        ("read it", card.reader),
    ]
    print(card.name)
    print("\n".join(f"  {name:<8} {text}" for name, text in rows))
    for layout in card.layouts:
        print(f"  layout   {layout.name}")
        for part in layout.parts:
            print(f"             {part.pattern:<40} {part.count if part.count is not None else '?':>7} {part.what}")
    return 0


def _download(card: DatasetCard, out: Path, *, json: bool) -> int:
    from vasomim.data.obtain import obtain  # not needed to list

    say(f"{card.name}: licence {card.licence or 'not stated'}; cite {card.citation}")
    with byte_bars() as start:
        folder, fetched = obtain(card, out, start)
    for item in fetched:
        if not item.checked:
            say(f"no hash of {item.archive.file} is published; it has sha256 {item.sha256}")
    result = {"name": card.name, "folder": str(folder), "files": {f.archive.file: f.sha256 for f in fetched}}
    print_result(result, json=json)
    say(f"check it: vasomim datasets {folder} --verify {card.name}")
    return 0


def _verify(card: DatasetCard, folder: Path, *, json: bool) -> int:
    from vasomim.data.verification import verify  # loads OpenCV

    found = verify(card, folder)
    if json:
        facts = {
            "name": card.name,
            "complete": found.complete,
            "layout": found.layout,
            "root": str(found.root),
            "parts": [{**asdict(item.part), "found": item.count, "complete": item.complete} for item in found.found],
            "unpaired": found.unpaired,
            "frames": found.frames,
            "labelled": {str(path): count for path, count in found.labelled},
            "problems": found.problems,
        }
        print(dumps(facts, indent=2))
        return 0 if found.complete else 1
    print(f"{card.name} in {found.root}, layout: {found.layout}")
    for item in found.found:
        print(f"  {'ok     ' if item.complete else 'MISSING'} {item}")
    for line in (*found.unpaired, *found.problems):
        print(f"  WRONG   {line}")
    print(f"  reads   {found.frames} frames; labelled: {_sets(found.labelled)}")
    print("complete" if found.complete else "incomplete")
    return 0 if found.complete else 1


def _sets(labelled: tuple[tuple[Path, int], ...]) -> str:
    return ", ".join(f"{path} ({count})" for path, count in labelled) or "none"


def _arrange(card: DatasetCard, config: DatasetsConfig, *, json: bool) -> int:
    from vasomim.data.arrange import arrange  # loads OpenCV

    out = config.out or Path()
    print_result({"folder": str(out), "frames": arrange(card, config.inputs[0], out)}, json=json)
    return 0


def _write_nnunet(config: DatasetsConfig, *, json: bool) -> int:
    from vasomim.data.nnunet import write_nnunet  # loads OpenCV
    from vasomim.data.open import open_labelled

    assert config.nnunet is not None
    labelled = open_labelled(config.inputs, rasteriser=config.rasteriser)
    classes = {value: f"segment_{value}" for value in range(1, 26)} if config.classes else None
    target = (config.out or Path()) / config.nnunet
    with progress_bar("writing for nnU-Net", len(labelled)) as step:
        folder = write_nnunet(labelled, target, config.file_ending, classes, progress=lambda: step(1))
    print_result({"folder": str(folder), "frames": len(labelled)}, json=json)
    return 0
