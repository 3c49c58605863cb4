"""The Dagster UI on a made collection, as a headless Chromium sees it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from invertory.pipelines.recipe.recipe import RECIPES

pytestmark = pytest.mark.browser
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)  # fmt: skip
LATENTS = "latents_image2stylegan"
SHARDS = ["shard-000001", "shard-000002"]


class Server(NamedTuple):
    url: str
    world: Any


@pytest.fixture(scope="module")
def server(make_whole: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """A web server on a store in which everything of two shards is made."""
    if not Path(sys.executable).with_name("dagster-webserver").exists():
        pytest.skip("dagster-webserver is absent: pip install -e '.[ui]'")
    world = make_whole(tmp_path_factory.mktemp("served"), is_kept=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            str(Path(sys.executable).with_name("dagster-webserver")),
            *("-w", str(RECIPES.parent / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port)),
        ],
        env=os.environ | environment(world.folder),
        cwd=world.folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Server(wait_for(f"http://127.0.0.1:{port}", process), world)
    finally:
        end(process)


def environment(folder: Path) -> dict[str, str]:
    return {
        "INVERTORY_RECIPES": str(folder / "recipes"),
        "INVERTORY_STORE": str(folder / "store"),
        "DAGSTER_HOME": str(folder),
        "OMP_NUM_THREADS": "1",
    }


def wait_for(url: str, process: subprocess.Popen[bytes]) -> str:
    for _ in range(240):
        assert process.poll() is None, f"the web server ended with {process.returncode}"
        try:
            urllib.request.urlopen(f"{url}/server_info", timeout=5).close()
            return url
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the web server did not answer within 120 s")


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                time.sleep(0.5)
            except ProcessLookupError:
                break
        process.wait(20)


@pytest.fixture
def page(server: Server) -> Iterator[Any]:
    """A page of the UI; its address is relative to the server."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("Chromium is absent: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(base_url=server.url, viewport={"width": 2200, "height": 1300})
        opened.set_default_timeout(60_000)
        yield opened
        browser.close()


def test_the_lineage_shows_every_table_by_its_name(page, server):
    page.goto("/locations/__repository__@invertory/asset-groups/toy/lineage")
    nodes = page.locator("[class*='AssetNode']")
    nodes.first.wait_for()
    for stage in server.world.chain.stages:
        page.get_by_text(stage.asset_path[-1], exact=True).first.wait_for()


def test_no_window_hides_the_page(page):
    page.goto("/asset-groups")
    page.get_by_text("toy", exact=True).first.wait_for()
    assert page.get_by_text("Join the Dagster community").count() == 0


def test_the_partitions_of_a_table_are_its_shards(page):
    page.goto(f"/assets/toy/{LATENTS}?view=partitions")
    for shard in SHARDS:
        page.get_by_text(shard, exact=True).first.wait_for()
    page.get_by_text("Materialized (2)").wait_for()


def test_a_shard_shows_its_figures_and_its_contact_sheet(page):
    page.goto(f"/assets/toy/{LATENTS}?view=partitions&partition={SHARDS[0]}")
    for name in ("inputs", "rejects_by_reason", "elapsed_s", "images_per_s", "peak_memory_mb"):
        page.get_by_text(name, exact=True).wait_for()
    page.get_by_text("[Show Markdown]").first.click()
    picture = page.locator("img[src^='data:image/jpeg;base64,']")
    picture.wait_for()
    assert picture.evaluate("it => it.decode().then(() => it.naturalWidth)") > 100


def test_the_overview_says_what_the_columns_are_and_whence(page):
    page.goto(f"/assets/toy/{LATENTS}?view=overview")
    page.get_by_text("float[4][12]").wait_for()
    row = page.get_by_role("row", name="crop_id datatype_string")
    row.get_by_text("from aligned.crop_id").wait_for()
    page.get_by_text("Every crop inverted by one method").first.wait_for()


def test_a_changed_recipe_shows_as_stale_after_a_reload(server):
    assert statuses(server) == {shard: "FRESH" for shard in SHARDS}
    server.world.change(**server.world.scored(), methods={"image2stylegan": {"steps": 3}})
    ask(server, 'mutation { reloadRepositoryLocation(repositoryLocationName: "invertory") '
                "{ __typename } }")  # fmt: skip
    assert statuses(server) == {shard: "STALE" for shard in SHARDS}
    assert server.world.run("latents/image2stylegan").success
    assert statuses(server) == {SHARDS[0]: "FRESH", SHARDS[1]: "STALE"}


def statuses(server: Server) -> dict[str, str]:
    """Stale status by shard, as the UI asks for it."""
    about = f'assetNodes(assetKeys: [{{path: ["toy", "{LATENTS}"]}}])'
    return {
        shard: ask(server, f'{{ {about} {{ staleStatus(partition: "{shard}") }} }}')["assetNodes"][
            0
        ]["staleStatus"]
        for shard in SHARDS
    }


def ask(server: Server, query: str) -> Any:
    request = urllib.request.Request(
        f"{server.url}/graphql",
        json.dumps({"query": query}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.load(answer)
    assert "errors" not in found, found
    return found["data"]
