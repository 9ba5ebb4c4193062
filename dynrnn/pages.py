"""What pages have in common: one file that loads nothing from elsewhere, one style, every name escaped, since names come from other people's files."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 62rem; margin: 2rem auto; padding: 0 1.2rem }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; overflow-wrap: anywhere }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #ddd } h3 { font-size: 1rem }
p.sub, p.note, figcaption, small { color: #666; font-size: .87rem } p.note { margin: .3rem 0 }
p.verdict { background: #f4f7fa; border-left: 4px solid #0072b2; padding: .7rem 1rem }
p.verdict.bad { background: #fdf3f2; border-color: #b3261e }
div.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .85rem }
th, td { padding: .25rem .6rem; text-align: right; vertical-align: top; border-bottom: 1px solid #eee; white-space: nowrap }
th:first-child, td:first-child, th.text, td.text { text-align: left } td.text { white-space: normal }
thead th { border-bottom: 2px solid #bbb }
tr.bad td { color: #a11 } td small, th small { display: block; font-weight: normal }
figure { margin: 0 0 1rem }
div.side { display: grid; grid-template-columns: repeat(auto-fill, minmax(25rem, 1fr)); gap: 0 1rem }
img { max-width: 100%; height: auto }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; font-size: .9rem; margin: 0 }
dt { color: #666 } dd { margin: 0; overflow-wrap: anywhere }
pre { background: #f6f6f6; padding: .7rem; overflow-wrap: anywhere; white-space: pre-wrap; font-size: .8rem }
@media print {
  body { margin: 0; max-width: none; font-size: 11px } div.wide { overflow: visible }
  figure, tr, p.verdict { break-inside: avoid } h2 { break-after: avoid }
}
"""


class Html(str):
    """Text that is HTML already; any other text is escaped."""


def html(value: Any) -> str:
    return value if isinstance(value, Html) else escape(str(value))


def document(title: str, body: str) -> str:
    """A whole page."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title><style>{_STYLE}</style></head>'
        f"<body>\n{body}\n</body></html>\n"
    )


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], texts: Collection[int] = (), bad: Collection[int] = ()) -> str:
    """Cells are text, or ``Html``; columns in ``texts`` are set as running text, rows in ``bad`` in red."""
    kind = ["" if i not in texts else " class=text" for i in range(len(head))]
    top = "".join(f"<th{k}>{html(cell)}</th>" for k, cell in zip(kind, head))
    lines = []
    for at, row in enumerate(rows):
        cells = "".join(f"<td{k}>{html(cell)}</td>" for k, cell in zip(kind, row))
        lines.append(f"<tr{' class=bad' if at in bad else ''}>{cells}</tr>")
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def description(facts: Mapping[str, Any]) -> str:
    """Names and what is said of them."""
    return "<dl>" + "".join(f"<dt>{html(key)}</dt><dd>{html(value)}</dd>" for key, value in facts.items()) + "</dl>"


def note(text: Any) -> str:
    return f'<p class="note">{html(text)}</p>'


def png_of(figure: Any, dpi: int = 110) -> bytes:
    """A matplotlib figure as PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi)
    return stream.getvalue()


def picture(png: bytes, title: str, caption: Any) -> str:
    """A PNG within the page."""
    image = f'<img alt="{escape(title)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
    return f"<figure>{image}<figcaption>{html(caption)}</figcaption></figure>"


def number(value: float) -> str:
    return f"{float(value):.3g}"


def spread(values: np.ndarray) -> str:
    """Median, and the range where there is more than one value."""
    values = np.atleast_1d(values)
    middle = number(np.median(values))
    return middle if values.size == 1 else f"{middle} <small>[{number(values.min())}, {number(values.max())}]</small>"
