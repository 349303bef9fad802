"""Pages: escaped, self-contained, well-formed."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import numpy as np

from vasomim.viz.pages import Html, html_charts, html_figure, html_gallery, html_legend, html_page, html_table

EVIL = '<script>alert("1")</script>&'


class Balance(HTMLParser):
    """Checks that every tag is closed in order."""

    VOID = ("meta", "img", "br", "line", "circle", "rect", "polyline")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002 - the parser's signature
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check(html: str) -> None:
    parser = Balance()
    parser.feed(html)
    parser.close()
    assert not parser.open


def page() -> str:
    figure = html_figure(np.zeros((4, 6), np.uint8), EVIL)
    table = html_table([[EVIL, 1.5], [Html("<b>x</b>"), None]], ["name", EVIL], EVIL)
    sections = [(EVIL, table), ("Pictures", html_gallery([figure, figure])), ("c", html_charts([])), ("d", "<p>x</p>")]
    return html_page(EVIL, sections, footer=EVIL, lead=EVIL)


def test_html_page__is_well_formed_and_escapes_text() -> None:
    html = page()
    check(html)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 7
    assert "<b>x</b>" in html


def test_html_page__needs_nothing_from_outside() -> None:
    html = page()
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<link|<script|src=\"(?!data:)", html)
    assert "prefers-color-scheme:dark" in html


def test_html_table__columns_of_numbers_are_flush_right_and_missing_values_dashes() -> None:
    html = html_table([["a", 0.123456, 3, True], ["b", math.nan, None, False]], ["name", "dice", "n", "ours"])
    check(html)
    assert '<td class="n">0.1235</td>' in html
    assert html.count('<td class="n">—</td>') == 2
    assert "<td>a</td>" in html
    assert "<td>yes</td>" in html


def test_html_table__intervals_count_as_numbers() -> None:
    assert '<td class="n">0.71 [0.69, 0.73]</td>' in html_table([["0.71 [0.69, 0.73]"], ["—"]])


def test_html_figure__is_not_larger_than_asked() -> None:
    assert 'width="50" height="25"' in html_figure(np.zeros((100, 200), np.uint8), max_side=50)
    assert 'width="200" height="100"' in html_figure(np.zeros((100, 200), np.uint8), max_side=500)


def test_html_legend__shows_names_and_colors() -> None:
    html = html_legend({"found": (1, 2, 3)})
    check(html)
    assert "rgb(1,2,3)" in html
    assert "found" in html
