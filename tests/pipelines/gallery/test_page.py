import base64
import hashlib
import io
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from invertory.pipelines.gallery.cells import MINUS, TIMES
from invertory.pipelines.gallery.page import write_gallery
from invertory.pipelines.gallery.shots import (
    EditShot,
    GalleryRow,
    InversionShot,
    ModelLine,
    PartnerShot,
    RejectShot,
    Summary,
)

HOSTILE = "<img src=x onerror=alert(1)>\"'&</script>.jpg"


def picture(width: int = 64, height: int = 64, *, seed: int = 0, kind: str = "PNG") -> bytes:
    """Noise: the worst case for a JPEG."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def row(name: str = "a.png", *, psnr_db: float = 20.0) -> GalleryRow:
    return GalleryRow(
        crop_id="0" * 64 + ":0",
        uri=f"s3://bucket/{name}",
        original=picture(120, 80),
        quad=(10, 5, 10, 65, 70, 65, 70, 5),
        aligned=picture(),
        scores={"smile": 0.25, "yaw_deg": -3.21},
        inversions=[
            InversionShot(
                method="projector",
                image=picture(),
                scores={"psnr_db": psnr_db, "ssim": 0.5, "perceptual": 0.1},
            )
        ],
        edits=[
            EditShot(
                method="projector",
                attribute="smile",
                step=-3.0,
                image=picture(),
                scores={"yaw_deg": 1.0, "smile": 0.9},
            )
        ],
        partners=[PartnerShot(method="projector", image=picture(), caption="smile flipped")],
    )


def page(*rows: GalleryRow, title: str = "Faces", **options: object) -> str:
    out = io.BytesIO()
    summary = options.pop("summary", Summary(recipe="faces"))
    size = write_gallery(rows, out, title=title, summary=summary, **options)  # type: ignore[arg-type]
    assert size == len(out.getvalue())
    return out.getvalue().decode()


class Tags(HTMLParser):
    """Start tags with their attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "input", "hr"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "polygon":
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def test_a_row_shows_every_image_with_its_scores() -> None:
    tags = Tags(page(row()))
    assert tags.open == []
    assert len([i for i in tags.all("img") if i.get("src")]) == 5
    for words in (
        "Photograph", f"120 {TIMES} 80 px", "smile 0.25", f"yaw_deg {MINUS}3.2°", "PSNR 20.0 dB",
        "SSIM 0.500", f"smile {MINUS}3", "0.25 → 0.90", "yaw_deg 1.0°", "Partner", "smile flipped",
    ):  # fmt: skip
        assert words in tags.text


def test_the_quad_is_drawn_in_the_coordinates_of_the_photograph() -> None:
    tags = Tags(page(row()))
    assert tags.all("svg") == [{"viewbox": "0 0 120 80"}]
    (polygon,) = tags.all("polygon")
    assert polygon["points"] == "10.0,5.0 10.0,65.0 70.0,65.0 70.0,5.0"


