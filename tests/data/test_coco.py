"""The one reader of COCO files: values of every kind, and what is broken in them."""

from __future__ import annotations

from typing import Any

import pytest

from vasomim.data.arcade import ArcadeDataset
from vasomim.data.audit.coco_checks import check_annotations
from vasomim.data.coco import parse_coco
from vasomim.errors import DataError

SQUARE = [1, 1, 9, 1, 9, 9]


def coco(image: dict[str, Any] | None = None, label: dict[str, Any] | None = None) -> dict[str, Any]:
    """A file with one frame and one label, some of their values others."""
    return {
        "images": [{"id": 1, "file_name": "1.png", "height": 24, "width": 32} | (image or {})],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 5, "segmentation": [SQUARE]} | (label or {})],
        "categories": [{"id": 5, "name": "5"}, {"id": 30, "name": "Stenosis"}],
    }


def test_parse_coco__whole_file() -> None:
    found = parse_coco(coco())
    assert found is not None
    assert (found.images[0].file_name, found.images[0].shape) == ("1.png", (24, 32))
    assert found.labels[0].kind == "vessel"
    assert found.labels[0].outlines is not None
    assert not isinstance(found.labels[0].outlines[0], str)
    assert found.labels[0].outlines[0].tolist() == [[1, 1], [9, 1], [9, 9]]
    assert found.names == {5: "5", 30: "Stenosis"}


@pytest.mark.parametrize("content", [None, [], 3, {}, {"images": [], "annotations": {}}, {"annotations": []}])
def test_parse_coco__no_coco_file(content: object) -> None:
    assert parse_coco(content) is None


@pytest.mark.parametrize(
    ("category", "kind"),
    [(1, "vessel"), (25, "vessel"), (26, "stenosis"), (30, "stenosis"), (0, ""), (True, ""), ("5", "")],
)
def test_parse_coco__kinds_of_categories(category: object, kind: str) -> None:
    found = parse_coco(coco(label={"category_id": category}))
    assert found is not None
    assert found.labels[0].kind == kind


@pytest.mark.parametrize(
    ("image", "label", "reader", "audit"),
    [
        ({"file_name": 3}, {}, "no COCO file: TypeError a file_name that is no text", "1 image entries without id"),
        ({"id": None}, {}, "no COCO file: TypeError an id that is null", "1 image entries without id"),
        ({}, {"segmentation": [["1"] * 6]}, "annotation number 0: a part that is no list", "1 outlines that are no"),
        ({}, {"segmentation": [SQUARE[:5]]}, "annotation number 0: 5 numbers are no polygon", "1 outlines that are no"),
        ({}, {"segmentation": {"counts": ""}}, "annotation number 0: no polygons", "1 outlines that are no polygon"),
        ({}, {"category_id": 27}, "uses category 27", "not listed or not known: 27"),
        ({}, {"image_id": 9}, "that it does not list: 9", "annotates 1 image ids that it does not list: 9"),
    ],
)
def test_readers__refuse_what_the_audit_names(
    make_arcade: Any, image: dict[str, Any], label: dict[str, Any], reader: str, audit: str
) -> None:
    content = coco(image, label)
    assert audit in " ".join(text for _, _, text, _ in check_annotations(content).problems)
    with pytest.raises(DataError, match=reader):
        ArcadeDataset(make_arcade(content, files=["1.png"]))
