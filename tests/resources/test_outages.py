"""Errors of sources are classified into four kinds, however they are wrapped."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import urllib.error
from collections.abc import Callable
from email.message import Message
from typing import Any

import pytest

from invertory.resources.outages import ErrorKind, OutageError, classify, patient


class ReplyError(Exception):
    """An HTTP status as aiohttp (status), azure (status_code) and gcsfs (code) store it."""

    def __init__(self, name: str, status: int) -> None:
        super().__init__(f"{name} {status}")
        setattr(self, name, status)


def boto(code: str, status: int) -> Exception:
    botocore = pytest.importorskip("botocore.exceptions")
    reply = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error: Exception = botocore.ClientError(reply, "GetObject")
    return error


def s3fs_error(code: str, status: int) -> Exception:
    translate = pytest.importorskip("s3fs.errors").translate_boto_error
    error: Exception = translate(boto(code, status))
    return error


def of(module: str, name: str, *arguments: Any, **options: Any) -> Exception:
    error: Exception = getattr(pytest.importorskip(module), name)(*arguments, **options)
    return error


def wrapped(outer: Exception, inner: Exception) -> Exception:
    """`outer`, raised from `inner`."""
    outer.__cause__ = inner
    return outer


def url_error(status: int) -> Exception:
    return urllib.error.HTTPError("http://x", status, "no", Message(), None)


CASES: list[tuple[ErrorKind, Callable[[], Exception]]] = [
    *[
        (ErrorKind.OUTAGE, lambda name=name: OSError(getattr(errno, name), "x"))  # type: ignore[misc]
        for name in (
            "EIO", "ETIMEDOUT", "ENETUNREACH", "EHOSTUNREACH", "ECONNREFUSED", "ECONNRESET",
            "EPIPE", "ESTALE", "EMFILE", "ENFILE", "ENOMEM", "EBUSY", "ENOTCONN", "EAGAIN",
            "ENOSPC",
        )
    ],
    *[
        (ErrorKind.FINAL, lambda name=name: OSError(getattr(errno, name), "x"))  # type: ignore[misc]
        for name in ("ENOENT", "EISDIR", "ENOTDIR", "ELOOP", "EINVAL", "EFBIG", "ENAMETOOLONG",
                     "EBADMSG", "ENODATA")
    ],
    *[
        (ErrorKind.OUTAGE, lambda s=s, n=n: ReplyError(n, s))  # type: ignore[misc]
        for s in (408, 429, 500, 502, 503, 504)
        for n in ("status", "status_code", "code")
    ],
    (ErrorKind.DENIED, lambda: ReplyError("status", 401)),
    (ErrorKind.DENIED, lambda: ReplyError("status", 403)),
    (ErrorKind.FINAL, lambda: ReplyError("status", 404)),
    (ErrorKind.FINAL, lambda: ReplyError("status", 410)),
    (ErrorKind.UNAVAILABLE, lambda: ReplyError("status", 400)),
    (ErrorKind.DENIED, lambda: OSError(errno.EACCES, "x")),
    (ErrorKind.DENIED, lambda: OSError(errno.EPERM, "x")),
    (ErrorKind.OUTAGE, lambda: socket.gaierror(-3, "temporary failure in name resolution")),
    (ErrorKind.OUTAGE, lambda: ssl.SSLError("handshake")),
    (ErrorKind.OUTAGE, lambda: http.client.IncompleteRead(b"")),
    (ErrorKind.OUTAGE, MemoryError),
    (ErrorKind.OUTAGE, lambda: url_error(503)),
    (ErrorKind.FINAL, lambda: url_error(404)),
    (ErrorKind.OUTAGE, lambda: urllib.error.URLError("no route")),
    (ErrorKind.OUTAGE, lambda: boto("SlowDown", 503)),
    (ErrorKind.OUTAGE, lambda: boto("SlowDown", 200)),
    (ErrorKind.FINAL, lambda: boto("NoSuchKey", 404)),
    (ErrorKind.DENIED, lambda: boto("AccessDenied", 403)),
    (ErrorKind.OUTAGE, lambda: s3fs_error("SlowDown", 503)),
    (ErrorKind.OUTAGE, lambda: s3fs_error("InternalError", 500)),
    (ErrorKind.DENIED, lambda: s3fs_error("AccessDenied", 403)),
    (ErrorKind.FINAL, lambda: s3fs_error("NoSuchKey", 404)),
    (
        ErrorKind.OUTAGE,
        lambda: of("botocore.exceptions", "EndpointConnectionError", endpoint_url="x"),
    ),
    (ErrorKind.OUTAGE, lambda: of("botocore.exceptions", "NoCredentialsError")),
    (ErrorKind.OUTAGE, lambda: of("botocore.exceptions", "ReadTimeoutError", endpoint_url="x")),
    (ErrorKind.OUTAGE, lambda: of("aiohttp", "ServerDisconnectedError")),
    (ErrorKind.OUTAGE, lambda: of("aiohttp", "ClientPayloadError", "cut")),
    (ErrorKind.OUTAGE, lambda: of("requests", "ConnectionError", "x")),
    (ErrorKind.OUTAGE, lambda: of("fsspec.exceptions", "FSTimeoutError")),
    (ErrorKind.OUTAGE, lambda: wrapped(FileNotFoundError("x"), ReplyError("status", 503))),
    (ErrorKind.DENIED, lambda: wrapped(FileNotFoundError("x"), ReplyError("status", 403))),
    (ErrorKind.FINAL, lambda: wrapped(FileNotFoundError("x"), ReplyError("status", 404))),
    (ErrorKind.OUTAGE, lambda: wrapped(ValueError("x"), wrapped(OSError("y"), TimeoutError()))),
    (ErrorKind.FINAL, lambda: ValueError("embedded null byte")),
    (ErrorKind.UNAVAILABLE, lambda: RuntimeError("a word of the client's own")),
    (ErrorKind.UNAVAILABLE, lambda: OSError("a word without a number")),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(CASES)))
def test_each_error_is_classified(number: int) -> None:
    kind, make = CASES[number]
    error = make()
    assert classify(error) is kind, repr(error)


def failing(*errors: Exception) -> tuple[Callable[[str], bytes], list[str]]:
    """A read that raises these errors in turn, and the list of requested URIs."""
    left, asked = list(errors), []

    def read(uri: str) -> bytes:
        asked.append(uri)
        if left:
            raise left.pop(0)
        return b"content"

    return read, asked


def test_a_short_outage_is_retried() -> None:
    read, asked = failing(ConnectionResetError(), OSError(errno.EIO, "x"))
    assert patient(read, first_wait_s=0.0)("a") == b"content"
    assert asked == ["a"] * 3


def test_a_long_outage_is_raised_with_the_address() -> None:
    read, asked = failing(*[ReplyError("status", 503)] * 9)
    with pytest.raises(OutageError, match=r"unreachable.*503.*\(s3://b/a\.png\)"):
        patient(read, num_tries=4, first_wait_s=0.0)("s3://b/a.png")
    assert len(asked) == 4
    read, asked = failing(*[ReplyError("status", 503)] * 9)
    with pytest.raises(OutageError):
        patient(read, patience_s=0.0)("a")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ReplyError("status", 403), PermissionError),
        (PermissionError("x"), PermissionError),
        (RuntimeError("x"), BlockingIOError),
        (FileNotFoundError("x"), FileNotFoundError),
        (IsADirectoryError(errno.EISDIR, "x"), IsADirectoryError),
        (ImportError("install s3fs"), ImportError),
    ],
)
def test_other_errors_are_raised_at_once(error: Exception, expected: type[Exception]) -> None:
    read, asked = failing(error)
    with pytest.raises(expected):
        patient(read)("a")
    assert asked == ["a"]