def test_nothing_is_fetched_from_outside() -> None:
    tags = Tags(page(row(), row("b.png")))
    assert all(
        str(i["src"]).startswith("data:image/jpeg;base64,") for i in tags.all("img") if i.get("src")
    )
    assert tags.all("link") == []
    assert not any("src" in script for script in tags.all("script"))
    (policy,) = (str(m["content"]) for m in tags.all("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'; img-src data:")


@pytest.mark.parametrize(
    "text",
    [
        HOSTILE,
        '" onmouseover="alert(1)" x="',
        "' onfocus='alert(1)' autofocus x='",
        "</style></title></script><script>alert(1)</script>",
        "<!-- <svg onload=alert(1)>",
        "{{ 7 * 7 }}{% raw %}{# #}",
    ],
)
def test_no_text_can_add_a_tag_or_an_attribute(text: str) -> None:
    clean, tags = Tags(page_of("x")), Tags(page_of(text))
    assert [(tag, list(attrs)) for tag, attrs in tags.tags] == [
        (tag, list(attrs)) for tag, attrs in clean.tags
    ]
    for own in ("text", "title", "recipe", "score", "attribute", "caption", "status", "licence"):
        assert f"{own} {text}" in tags.text
    assert tags.all("bdi") == [{"title": f"uri {text}"}]


def page_of(text: str) -> str:
    """A page with `text` in every text field."""
    shown = row()
    image = picture()
    shown = replace(
        shown,
        uri=f"uri {text}",
        crop_id=text,
        scores={f"score {text}": 0.5},
        inversions=[InversionShot(method=f"text {text}", image=image, maps={f"map {text}": image})],
        edits=[
            EditShot(method=f"text {text}", attribute=f"attribute {text}", step=1.0, image=image)
        ],
        partners=[PartnerShot(method=f"text {text}", image=image, caption=f"caption {text}")],
    )
    summary = Summary(
        recipe=f"recipe {text}",
        description=text,
        counts={text: 1},
        models=[ModelLine(name=text, kind=text, source=text, licence=f"licence {text}")],
        methods={text: {"perceptual": [0.1]}},
        perceptual=text,
    )
    reject = RejectShot(stage=text, uri=text, status=f"status {text}", error=text, image=image)
    return page(shown, title=f"title {text}", summary=summary, rejects=[reject])


def test_the_policy_allows_only_the_style_and_script_of_the_page() -> None:
    html = page(row())
    (policy,) = (str(m["content"]) for m in Tags(html).all("meta") if "http-equiv" in m)
    for tag, directive in (("style", "style-src"), ("script", "script-src")):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy


def test_a_score_that_is_nan_is_left_out_of_the_order() -> None:
    (tag,) = Tags(page(row(psnr_db=math.nan))).all("article")
    assert tag["data-psnr_db"] == ""


def test_a_name_that_is_not_utf_8_can_be_shown() -> None:
    assert r"caf\udce9.png" in page(row("caf\udce9.png"))


def test_the_page_shows_at_most_so_many_rows_and_counts_the_rest() -> None:
    html = page(*(row(f"{i}.png") for i in range(5)), max_rows=2)
    assert html.count('<article class="row"') == 2
    assert "2 shown, 3 more are in the tables" in html


def test_omitted_rows_are_counted_too() -> None:
    assert "1 shown, 1,200 more are in the tables" in page(row(), num_more=1200)


def test_rejects_beyond_the_limit_are_counted() -> None:
    rejects = [RejectShot(stage="s", uri=f"{i}", status="t", error="e") for i in range(5)]
    html = page(row(), rejects=rejects, max_rejects=2)
    assert "Rejected (5)" in html
    assert "3 more are in the tables" in html


def test_the_page_stays_under_its_limit() -> None:
    rejects = (
        RejectShot(stage="aligned", uri=f"{i}", status="no_face", error="", image=picture())
        for i in range(40)
    )
    rows = [row(f"{i}.png") for i in range(20)]
    html = page(*rows, rejects=rejects, max_rows=20, max_bytes=150_000)
    assert len(html.encode()) <= 150_000
    assert "Rejected (40)" in html
    assert re.search(r"\d+ more are in the tables", html)


def test_thumbnails_shrink_where_rows_are_many() -> None:
    big = GalleryRow(crop_id="c", uri="u", aligned=picture(400, 400))
    sizes = [_first_size(page(big, max_bytes=limit, max_rows=10)) for limit in (2_000_000, 200_000)]
    assert sizes[0] == 256
    assert sizes[1] < 256


def _first_size(html: str) -> int:
    found = re.search(r"data:image/jpeg;base64,([^\"]+)", html)
    assert found
    return Image.open(io.BytesIO(base64.b64decode(found[1]))).width


def test_an_undecodable_image_leaves_an_empty_frame() -> None:
    broken = GalleryRow(crop_id="c", uri="u", aligned=b"no picture", original=b"\xff\xd8\xff")
    reject = RejectShot(stage="images", uri="cut.jpg", status="truncated", error="ends early",
                        image=b"\xff\xd8\xff")  # fmt: skip
    html = page(broken, rejects=[reject])
    assert html.count("no image</span>") == 3
    assert "truncated" in html
    assert "ends early" in html


def test_a_reject_without_an_image_has_no_empty_frame() -> None:
    reject = RejectShot(stage="edits/e4e", uri="a.png", status="failed", error="no state")
    html = page(rejects=[reject])
    assert "no state" in html
    assert "no image" not in html


def test_the_methods_are_compared_by_mean_and_standard_deviation() -> None:
    values = {
        "projector": {"psnr_db": [10.0, 14.0], "perceptual": [0.4, 0.4]},
        "image2stylegan": {"psnr_db": [20.0, 20.0], "perceptual": [0.1, 0.3]},
    }
    html = page(row(), summary=Summary(recipe="r", methods=values, perceptual="LPIPS (Alex)"))
    assert "LPIPS (Alex) ↓" in html
    assert '<td class="num">12.0<span class="sd"> ± 2.8 dB</span></td>' in html
    assert '<td class="num best">20.0<span class="sd"> ± 0.0 dB</span></td>' in html
    assert '<td class="num best">0.200' in html
    assert '<td class="num">2</td>' in html


def test_one_method_alone_is_not_the_best() -> None:
    values = {"projector": {"ssim": [0.5]}}
    assert "best" not in _table(page(summary=Summary(recipe="r", methods=values)))


def _table(html: str) -> str:
    return html[html.index("<table>") : html.index("</table>")]


def test_a_recipe_without_crops_gives_a_page_that_says_so() -> None:
    assert "Nothing to show yet" in page()


def test_rows_are_drawn_one_by_one() -> None:
    alive = 0

    def rows() -> Iterator[GalleryRow]:
        nonlocal alive
        for i in range(3):
            alive += 1
            yield row(f"{i}.png")

    class Watched(io.BytesIO):
        seen: list[int] = []  # noqa: RUF012

        def write(self, data: bytes) -> int:  # type: ignore[override]
            if b"<article" in data:
                self.seen.append(alive)
            return super().write(data)

    out = Watched()
    write_gallery(rows(), out, title="t", summary=Summary(recipe="r"))
    assert out.seen == [1, 2, 3]


def test_masks_of_an_inversion_are_shown_next_to_it() -> None:
    shown = replace(row(), inversions=[replace(row().inversions[0], maps={"ood_mask": picture()})])
    html = page(shown)
    assert html.count("<figcaption>") == page(row()).count("<figcaption>") + 1
    assert "a.png, projector, ood_mask" in html
    assert "<b>Ood mask</b>" in html


@pytest.mark.browser
def test_the_page_works_in_a_browser(tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is absent: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    path = tmp_path / "gallery.html"
    path.write_text(page(row("b.png", psnr_db=10), row(HOSTILE, psnr_db=20)), encoding="utf-8")
    said: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        tab = browser.new_page(viewport={"width": 390, "height": 844})
        tab.on("console", lambda message: said.append(message.text))
        tab.on("dialog", lambda dialog: said.append(dialog.message))
        tab.goto(path.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") == 390
        tab.select_option("#order", label="best PSNR first")
        assert tab.locator(".row").first.get_attribute("data-psnr_db") == "20.0000"
        tab.fill("#find", "b.png")
        tab.keyboard.press("Enter")
        assert tab.locator("#shown").text_content() == "1"
        assert tab.locator(".row:visible").count() == 1
        tab.locator(".row:visible button.frame").first.click()
        tab.keyboard.press("ArrowRight")
        assert tab.locator("dialog p").text_content() == "b.png, aligned"
        browser.close()
    assert said == []
