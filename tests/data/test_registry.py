"""Cards of data sets: complete, and honest about what is not known."""

import re
from fnmatch import fnmatch
from urllib.parse import urlsplit

import pytest

from vasomim.data.registry import DATASETS, dataset_named
from vasomim.errors import MisuseError

CARDS = pytest.mark.parametrize("card", DATASETS.values(), ids=lambda card: card.name)


def test_datasets__those_of_the_field_are_there():
    assert set(DATASETS) == {
        *("arcade", "xcad", "dca1", "xcav", "cadica", "syntax", "coronarydominance", "danilov", "xa-170k"),
    }


@CARDS
def test_datasets__every_card_says_whose_it_is_and_what_reads_it(card):
    assert card.name == card.name.lower()
    for text in (card.title, card.frames, card.labels, card.citation, card.obtain, card.reader):
        assert text
        assert "\n" not in text
    assert re.search(r"(19|20)\d\d", card.citation)
    assert urlsplit(card.page).scheme in ("https", "http")
    assert card.layouts
    assert card.licence is None or card.licence


@CARDS
def test_datasets__addresses_are_https_or_have_a_hash(card):
    for archive in card.archives:
        assert urlsplit(archive.url).scheme == "https" or archive.sha256
        assert archive.sha256 is None or re.fullmatch("[0-9a-f]{64}", archive.sha256)
        assert archive.md5 is None or re.fullmatch("[0-9a-f]{32}", archive.md5)
        assert "/" not in archive.file
    assert card.downloadable == card.obtain.startswith(f"vasomim datasets --download {card.name} --out")


@CARDS
def test_datasets__layouts_are_patterns_below_the_root(card):
    for layout in card.layouts:
        for part in layout.parts:
            assert not part.pattern.startswith("/")
            assert ".." not in part.pattern
            assert part.count is None or part.count > 0


def test_datasets__the_corpus_adds_up():
    counts = [part.count for part in DATASETS["xa-170k"].layouts[0].parts if not fnmatch(part.pattern, "*_frangi/*")]
    assert sum(counts) == 171_478


@pytest.mark.parametrize(("name", "message"), [("arcde", "did you mean arcade"), ("zzz", "there are arcade, xcad")])
def test_dataset_named__unknown(name, message):
    with pytest.raises(MisuseError, match=message):
        dataset_named(name)
    assert dataset_named("ARCADE").name == "arcade"
