"""A server that asks for a password or a signature; what a place has written, in plain text."""

from __future__ import annotations

import base64
import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow.parquet as pq
import pytest


@dataclass
class Guarded:
    """Files of `folder` at `host`, for those alone who know the user, password and signature."""

    folder: Path
    host: str = ""
    user: str = "collector"
    password: str = "pw-3f9c/7A@1"
    signature: str = "sig5e4d1c2b3a"
    asked: list[str] = field(default_factory=list)

    @property
    def basic(self) -> str:
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


class Handler(SimpleHTTPRequestHandler):
    def __init__(self, *given: Any, guarded: Guarded, **named: Any) -> None:
        self.guarded = guarded
        super().__init__(*given, directory=str(guarded.folder), **named)

    def send_head(self) -> Any:
        url, guarded = urlsplit(self.path), self.guarded
        guarded.asked.append(url.path)
        query = parse_qs(url.query)
        has_user = self.headers.get("Authorization", "") == f"Basic {guarded.basic}"
        given = [*query.get("token", []), *query.get("X-Amz-Signature", [])]
        is_signed = url.path.startswith("/signed/") and given == [guarded.signature]
        if not (is_signed if url.path.startswith("/signed/") else has_user):
            self.send_error(401)
            return None
        return super().send_head()

    def log_message(self, *given: Any) -> None:
        pass


@pytest.fixture
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    made = Guarded(tmp_path_factory.mktemp("served"))
    handler = functools.partial(Handler, guarded=made)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        made.host = f"127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()


def plain_text(path: Path) -> bytes:
    """What a file says; the columns and the footer of a Parquet file without compression."""
    data = path.read_bytes()
    if path.suffix != ".parquet":
        return data
    table = pq.read_table(path)
    flat = [c for c in table.column_names if "binary" not in str(table.schema.field(c).type)]
    return repr(table.select(flat).to_pydict()).encode() + repr(table.schema.metadata).encode()


@pytest.fixture
def files_with() -> Callable[[Path, list[str]], dict[str, list[str]]]:
    """files_with(folder, secrets): file => the secrets that stand in it or in its name."""

    def found(folder: Path, secrets: list[str]) -> dict[str, list[str]]:
        hits: dict[str, list[str]] = {}
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            text = name.encode() + (plain_text(path) if path.is_file() else b"")
            if here := [secret for secret in secrets if secret.encode() in text]:
                hits[name] = here
        return hits

    return found
