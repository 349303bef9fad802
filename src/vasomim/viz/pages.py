"""Pages that open offline in any browser: one text, plain CSS, light and dark, no script, no outside address."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy.typing as npt

from vasomim.viz.images import Color, png_data_uri


@dataclass(frozen=True, slots=True)
class Html:
    """A text that is HTML already and must not be escaped."""

    text: str


Cell = str | float | int | bool | None | Html

_CSS = """
:root{color-scheme:light dark;
--paper:#fcfcfb;--ink:#1d2329;--soft:#5c6670;--line:#dfe3e6;--panel:#f3f5f6;--accent:#1f6fb2}
@media (prefers-color-scheme:dark){:root{
--paper:#14181c;--ink:#e4e8eb;--soft:#9aa5af;--line:#2e363d;--panel:#1c2227;--accent:#6db3ec}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:40px 28px 64px}
h1{font-size:1.9rem;line-height:1.2;letter-spacing:-.01em;margin:0 0 .35em}
h2{font-size:1.22rem;margin:2.4em 0 .7em;padding-top:.9em;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.5em 0 .5em}
a{color:var(--accent)}
.lead{color:var(--soft);margin:0 0 1.4em;max-width:46em}
p{max-width:46em}
nav{display:flex;flex-wrap:wrap;gap:.3em 1.3em;font-size:.9rem}
nav a{text-decoration:none}
nav a:hover{text-decoration:underline}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);padding:0 0 .5em}
th,td{padding:.42em 1.1em .42em 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
th{font-weight:600;color:var(--soft);white-space:nowrap}
td.n,th.n{text-align:right}
tbody tr:hover{background:var(--panel)}
svg.chart{max-width:100%;height:auto;display:block;margin:.4em 0 1.2em}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,470px),1fr));gap:.5em 2em}
.gallery{display:flex;flex-wrap:wrap;gap:18px 14px;align-items:flex-start}
figure{margin:0;max-width:100%}
figure img{display:block;max-width:100%;height:auto;border-radius:3px;background:#000}
figcaption{color:var(--soft);font-size:.84rem;line-height:1.4;padding-top:.35em;overflow-wrap:anywhere}
.legend{display:flex;flex-wrap:wrap;gap:.3em 1.4em;font-size:.9rem;margin:.2em 0 1em}
.legend i{display:inline-block;width:.85em;height:.85em;border-radius:2px;margin-right:.45em;vertical-align:-.08em}
code,pre{font:.88em ui-monospace,"SF Mono",Consolas,monospace}
pre{background:var(--panel);border-radius:4px;padding:.9em 1.1em;overflow-x:auto}
footer{margin-top:3.2em;padding-top:1em;border-top:1px solid var(--line);color:var(--soft);font-size:.85rem}
@media print{main{max-width:none;padding:0}figure,svg.chart,tr{break-inside:avoid}}
"""


def html_page(title: str, sections: Sequence[tuple[str, str]], footer: str = "", lead: str = "") -> str:
    """A whole page: title, one line of introduction, sections of (heading, HTML), footer.

    Title, headings, lead and footer are plain text and are escaped; the sections' bodies are HTML. Four sections and
    more get a line of links at the top.
    """
    links = "".join(f'<a href="#s{k}">{escape(heading)}</a>' for k, (heading, _) in enumerate(sections))
    parts = [f"<h1>{escape(title)}</h1>"]
    if lead:
        parts.append(f'<p class="lead">{escape(lead)}</p>')
    if len(sections) >= 4:
        parts.append(f"<nav>{links}</nav>")
    parts += [
        f'<section id="s{k}"><h2>{escape(heading)}</h2>\n{body}</section>' for k, (heading, body) in enumerate(sections)
    ]
    if footer:
        parts.append(f"<footer>{escape(footer)}</footer>")
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_CSS}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def html_table(rows: Sequence[Sequence[Cell]], header: Sequence[str] = (), caption: str = "") -> str:
    """A table; columns of numbers are set flush right, missing values (None, NaN) show as a dash.

    Floats show four significant digits; give a text for another precision. Texts are escaped, `Html` is not.
    """
    width = max([len(header), *map(len, rows)], default=0)
    numeric = [_is_numeric([row[k] for row in rows if k < len(row)]) for k in range(width)]
    head = "".join(f'<th{_class(numeric[k])} scope="col">{escape(name)}</th>' for k, name in enumerate(header))
    body = "\n".join(
        "<tr>" + "".join(f"<td{_class(numeric[k])}>{_cell(cell)}</td>" for k, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return (
        '<div class="scroll"><table>'
        + (f"<caption>{escape(caption)}</caption>" if caption else "")
        + (f"<thead><tr>{head}</tr></thead>" if header else "")
        + f"<tbody>{body}</tbody></table></div>"
    )


def html_figure(picture: npt.NDArray[Any], caption: str = "", max_side: int | None = None) -> str:
    """A picture, as `to_rgb` takes it, held in the page itself, with a caption below."""
    height, width = picture.shape[:2]
    scale = min(1.0, max_side / max(height, width)) if max_side else 1.0
    # At most as wide as its pixels, so that a row of small pictures stays a row.
    style = f"width:{round(width * scale)}px"
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure style="{style}"><img src="{png_data_uri(picture, max_side)}" alt="{escape(caption or "picture")}" '
        f'width="{round(width * scale)}" height="{round(height * scale)}">{below}</figure>'
    )


def html_gallery(figures: Sequence[str]) -> str:
    """Figures side by side, wrapped to the width of the page."""
    return f'<div class="gallery">{"".join(figures)}</div>'


def html_charts(charts: Iterable[str]) -> str:
    """Charts (`line_chart`) two in a row where the page is wide enough; nothing for no chart."""
    body = "".join(charts)
    return f'<div class="charts">{body}</div>' if body else ""


def html_legend(colors: Mapping[str, Color]) -> str:
    """Names beside squares of their colour, for example `html_legend(ERROR_COLORS)`."""
    entries = (
        f'<span><i style="background:rgb({r},{g},{b})"></i>{escape(name)}</span>' for name, (r, g, b) in colors.items()
    )
    return f'<div class="legend">{"".join(entries)}</div>'


def _is_numeric(cells: Sequence[Cell]) -> bool:
    """Whether a column holds numbers (as numbers or as texts that start with one) and nothing else."""
    present = [cell for cell in cells if not (cell is None or cell in ("", "—", "-"))]
    return bool(present) and all(_looks_numeric(cell) for cell in present)


def _looks_numeric(cell: Cell) -> bool:
    if isinstance(cell, str):
        return cell.strip().lstrip("+-")[:1].isdigit()
    return not isinstance(cell, bool | Html)


def _class(numeric: bool) -> str:
    return ' class="n"' if numeric else ""


def _cell(cell: Cell) -> str:
    if isinstance(cell, Html):
        return cell.text
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "—"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return f"{cell:.4g}" if isinstance(cell, float) else escape(str(cell))
