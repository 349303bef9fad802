"""Whatever an annotation file holds, its check finds words for it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vasomim.data.audit.coco_checks import check_annotations
from vasomim.data.audit.findings import KINDS

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
IDS = st.integers(0, 4) | JSON
IMAGES = st.fixed_dictionaries(
    {}, optional={"id": IDS, "file_name": st.sampled_from("abc") | JSON, "width": JSON, "height": JSON}
)
PARTS = st.lists(st.lists(st.integers(-9, 99) | st.floats(), max_size=12) | JSON, max_size=3) | JSON
ANNOTATIONS = st.fixed_dictionaries(
    {}, optional={"id": IDS, "image_id": IDS, "category_id": st.integers(0, 30) | JSON, "segmentation": PARTS}
)
FILES = JSON | st.fixed_dictionaries(
    {
        "images": st.lists(IMAGES | JSON, max_size=5) | JSON,
        "annotations": st.lists(ANNOTATIONS | JSON, max_size=6) | JSON,
    },
    optional={"categories": st.lists(st.fixed_dictionaries({"id": IDS, "name": JSON}) | JSON, max_size=3) | JSON},
)


@pytest.mark.parametrize("image", [{"id": None, "file_name": "a.png"}, {"file_name": "a.png"}])
@pytest.mark.parametrize("label", [{}, {"image_id": None}])
def test_check_annotations__takes_a_null_for_no_id(image, label):
    found = check_annotations({"images": [image], "annotations": [label]})
    assert [kind for kind, *_ in found.problems] == ["unreadable_annotations", "unknown_image_id"]
    assert not found.listed


def test_check_annotations__of_missing_ids_none_repeats_another():
    labels = [{"id": None, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]]}] * 2
    categories = [{"id": None, "name": "stenosis"}]
    content = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": labels, "categories": categories}
    assert check_annotations(content).problems == []


@settings(max_examples=60)
@given(FILES)
@example({"images": [{"id": None, "file_name": "a"}], "annotations": [{}]})
def test_check_annotations__survives_everything(content):
    found = check_annotations(content)
    assert all(kind in KINDS and count >= 1 and isinstance(text, str) for kind, _, text, count in found.problems)
    entries = content.get("images") if isinstance(content, dict) else None
    given = (
        [entry.get("file_name") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    )
    assert all(name in given for name in found.listed)
    assert all(name in given for _, files, _, _ in found.problems for name in files)
    assert all(
        len(outline) >= 3 and np.isfinite(outline).all() for item in found.listed.values() for outline in item.vessels
    )
