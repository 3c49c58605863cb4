"""Explain errors of libraries: each rule returns a line, or None for errors it does not cover."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Callable
from typing import Any, Final

EXTRAS: Final = {  # module => extra that installs it
    "s3fs": "s3",
    "boto3": "s3",
    "botocore": "s3",
    "aiobotocore": "s3",
    "dagster_postgres": "postgres",
    "psycopg2": "postgres",
    "dagster_ray": "ray",
    "ray": "ray",
    "dlib": "dlib",
    "dagster_webserver": "ui",
}
PACKAGES: Final = {
    "gcsfs": "gcsfs",
    "adlfs": "adlfs",
    "paramiko": "paramiko",
    "smbclient": "smbprotocol",
}
NO_RESPONSE: Final = {
    "ClientConnectorError", "ClientConnectorDNSError", "ClientConnectionError", "ClientOSError",
    "ServerDisconnectedError", "ServerTimeoutError", "ConnectionTimeoutError",
    "SocketTimeoutError", "EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError",
    "ConnectionClosedError", "ConnectError", "ConnectTimeout", "ReadTimeout", "ReadError",
    "NewConnectionError", "MaxRetryError", "FSTimeoutError", "HTTPClientError",
}  # fmt: skip
DATABASE: Final = ("sqlalchemy", "sqlite3", "psycopg2", "alembic")
CLIENTS: Final = {
    "aiohttp", "botocore", "boto3", "httpx", "httpx2", "httpcore", "requests", "urllib3", "fsspec",
    "s3fs", "gcsfs", "google", "azure", "huggingface_hub", "unearth",
}  # fmt: skip
BROKEN: Final = re.compile("parquet|thrift|magic bytes|snappy|zstd|corrupt|deserialize", re.I)

Rule = Callable[[BaseException, str, str], "str | None"]


def at(where: str, text: str) -> str:
    return f" at {where}" if where and where not in text else ""


def _full(error: BaseException, text: str, where: str) -> str | None:
    is_full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    if not (is_full or re.search("disk is full|no space left", text, re.I)):
        return None
    return (
        f"expected free space to write{at(where, '')}, got a full disk; free some, or set "
        "INVERTORY_STORE, DAGSTER_HOME or TMPDIR to another one, and run the same command again"
    )


def _missing(error: BaseException, text: str, where: str) -> str | None:
    if not isinstance(error, FileNotFoundError) and status_of(error) != 404:
        return None
    return f"expected a file or folder at {where or text}, got nothing there; correct the address"


def _refused(error: BaseException, text: str, where: str) -> str | None:
    status = status_of(error)
    is_refused = status in (401, 403) or re.search(
        "AccessDenied|InvalidAccessKeyId|Signature", text
    )
    if not (is_refused or isinstance(error, PermissionError) or "NoCredentials" in _kinds(error)):
        return None
    got = f"HTTP {status}" if status else text
    return (
        f"expected access to {where or 'the address'}, got {got}; grant it, or correct the "
        "credentials in the environment"
    )


def _no_response(error: BaseException, text: str, where: str) -> str | None:
    kinds = (ConnectionError, TimeoutError, socket.gaierror)
    if not isinstance(error, kinds) and not NO_RESPONSE & _kinds(error):
        return None
    return (
        f"expected a response from {where or 'the address'}, got none ({text}); check the address "
        "and the network, and run the same command again"
    )


def _http_error(error: BaseException, text: str, where: str) -> str | None:
    status = status_of(error)
    if status is None:
        return None
    return (
        f"expected a file from {where or 'the address'}, got HTTP {status} ({text}); run the same "
        "command again, or correct the address"
    )


def _driver(error: BaseException, text: str, where: str) -> str | None:
    if not isinstance(error, ImportError):
        return None
    named = [*re.findall(r"[A-Za-z_]\w*", error.name or ""), *re.findall(r"\w+", text)]
    extra = next((EXTRAS[word] for word in named if word in EXTRAS), None)
    package = next((PACKAGES[word] for word in named if word in PACKAGES), None)
    remedy = f"`pip install -e '.[{extra}]'` installs it" if extra else "install it with pip"
    if package:
        remedy = f"`pip install {package}` installs it"
    return f"expected an installed library{_for(where)}, got: {text}; {remedy}"


def _protocol(error: BaseException, text: str, where: str) -> str | None:
    match = re.match(r"Protocol not known: (\S+)", text)
    if match is None:
        return None
    return (
        f"expected an address with a protocol of fsspec, such as s3:// or https://, got "
        f"{match[1]!r}{at(where, '')}; correct the address"
    )


def _broken(error: BaseException, text: str, where: str) -> str | None:
    is_arrow = type(error).__module__.startswith("pyarrow")
    if not is_arrow and not (isinstance(error, OSError) and BROKEN.search(text)):
        return None
    return (
        f"expected a complete Parquet or CSV file{at(where, '')}, got: {text}; copy it again, or "
        "remove it and run the same command again"
    )


def _encoded(error: BaseException, text: str, where: str) -> str | None:
    if not isinstance(error, UnicodeError):
        return None
    return (
        f"expected UTF-8 text{at(where, '')}, got other bytes ({text}); convert the file, as with "
        "`iconv -f latin1 -t utf-8`"
    )


def _database(error: BaseException, text: str, where: str) -> str | None:
    if not any(kind.__module__.split(".")[0] in DATABASE for kind in type(error).__mro__):
        return None
    home = os.environ.get("DAGSTER_HOME", ".dagster")
    got = text.partition(" [SQL:")[0].partition(" (Background on")[0]
    return (
        f"expected Dagster's database to respond (see {home}/dagster.yaml), got: {got}; start it "
        "and check its address, or set DAGSTER_HOME to another folder"
    )


def _dagster(error: BaseException, text: str, where: str) -> str | None:
    is_yaml = type(error).__module__.startswith("yaml")
    if not is_yaml and not type(error).__module__.startswith("dagster"):
        return None
    home = os.environ.get("DAGSTER_HOME", ".dagster")
    return (
        f"expected Dagster to work with {home}/dagster.yaml, got: {text}; correct that file, or "
        "remove it, and the next command writes it again"
    )


def _memory(error: BaseException, text: str, where: str) -> str | None:
    if not isinstance(error, MemoryError):
        return None
    return (
        f"expected enough memory{at(where, '')}, got: {text}; lower resources.batch_size or "
        "limits.max_pixels in the recipe"
    )


def _system(error: BaseException, text: str, where: str) -> str | None:
    if not isinstance(error, OSError):
        return None
    return (
        f"expected to read and write{at(where, '')}, got: {text}; --debug shows where it occurred"
    )


def _value(error: BaseException, text: str, where: str) -> str | None:
    if not isinstance(error, ValueError | RuntimeError) and not is_client(error):
        return None
    name = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return f"{name}{text}{at(where, text)}; --debug shows where it occurred"


def is_client(error: BaseException) -> bool:
    """Return True for an exception of a library that accesses stores and hosts."""
    roots = {kind.__module__.split(".")[0] for kind in type(error).__mro__}
    return bool(roots & CLIENTS)


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status of an error; None if it is not an HTTP error."""
    response: Any = getattr(error, "response", None)
    status = getattr(error, "status", None) or getattr(response, "status_code", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) and status >= 400 else None


def _kinds(error: BaseException) -> set[str]:
    return {kind.__name__.removesuffix("Error") for kind in type(error).__mro__} | {
        kind.__name__ for kind in type(error).__mro__
    }


def _for(where: str) -> str:
    return f" that opens {where}" if where else ""


RULES: Final[tuple[Rule, ...]] = (
    _full, _encoded, _broken, _driver, _database, _dagster, _protocol, _no_response, _refused,
    _missing, _http_error, _memory, _system, _value,
)  # fmt: skip
