"""The HTML of one crop, and of one reject: pictures with their scores under them."""

import base64
import statistics
from collections.abc import Mapping
from dataclasses import replace
from html import escape
from typing import Final, NamedTuple

from invertory.pipelines.gallery.shots import (
    EditShot,
    GalleryRow,
    InversionShot,
    PartnerShot,
    RejectShot,
)
from invertory.pipelines.gallery.thumbnails import thumbnail

TIMES: Final = "\N{MULTIPLICATION SIGN}"
MINUS: Final = "\N{MINUS SIGN}"
SIZES_PX: Final = (256, 208, 160, 128, 96)  # of thumbnails; a row takes the largest it can afford


class Metric(NamedTuple):
    """How a score of an inversion is shown."""

    title: str
    short: str
    unit: str
    sign: int  # 1 where more is better, -1 where less is
    decimals: int

    def written(self, value: float) -> str:
        return f"{value:.{self.decimals}f}{self.unit}"


METRICS: Final = {  # by the name in the tables
    "psnr_db": Metric("PSNR", "PSNR", " dB", 1, 1),
    "ssim": Metric("SSIM", "SSIM", "", 1, 3),
    "perceptual": Metric("Perceptual", "perc.", "", -1, 3),
    "mse": Metric("MSE", "MSE", "", -1, 4),
}


def row_html(row: GalleryRow, max_bytes: int) -> str:
    """A crop and what became of it, in the largest thumbnails with which it fits `max_bytes`."""
    row = _reduced(row)
    for size_px in SIZES_PX:
        html = _row(row, size_px)
        if len(html) <= max_bytes:
            break
    return html


def _reduced(row: GalleryRow) -> GalleryRow:
    """The row with its original no larger than needed: it may be a photograph of 50 megapixels."""
    if row.original is None or (small := thumbnail(row.original, SIZES_PX[0], 95)) is None:
        return row
    width, height = small.source_width, small.source_height
    return replace(row, original=small.jpeg, original_px=row.original_px or (width, height))


def _row(row: GalleryRow, size_px: int) -> str:
    name = _file_name(row.uri)
    psnr = [s.scores["psnr_db"] for s in row.inversions if "psnr_db" in s.scores]
    mean = f"{statistics.fmean(psnr):.4f}" if psnr else ""
    source = _original(row, name, size_px) + _figure(
        row.aligned, size_px, "Aligned", f"{name}, aligned", _scores(row.scores)
    )
    strips = "".join(_strip(row, method, name, size_px) for method in _methods_of(row))
    strips = f'<div class="strips">{strips}</div>' if strips else ""
    return (
        f'<article class="row" data-find="{text(f"{row.uri} {row.crop_id}".lower())}" '
        f'data-psnr="{mean}"><h3><bdi title="{text(row.uri)}">{text(name)}</bdi>'
        f"<code>{text(row.crop_id[:12])}</code></h3>"
        f'<div class="body"><div class="source">{source}</div>{strips}</div></article>\n'
    )


def _methods_of(row: GalleryRow) -> list[str]:
    shots: list[InversionShot | EditShot | PartnerShot] = [
        *row.inversions,
        *row.edits,
        *row.partners,
    ]
    return list(dict.fromkeys(shot.method for shot in shots))


def _strip(row: GalleryRow, method: str, name: str, size_px: int) -> str:
    """Everything of one method: inversion, edits, partner."""
    groups = [
        [_inversion(s, name, size_px) for s in row.inversions if s.method == method],
        [_edit(s, row, name, size_px) for s in row.edits if s.method == method],
        [
            _figure(
                s.picture, size_px, "Partner", f"{name}, partner",
                (f"<p>{text(s.caption)}</p>" if s.caption else "") + _scores(s.scores),
            )
            for s in row.partners
            if s.method == method
        ],
    ]  # fmt: skip
    figures = '<i class="sep"></i>'.join("".join(group) for group in groups if group)
    return f'<div class="strip"><b title="{text(method)}">{text(method)}</b>{figures}</div>'


