"""An object store in this process."""

from collections.abc import Iterator

import fsspec
import pytest


@pytest.fixture(scope="session")
def bucket() -> Iterator[dict[str, object]]:
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    options = {"endpoint_url": f"http://{host}:{port}", "key": "test", "secret": "test"}
    fsspec.filesystem("s3", **options).mkdir("bucket")
    yield options
    server.stop()
