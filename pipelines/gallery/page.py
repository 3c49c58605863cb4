"""One HTML page with a recipe's results: photograph, crop, inversions, edits, partner, scores.

The page is self-contained: images are data URIs, its Content-Security-Policy allows no other style,
script or request, and the templates escape every text, since file names are untrusted.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from markupsafe import Markup

from invertory.pipelines.gallery.cells import reject_html, row_html
from invertory.pipelines.gallery.metrics import ROW_METRICS, compare_methods
from invertory.pipelines.gallery.rendering import encode, security_policy, static_file, template
from invertory.pipelines.gallery.shots import GalleryRow, RejectShot, Summary

MAX_REJECTS: Final = 60


def write_gallery(
    rows: Iterable[GalleryRow],
    out: BinaryIO,
    *,
    title: str,
    summary: Summary,
    rejects: Iterable[RejectShot] = (),
    max_rows: int = 48,
    max_rejects: int = MAX_REJECTS,
    num_more: int = 0,
    max_bytes: int = 10_000_000,
) -> int:
    """Write the page to `out` and return its number of bytes, which stays below `max_bytes`.

    Rows are rendered one by one. Thumbnails shrink if a row needs more than its share. The page
    shows how many rows and rejects it omits, including `num_more` rows beyond `rows`.
    """
    output = _Output(out, max_bytes)
    style, script = static_file("gallery.css"), static_file("gallery.js")
    for html in template("page.html.j2").generate(
        title=title,
        summary=summary,
        comparison=compare_methods(summary),
        orders=ROW_METRICS,
        rows=_Rows(rows, output, max_rows, num_left_out=num_more),
        rejects=_Rejects(rejects, output, max_rejects),
        policy=security_policy(style, script),
        style=style,
        script=script,
    ):
        output.write(html)
    return output.num_bytes


@dataclass
class _Output:
    """The output file, the bytes written so far and the limit."""

    file: BinaryIO
    max_bytes: int
    num_bytes: int = 0

    @property
    def left_bytes(self) -> int:
        return self.max_bytes - self.num_bytes

    def write(self, html: str) -> None:
        data = encode(html)
        self.file.write(data)
        self.num_bytes += len(data)


@dataclass
class _Rows:
    """Rows as HTML while they fit; a twentieth of the page is reserved for its end.

    The template iterates while the page is being written, so that `output` has the bytes left.
    """

    rows: Iterable[GalleryRow]
    output: _Output
    max_rows: int
    num_shown: int = 0
    num_left_out: int = 0

    def __iter__(self) -> Iterator[Markup]:
        for row in self.rows:
            html = self._html(row)
            if html is None:
                self.num_left_out += 1
            else:
                self.num_shown += 1
                yield html

    def _html(self, row: GalleryRow) -> Markup | None:
        if self.num_shown == self.max_rows:
            return None
        max_bytes = self.output.max_bytes
        html = row_html(row, int(max_bytes * 0.85 / self.max_rows))
        fits = len(encode(html)) <= self.output.left_bytes - max_bytes // 20
        return html if fits else None


@dataclass
class _Rejects:
    """Rejects as HTML, in at most half of the bytes left; all are counted."""

    rejects: Iterable[RejectShot]
    output: _Output
    max_rejects: int
    num_total: int = 0

    def take(self) -> list[Markup]:
        left_bytes = self.output.left_bytes // 2
        taken: list[Markup] = []
        for shot in self.rejects:
            self.num_total += 1
            if left_bytes <= 0 or len(taken) == self.max_rejects:
                continue
            html = reject_html(shot)
            left_bytes -= len(encode(html))
            if left_bytes > 0:
                taken.append(html)
        return taken