def _inversion(shot: InversionShot, name: str, size_px: int) -> str:
    """The picture, and what the method gives to look at beside it."""
    about = f"{name}, {shot.method}"
    maps = "".join(
        _figure(data, size_px, title.replace("_", " ").capitalize(), f"{about}, {title}")
        for title, data in shot.maps.items()
    )
    return _figure(shot.picture, size_px, "Inverted", about, _quality(shot.scores)) + maps


def _edit(shot: EditShot, row: GalleryRow, name: str, size_px: int) -> str:
    """The moved attribute comes first, with where it was before."""
    label = f"{shot.attribute} {shot.step:+g}".replace("-", MINUS)
    return _figure(
        shot.picture,
        size_px,
        label,
        f"{name}, {shot.method}, {label}",
        _scores(shot.scores, shot.attribute, row.scores.get(shot.attribute)),
    )


def _original(row: GalleryRow, name: str, size_px: int) -> str:
    """The photograph with the quad of the crop drawn into it."""
    if row.original is None:
        return ""
    if row.original_px is None or row.quad is None:
        return _figure(row.original, size_px, "Photograph", name)
    width, height = row.original_px
    corners = zip(row.quad[::2], row.quad[1::2], strict=True)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    quad = f'<svg viewBox="0 0 {width} {height}"><polygon points="{points}"/></svg>'
    size = f"<p>{width} {TIMES} {height} px</p>"
    return _figure(row.original, size_px, "Photograph", name, size, over=quad)


def _figure(
    picture: bytes | None, size_px: int, label: str, alt: str, scores: str = "", *, over: str = ""
) -> str:
    small = thumbnail(picture, size_px) if picture else None
    if small is None:
        frame = '<div class="frame"><span class="none">no picture</span></div>'
    else:
        data = base64.b64encode(small.jpeg).decode()
        frame = (
            f'<button class="frame" type="button"><img loading="lazy" alt="{text(alt)}" '
            f'src="data:image/jpeg;base64,{data}">{over}</button>'
        )
    return f"<figure>{frame}<figcaption><b>{text(label)}</b>{scores}</figcaption></figure>"


def _quality(scores: Mapping[str, float]) -> str:
    """PSNR, SSIM and the perceptual distance of an inversion."""
    return "".join(
        f"<span>{METRICS[name].short} {METRICS[name].written(scores[name])}</span>"
        for name in ("psnr_db", "ssim", "perceptual")
        if name in scores
    )


def _scores(
    scores: Mapping[str, float], moved: str | None = None, before: float | None = None
) -> str:
    names = sorted(scores, key=lambda name: name != moved)
    parts = []
    for name in names:
        value = _score(name, scores[name])
        if name == moved:
            was = f"{_score(name, before)} → " if before is not None else ""
            parts.append(f'<span class="moved">{was}{value}</span>')
        else:
            parts.append(f"<span>{text(name)} {value}</span>")
    return "".join(parts)


def _score(name: str, value: float) -> str:
    text = f"{value:.1f}°" if name.endswith("_deg") else f"{value:.2f}"
    return text.replace("-", MINUS)


def reject_html(shot: RejectShot) -> str:
    """An input that gave nothing: its picture where it has one, status and reason."""
    name = _file_name(shot.uri)
    words = f'<span class="status">{text(shot.status)}</span><span>{text(shot.stage)}</span>'
    reason = f"{words}<p>{text(shot.error)}</p>"
    figure = _figure(shot.picture, 128, name, f"{name}: {shot.error}", reason)
    find = text(f"{shot.uri} {shot.status} {shot.stage}".lower())
    return figure.replace("<figure>", f'<figure data-find="{find}">', 1)


def text(value: object) -> str:
    """Escaped for HTML; what has no UTF-8 form is written out."""
    return escape(str(value).encode("utf-8", "backslashreplace").decode())


def _file_name(uri: str) -> str:
    return uri.rstrip("/").rsplit("/", 1)[-1] or uri
