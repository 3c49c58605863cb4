"""A source and a store on S3 whose server fails a share of all requests.

Half of the failures are HTTP 503, half cut the connection. The same command is given again until
it ends well, as a schedule would.
"""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import Value
from pathlib import Path
from typing import Any

from benchmarks.chaos.chain import write_recipe
from benchmarks.chaos.place import Place
from benchmarks.chaos.snapshot import Snapshot, take
from benchmarks.chaos.trials import Tally, Trials

BUCKET = "chaos"
IMAGES = f"s3://{BUCKET}/images"
SHARES = (0.05, 0.2)
MAX_RUNS = 10
BUSY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>reduce</Message></Error>"
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close at once, by RST


class Server:
    """An S3 server of our own in a child; `share` of its requests fail."""

    def __init__(self, seed: int) -> None:
        self.share, self.num_failed = Value("d", 0.0), Value("i", 0)
        self._rng = random.Random(seed)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def serve(self) -> int:
        from moto.moto_server.werkzeug_app import (
            DomainDispatcherApplication,
            create_backend_app,
        )
        from werkzeug.serving import make_server

        self._app = DomainDispatcherApplication(create_backend_app)
        make_server("127.0.0.1", 0, self, threaded=True,
                    fd=self._listening.fileno()).serve_forever()  # fmt: skip
        return 0

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if self._rng.random() >= self.share.value:
            return self._app(environ, start)  # type: ignore[no-any-return]
        with self.num_failed:
            self.num_failed.value += 1
        if self._rng.random() < 0.5:
            start("503 Slow Down", [("Content-Type", "application/xml")])
            return [BUSY]
        connection = environ["werkzeug.socket"]
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.shutdown(socket.SHUT_RDWR)  # the handler closes it
        raise ConnectionError("cut on purpose")


def fail_requests(trials: Trials, num: int, seed: int) -> list[Tally]:
    """`num` runs from an empty store, half of them for each share of failing requests."""
    tallies = [Tally(f"{share:.0%} of S3 requests fail", f"--outages {num}") for share in SHARES]
    if not num:
        return tallies
    with _serving(trials, seed) as server:
        expected = _reference(trials, server)
        for number in range(num):
            tally, share = tallies[number % len(SHARES)], SHARES[number % len(SHARES)]
            with trials.trial(tally, f"outages-{number:04d}") as local:
                place = _on_s3(local, server)
                before, server.share.value = server.num_failed.value, share
                code = _run_until_done(place, tally)
                server.share.value = 0.0
                tally.note("failed requests", server.num_failed.value - before)
                tally.add(1, trials.problems_of(place, code, expected))
    return tallies


def _run_until_done(place: Place, tally: Tally) -> int | None:
    code: int | None = None
    for _ in range(MAX_RUNS):
        tally.note("runs")
        code = place.run()
        if code in (0, None):
            break
    return code


@contextmanager
def _serving(trials: Trials, seed: int) -> Iterator[Server]:
    place, server = trials.place("server"), Server(seed)
    child = place.start(server.serve)
    try:
        yield server
    finally:
        child.kill()


def _on_s3(place: Place, server: Server) -> Place:
    """The place with its source and its store on the server."""
    write_recipe(place.folder, IMAGES)
    environment = {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": "chaos",
        "AWS_SECRET_ACCESS_KEY": "chaos",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return Place(place.folder, f"s3://{BUCKET}/{place.folder.name}", environment)


def _reference(trials: Trials, server: Server) -> Snapshot:
    """The store of a server that answers every request."""
    place = _on_s3(trials.place("reference-s3"), server)
    place.ask(_upload)
    if (code := place.run()) != 0:
        raise RuntimeError(f"the undisturbed run on S3 gave {code}: {place.said()}")
    return dict(place.ask(take))


def _upload() -> None:
    import fsspec

    s3 = fsspec.filesystem("s3")
    s3.mkdir(BUCKET)
    for path in sorted(Path("images").iterdir()):
        s3.pipe_file(f"{BUCKET}/images/{path.name}", path.read_bytes())
