"""One HTML page of what a recipe made: photograph, crop, inversions, edits, partner, with scores.

The page needs nothing outside itself: pictures are data URIs, a policy in its head lets neither
foreign scripts nor requests through, and every text is escaped (names of files are anybody's).
"""

import base64
import hashlib
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from invertory.pipelines.gallery.cells import METRICS, reject_html, row_html, text
from invertory.pipelines.gallery.shots import GalleryRow, RejectShot, Summary
from invertory.pipelines.gallery.style import CSS, JS

PLUS_MINUS: Final = "\N{PLUS-MINUS SIGN}"


def write_gallery(
    rows: Iterable[GalleryRow],
    out: BinaryIO,
    *,
    title: str,
    summary: Summary,
    rejects: Iterable[RejectShot] = (),
    max_rows: int = 48,
    max_bytes: int = 10_000_000,
) -> int:
    """Write the page to `out`; gives the number of bytes, which stay below `max_bytes`.

    Rows are drawn one by one. Thumbnails shrink where a row asks for more than its share; what is
    left out when the page is full is said at its end.
    """
    page = _Page(out, max_bytes)
    page.write(_head(title, summary))
    share = int(max_bytes * 0.85 / max(max_rows, 1))
    shown, left_out = 0, 0
    for row in rows:
        if shown == max_rows or not page.take(row_html(row, share)):
            left_out += 1
            continue
        shown += 1
    page.write(_note(shown, left_out))
    page.write(_rejects(rejects, page.left // 2))
    page.write(_TAIL)
    return page.size


@dataclass
class _Page:
    """What is written so far, and how much may follow."""

    out: BinaryIO
    max_bytes: int
    size: int = 0

    @property
    def left(self) -> int:
        return self.max_bytes - self.size

    def write(self, html: str) -> None:
        data = html.encode()
        self.out.write(data)
        self.size += len(data)

    def take(self, html: str) -> bool:
        """Write `html` unless the page is nearly full; a twentieth is kept for the end."""
        if len(html.encode()) > self.left - self.max_bytes // 20:
            return False
        self.write(html)
        return True


def _head(title: str, summary: Summary) -> str:
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src 'sha256-{_sha(CSS)}'; script-src 'sha256-{_sha(JS)}'"
    )
    options = "".join(
        f'<option value="{name} {sign * way}">{words}</option>'
        for name, sign, way, words in (
            ("psnr", 1, -1, "best PSNR first"),
            ("psnr", 1, 1, "worst PSNR first"),
        )
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="generator" content="Invertory"><title>{text(title)}</title>
<style>{CSS}</style></head><body>
<header><h1>{text(title)}</h1><span class="count"><span id="shown"></span> pictures shown</span>
<div class="tools">
<input id="find" type="search" placeholder="Filter by name or id  ( / )" aria-label="Filter">
<select id="order" aria-label="Order"><option value="place 1">as in the collection</option>
{options}</select></div></header>
<main><div class="about"><div>{_about(summary)}{_methods(summary)}</div>{_models(summary)}</div>
<div class="rows">
"""


def _about(summary: Summary) -> str:
    tiles = "".join(
        f"<div><dt>{text(name)}</dt><dd>{number:,}</dd></div>"
        for name, number in summary.counts.items()
    )
    lead = f'<p class="lead">{text(summary.description)}</p>' if summary.description else ""
    return (
        f'<div class="panel"><h2>Recipe {text(summary.recipe)}</h2>{lead}'
        f'<dl class="tiles">{tiles}</dl></div>'
    )


def _methods(summary: Summary) -> str:
    """Mean and standard deviation over all crops, the better mean of each column marked."""
    names = [n for n in METRICS if any(found.get(n) for found in summary.methods.values())]
    if not names:
        return ""
    best = {name: _best_mean(name, summary) for name in names}
    heads = "".join(f"<th>{_metric_title(name, summary)}</th>" for name in names)
    lines = "".join(
        f"<tr><th>{text(method)}</th>"
        + "".join(_mean(name, values.get(name, ()), best[name]) for name in names)
        + f'<td class="num">{max((len(v) for v in values.values()), default=0):,}</td></tr>'
        for method, values in summary.methods.items()
    )
    return (
        f'<div class="panel"><h2>Methods, mean {PLUS_MINUS} sd</h2><table><thead><tr>'
        f"<th>Method</th>{heads}<th>n</th></tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _best_mean(name: str, summary: Summary) -> float | None:
    """The best mean, where there are several to compare."""
    means = [statistics.fmean(found[name]) for found in summary.methods.values() if found.get(name)]
    sign = METRICS[name].sign
    return sign * max(sign * mean for mean in means) if len(means) > 1 else None


def _metric_title(name: str, summary: Summary) -> str:
    title = summary.perceptual if name == "perceptual" else METRICS[name].title
    return f"{text(title)} {'↑' if METRICS[name].sign > 0 else '↓'}"


def _mean(name: str, values: Sequence[float], best: float | None) -> str:
    if not values:
        return '<td class="num">-</td>'
    mean, metric = statistics.fmean(values), METRICS[name]
    spread = f"{statistics.stdev(values):.{metric.decimals}f}" if len(values) > 1 else "-"
    mark = " best" if mean == best else ""
    sd = f'<span class="sd"> {PLUS_MINUS} {spread}{metric.unit}</span>'
    return f'<td class="num{mark}">{mean:.{metric.decimals}f}{sd}</td>'


def _models(summary: Summary) -> str:
    if not summary.models:
        return ""
    lines = "".join(
        f"<li><b>{text(m.name)}</b> <i>{text(m.kind)}</i> {text(m.licence)}"
        f"<small>{text(m.source)}</small></li>"
        for m in summary.models
    )
    return (
        f'<div class="panel"><h2>Networks and licences</h2><ul class="networks">{lines}</ul></div>'
    )


def _note(shown: int, left_out: int) -> str:
    words = f"{shown} shown" + (f", {left_out} more are in the tables" if left_out else "")
    empty = "Nothing to show yet: no crop has been made." if not shown else words
    return f'</div><p class="note">{empty}</p>'


def _rejects(rejects: Iterable[RejectShot], max_bytes: int) -> str:
    """Rejects while they fit; the rest is counted."""
    parts: list[str] = []
    total = 0
    for shot in rejects:
        total += 1
        html = reject_html(shot) if max_bytes > 0 else ""
        max_bytes -= len(html.encode())
        if html and max_bytes > 0:
            parts.append(html)
    if not total:
        return ""
    more = f'<p class="note">{total - len(parts)} more</p>' if total > len(parts) else ""
    return (
        f'<section><div class="panel"><h2>Rejected ({total:,})</h2>'
        f'<div class="rejects">{"".join(parts)}</div>{more}</div></section>'
    )


def _sha(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


_TAIL: Final = f'</main><dialog><img alt=""><p></p></dialog><script>{JS}</script></body></html>\n'
