"""XA-170K's layout: vessels beside their frames are vessels, never frames."""

import numpy as np
import pytest

from vasomim.data.extraction import VesselStore
from vasomim.data.frames import write_png
from vasomim.data.open import open_frames
from vasomim.data.samples import with_vessels
from vasomim.data.sibling_vessels import SiblingVessels, open_vessels
from vasomim.errors import DataError, MisuseError


@pytest.fixture
def corpus(tmp_path):
    """Two sources with their vessels, one frame without."""
    rng = np.random.default_rng(0)
    for source in ("cadica", "syntax"):
        for name in ("1.png", "2.png"):
            write_png(tmp_path / source / name, rng.integers(0, 256, (16, 16), dtype=np.uint8))
            write_png(tmp_path / f"{source}_frangi" / name, rng.random((16, 16)) > 0.5)
    write_png(tmp_path / "syntax" / "3.png", np.zeros((16, 16), np.uint8))
    return tmp_path


def test_open_frames__vessels_beside_their_frames_are_no_frames(corpus):
    frames = open_frames([corpus])
    assert [record.id for record in frames.records] == ["cadica/1", "cadica/2", "syntax/1", "syntax/2", "syntax/3"]


def test_open_frames__a_folder_of_that_name_alone_is_an_ordinary_one(tmp_path):
    write_png(tmp_path / "mine_frangi" / "1.png", np.zeros((4, 4), np.uint8))
    assert len(open_frames([tmp_path])) == 1


def test_open_vessels__pairs_by_name(corpus):
    frames, store = open_frames([corpus]), open_vessels(corpus)
    assert isinstance(store, SiblingVessels)
    assert [record in store for record in frames.records] == [True, True, True, True, False]
    sample = with_vessels(frames, store)[3]
    other = with_vessels(open_frames([corpus / "syntax"]), store)[1]
    assert sample.vessels is not None
    assert np.array_equal(sample.vessels, other.vessels)
    with pytest.raises(DataError, match=r"no extracted vessels for .*3\.png in .*syntax_frangi"):
        store.load(frames.records[4])


def test_open_vessels__a_jpeg_may_have_a_png_beside(corpus):
    (corpus / "syntax" / "2.png").rename(corpus / "syntax" / "2.jpg")
    record = open_frames([corpus / "syntax"]).records[1]
    assert record in open_vessels(corpus)


def test_open_vessels__neither_kind(tmp_path):
    with pytest.raises(MisuseError, match="holds no pair of folders"):
        SiblingVessels(tmp_path)
    with pytest.raises(MisuseError, match="holds no extracted vessels"):
        open_vessels(tmp_path)
    (tmp_path / "extraction.json").write_text('{"method": "default"}')
    assert isinstance(open_vessels(tmp_path), VesselStore)
