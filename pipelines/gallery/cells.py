"""Render a crop or a reject as HTML: its images as thumbnails, with scores in their captions."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from markupsafe import Markup

from invertory.pipelines.gallery.metrics import ROW_METRICS
from invertory.pipelines.gallery.rendering import encode, render
from invertory.pipelines.gallery.shots import (
    EditShot,
    GalleryRow,
    InversionShot,
    PartnerShot,
    RejectShot,
)
from invertory.pipelines.gallery.thumbnails import data_uri, thumbnail

TIMES: Final = "\N{MULTIPLICATION SIGN}"
MINUS: Final = "\N{MINUS SIGN}"
SIZES_PX: Final = (256, 208, 160, 128, 96)  # of thumbnails; a row uses the largest size that fits
REJECT_PX: Final = 128


class Score(NamedTuple):
    """A line of a caption; `is_moved` marks the edited attribute."""

    name: str
    value: str
    is_moved: bool = False


class Quad(NamedTuple):
    """The outline of a crop in its source, as an SVG polygon."""

    width_px: int
    height_px: int
    points: str


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A thumbnail with its caption.

    `src` is None if there is no image that can be decoded; `is_framed` then draws an empty frame.
    """

    label: str
    alt: str
    src: str | None
    note: str = ""
    scores: Sequence[Score] = ()
    quad: Quad | None = None
    is_framed: bool = True


class Strip(NamedTuple):
    """The results of one method for a crop, in groups separated by a rule."""

    method: str
    groups: Sequence[Sequence[Figure]]


def row_html(row: GalleryRow, max_bytes: int) -> Markup:
    """Render a crop and its results with the largest thumbnails that fit into `max_bytes`."""
    row = _shrink_original(row)
    for size_px in SIZES_PX:
        html = _row(row, size_px)
        if len(encode(html)) <= max_bytes:
            break
    return html


def reject_html(shot: RejectShot) -> Markup:
    """Render an input without a row: its image if there is one, its status and the reason."""
    name = _file_name(shot.uri)
    figure = _figure(shot.image, REJECT_PX, name, f"{name}: {shot.error}", note=shot.error)
    return render(
        "reject.html.j2",
        figure=replace(figure, is_framed=shot.image is not None),
        find=f"{shot.uri} {shot.status} {shot.stage}".lower(),
        status=shot.status,
        stage=shot.stage,
    )


def _shrink_original(row: GalleryRow) -> GalleryRow:
    """Shrink the original, which may be a photograph of 50 megapixels, to the size needed."""
    if row.original is None or (small := thumbnail(row.original, SIZES_PX[0], 95)) is None:
        return row
    width, height = small.source_width, small.source_height
    return replace(row, original=small.jpeg, original_px=row.original_px or (width, height))


def _row(row: GalleryRow, size_px: int) -> Markup:
    name = _file_name(row.uri)
    aligned = _figure(
        row.aligned, size_px, "Aligned", f"{name}, aligned", scores=_scores(row.scores)
    )
    return render(
        "row.html.j2",
        title=name,
        uri=row.uri,
        crop_id=row.crop_id[:12],
        find=f"{row.uri} {row.crop_id}".lower(),
        means={metric: _mean(row.inversions, metric) for metric in ROW_METRICS},
        source=[*_original(row, name, size_px), aligned],
        strips=[_strip(row, method, name, size_px) for method in _methods_of(row)],
    )


def _mean(inversions: Sequence[InversionShot], metric: str) -> str:
    """Return the mean over the methods, which orders the rows of the page; "" if there is none."""
    values = [v for shot in inversions if math.isfinite(v := shot.scores.get(metric, math.nan))]
    return f"{statistics.fmean(values):.4f}" if values else ""


def _methods_of(row: GalleryRow) -> list[str]:
    shots: list[InversionShot | EditShot | PartnerShot] = [
        *row.inversions,
        *row.edits,
        *row.partners,
    ]
    return list(dict.fromkeys(shot.method for shot in shots))


def _strip(row: GalleryRow, method: str, name: str, size_px: int) -> Strip:
    """Collect the results of one method: inversion and maps, edits, partner."""
    inversions = [s for s in row.inversions if s.method == method]
    groups = [
        [figure for s in inversions for figure in _inversion(s, name, size_px)],
        [_edit(s, row, name, size_px) for s in row.edits if s.method == method],
        [_partner(s, name, size_px) for s in row.partners if s.method == method],
    ]
    return Strip(method, [group for group in groups if group])


def _inversion(shot: InversionShot, name: str, size_px: int) -> list[Figure]:
    """Return the inversion and its maps."""
    about = f"{name}, {shot.method}"
    quality = [
        Score(metric.short, metric.written(shot.scores[key]))
        for key, metric in ROW_METRICS.items()
        if key in shot.scores
    ]
    maps = [
        _figure(data, size_px, title.replace("_", " ").capitalize(), f"{about}, {title}")
        for title, data in shot.maps.items()
    ]
    return [_figure(shot.image, size_px, "Inverted", about, scores=quality), *maps]


def _edit(shot: EditShot, row: GalleryRow, name: str, size_px: int) -> Figure:
    """Return an edit; the edited attribute comes first, with its score before the edit."""
    label = f"{shot.attribute} {_signed(f'{shot.step:+g}')}"
    scores = _scores(shot.scores, shot.attribute, row.scores.get(shot.attribute))
    return _figure(shot.image, size_px, label, f"{name}, {shot.method}, {label}", scores=scores)


def _partner(shot: PartnerShot, name: str, size_px: int) -> Figure:
    return _figure(
        shot.image,
        size_px,
        "Partner",
        f"{name}, partner",
        note=shot.caption,
        scores=_scores(shot.scores),
    )


def _original(row: GalleryRow, name: str, size_px: int) -> list[Figure]:
    """Return the photograph with the outline of the crop; [] if the photograph is gone."""
    if row.original is None:
        return []
    figure = _figure(row.original, size_px, "Photograph", name)
    if row.original_px is None or row.quad is None:
        return [figure]
    width, height = row.original_px
    corners = zip(row.quad[::2], row.quad[1::2], strict=True)
    quad = Quad(width, height, " ".join(f"{x:.1f},{y:.1f}" for x, y in corners))
    return [replace(figure, quad=quad, note=f"{width} {TIMES} {height} px")]


def _figure(
    image: bytes | None,
    size_px: int,
    label: str,
    alt: str,
    *,
    note: str = "",
    scores: Sequence[Score] = (),
) -> Figure:
    small = thumbnail(image, size_px) if image else None
    src = data_uri(small.jpeg) if small else None
    return Figure(label=label, alt=alt, src=src, note=note, scores=scores)


def _scores(
    scores: Mapping[str, float], moved: str | None = None, before: float | None = None
) -> list[Score]:
    """Format scores, with the edited attribute first."""
    lines = []
    for name in sorted(scores, key=lambda name: name != moved):
        value = _score(name, scores[name])
        if name == moved:
            was = f"{_score(name, before)} → " if before is not None else ""
            lines.append(Score(name, f"{was}{value}", is_moved=True))
        else:
            lines.append(Score(name, value))
    return lines


def _score(name: str, value: float) -> str:
    return _signed(f"{value:.1f}°" if name.endswith("_deg") else f"{value:.2f}")


def _signed(number: str) -> str:
    return number.replace("-", MINUS)


def _file_name(uri: str) -> str:
    return uri.rstrip("/").rsplit("/", 1)[-1] or uri
