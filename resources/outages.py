"""Classify errors of reading a source: they concern the bytes, one file or the whole source.

Filesystems raise hundreds of error types, often wrapped in each other. `classify` inspects the
whole chain of causes. `patient` uses it to retry, so that a verb sees only these built-in errors:

- `OutageError`, a ConnectionError: the source is unreachable. Nothing is known about the file, and
  the next file would fail as well; the step fails and is retried.
- PermissionError and BlockingIOError: this file cannot be read now, but others may be. The next run
  reads it again.
- Any other error concerns the bytes or the name, and is final.
"""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Any, Final

Read = Callable[[str], bytes]

NUM_TRIES: Final = 6
FIRST_WAIT_S: Final = 0.1  # doubled after each try
PATIENCE_S: Final = 10.0  # clients of object stores retry slowly themselves


class ErrorKind(Enum):
    """How long the condition behind an error lasts."""

    OUTAGE = auto()
    DENIED = auto()
    UNAVAILABLE = auto()
    FINAL = auto()


class OutageError(ConnectionError):
    """The source is unreachable; the same read may succeed later."""


# Errors of the system and the network, which say nothing about the bytes.
_OUTAGES: Final = (
    ConnectionError, TimeoutError, MemoryError, InterruptedError, BlockingIOError,
    socket.gaierror, socket.herror, ssl.SSLError, http.client.HTTPException,
)  # fmt: skip
_OUTAGE_ERRNOS: Final = frozenset(
    getattr(errno, name)
    for name in (
        "EIO", "EREMOTEIO", "ETIMEDOUT", "ENETUNREACH", "ENETDOWN", "ENETRESET", "EHOSTUNREACH",
        "EHOSTDOWN", "ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "EPIPE", "ESHUTDOWN",
        "ENOTCONN", "ESTALE", "ENOLINK", "ECOMM", "EPROTO", "EMFILE", "ENFILE", "ENOMEM",
        "ENOBUFS", "EAGAIN", "EBUSY", "EINTR", "EDEADLK", "ENOLCK", "ENOSPC", "EDQUOT", "EROFS",
        "ENODEV", "EUSERS", "ECANCELED",
    )
    if hasattr(errno, name)
)  # fmt: skip
_FINAL_ERRNOS: Final = frozenset({
    errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL,
    errno.EFBIG, errno.ENODATA, errno.EBADMSG, errno.EILSEQ, errno.ENXIO, errno.EOVERFLOW,
})  # fmt: skip

# Classes of optional libraries, by top-level package and name.
_OUTAGE_CLASSES: Final = frozenset({
    ("botocore", "ConnectionError"), ("botocore", "HTTPClientError"),
    ("botocore", "NoCredentialsError"),
    ("botocore", "PartialCredentialsError"), ("botocore", "CredentialRetrievalError"),
    ("botocore", "TokenRetrievalError"), ("botocore", "SSOError"),
    ("botocore", "IncompleteReadError"), ("botocore", "ResponseStreamingError"),
    ("aiohttp", "ClientConnectionError"), ("aiohttp", "ClientPayloadError"),
    ("requests", "ConnectionError"), ("requests", "Timeout"),
    ("requests", "ChunkedEncodingError"), ("urllib3", "HTTPError"), ("urllib", "URLError"),
    ("httpx", "TransportError"), ("azure", "ServiceRequestError"),
    ("azure", "ServiceResponseError"), ("google", "TransportError"), ("google", "RefreshError"),
    ("paramiko", "SSHException"), ("ftplib", "error_temp"),
})  # fmt: skip
_OUTAGE_STATUSES: Final = frozenset({408, 425, 429, *range(500, 600)}) - {501, 505}
_OUTAGE_CODES: Final = frozenset({  # error codes in the responses of object stores
    "SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling",
    "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "OperationAborted",
    "RequestTimeTooSkewed", "ExpiredToken",
})  # fmt: skip
_GONE: Final = frozenset({404, 410})
_DENIED: Final = frozenset({401, 402, 403, 407, 451})


