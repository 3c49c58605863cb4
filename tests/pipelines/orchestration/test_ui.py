"""The UI in a real browser: lineage, shards, and a contact sheet that is a picture."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.running import HOUSE

pytestmark = pytest.mark.browser
PAGE_MS = 60_000


@pytest.fixture
def served(make_world: Any) -> Iterator[tuple[Any, str]]:
    """A made world, and the address at which the webserver shows it."""
    world = make_world(is_scored=True, is_kept=True)
    world.deal()
    world.run_all()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            Path(sys.executable).with_name("dagster-webserver"),
            *("-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)),
        ],
        cwd=HOUSE,
        env=os.environ
        | {
            "DAGSTER_HOME": str(world.folder),
            "INVERTORY_RECIPES": str(world.folder / "recipes"),
            "INVERTORY_STORE": str(world.folder / "store"),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait(f"http://127.0.0.1:{port}/server_info")
        yield world, f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _wait(address: str, limit_s: float = 90) -> None:
    began = time.monotonic()
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5):
            return
        if time.monotonic() - began > limit_s:
            raise TimeoutError(f"no answer from {address} in {limit_s:.0f} s")
        time.sleep(0.5)


@pytest.fixture
def page(served: tuple[Any, str]) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is absent")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is absent: apt-get install chromium")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(PAGE_MS)
        yield page
        browser.close()


def test_lineage_shards_and_contact_sheet_are_there_to_see(served: Any, page: Any) -> None:
    world, address = served
    page.goto(f"{address}/asset-groups")
    for table in ("images", "aligned", "latents/image2stylegan", "exports/image2stylegan"):
        page.get_by_text(world.key(table).path[-1], exact=True).first.wait_for()

    edits = "/".join(world.key("edits/image2stylegan").path)
    page.goto(f"{address}/assets/{edits}?view=partitions&partition=shard-000001")
    page.get_by_text("shard-000002").first.wait_for()

    page.get_by_text("[Show Markdown]").first.click()
    sheet = page.locator("img[src^='data:image/jpeg']").first
    sheet.wait_for()
    assert sheet.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") > 100