def classify(error: BaseException) -> ErrorKind:
    """Classify an error by itself and its causes; an outage anywhere in the chain wins."""
    if _errno(error) in {errno.EFBIG, errno.ENODATA, errno.EBADMSG}:  # raised by our own code
        return ErrorKind.FINAL
    kinds = [_classify_one(one) for one in _causes(error)]
    for kind in (ErrorKind.OUTAGE, ErrorKind.DENIED):
        if kind in kinds:
            return kind
    return next((kind for kind in kinds if kind), ErrorKind.UNAVAILABLE)


def is_outage(error: BaseException) -> bool:
    """Return True if a retry may succeed."""
    return classify(error) is ErrorKind.OUTAGE


def patient(
    read: Read,
    *,
    num_tries: int = NUM_TRIES,
    first_wait_s: float = FIRST_WAIT_S,
    patience_s: float = PATIENCE_S,
) -> Read:
    """Wrap `read` to retry during an outage, and to raise the errors listed in the module docs."""

    def read_patiently(uri: str) -> bytes:
        began, wait_s = time.monotonic(), first_wait_s
        for number in range(1, num_tries + 1):
            try:
                return read(uri)
            except Exception as error:
                is_last = number == num_tries or time.monotonic() - began + wait_s > patience_s
                if is_last or not is_outage(error):
                    _raise(error, uri)
            time.sleep(wait_s)
            wait_s *= 2
        raise AssertionError(f"expected 1 or more tries, got {num_tries}")

    return read_patiently


def _raise(error: Exception, uri: str) -> None:
    """Raise the error as one of the types that a verb handles."""
    kind = classify(error)
    if kind is ErrorKind.OUTAGE and not isinstance(error, OutageError):
        raise OutageError(f"the source is unreachable: {_line(error)} ({uri})") from error
    if kind is ErrorKind.DENIED and not isinstance(error, PermissionError):
        raise PermissionError(errno.EACCES, _line(error), uri) from error
    if kind is ErrorKind.UNAVAILABLE and not isinstance(error, ImportError):
        raise BlockingIOError(errno.EAGAIN, _line(error), uri) from error
    raise error


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error, then its causes."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _classify_one(error: BaseException) -> ErrorKind | None:
    """Classify one error by its class, errno and response; None if they are inconclusive."""
    if (status := _status(error)) is not None:
        return _classify_status(status)
    if _code(error) in _OUTAGE_CODES or _is_outage_class(error):
        return ErrorKind.OUTAGE
    if isinstance(error, PermissionError):
        return ErrorKind.DENIED
    number = _errno(error)
    if number in _OUTAGE_ERRNOS:
        return ErrorKind.OUTAGE
    if number in _FINAL_ERRNOS or isinstance(error, FileNotFoundError | ValueError):
        return ErrorKind.FINAL
    return None


def _classify_status(status: int) -> ErrorKind:
    if status in _OUTAGE_STATUSES:
        return ErrorKind.OUTAGE
    if status in _DENIED:
        return ErrorKind.DENIED
    return ErrorKind.FINAL if status in _GONE else ErrorKind.UNAVAILABLE


def _is_outage_class(error: BaseException) -> bool:
    if isinstance(error, _OUTAGES):
        return True
    names = ((kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__)
    return any(name in _OUTAGE_CLASSES for name in names)


def _errno(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _status(error: BaseException) -> int | None:
    """Return the HTTP status of a client's error, which libraries store under several names."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        candidates = [response.get("ResponseMetadata", {}).get("HTTPStatusCode")]
    else:
        candidates = [getattr(response, "status_code", None)]
    candidates += [getattr(error, name, None) for name in ("status", "status_code", "code")]
    numbers = (int(one) for one in candidates if str(one).isdecimal())
    return next((number for number in numbers if 400 <= number < 600), None)


def _code(error: BaseException) -> str | None:
    """Return the error code of an object store's response."""
    response: Any = getattr(error, "response", None)
    return response.get("Error", {}).get("Code") if isinstance(response, dict) else None
