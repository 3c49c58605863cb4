"""What an error of reading a source says: about the bytes, about one file, or about the source.

Filesystems raise errors of a hundred kinds, and wrap one in another. `judge` looks through the
whole chain of causes. `patient` reads with it, so that a verb has to know four built-in errors:

- `OutageError`, a ConnectionError: the source is out of reach. Nothing is known about the file,
  and the next file would meet the same; the step fails and is tried again.
- PermissionError and BlockingIOError: this file cannot be read now, others may. The file is tried
  again at the next run.
- Every other error is about the bytes or the name, and final.
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
PATIENCE_S: Final = 10.0  # clients of object stores try again by themselves, and take their time


class Kind(Enum):
    """How long what an error says holds."""

    OUTAGE = auto()
    DENIED = auto()
    UNAVAILABLE = auto()
    FINAL = auto()


class OutageError(ConnectionError):
    """The source is out of reach; the same read may succeed later."""


# Errors of the system and of the network, none of which says a word about the bytes.
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

# Classes of libraries that may not be installed, by their first package and name.
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
_OUTAGE_CODES: Final = frozenset({  # of object stores, in the body of a reply
    "SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling",
    "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "OperationAborted",
    "RequestTimeTooSkewed", "ExpiredToken",
})  # fmt: skip
_GONE: Final = frozenset({404, 410})
_DENIED: Final = frozenset({401, 402, 403, 407, 451})


def judge(error: BaseException) -> Kind:
    """What the error says, or what it was made of: an outage counts wherever it stands."""
    if _errno(error) in {errno.EFBIG, errno.ENODATA, errno.EBADMSG}:  # these words are our own
        return Kind.FINAL
    kinds = [_judge_one(one) for one in _causes(error)]
    for kind in (Kind.OUTAGE, Kind.DENIED):
        if kind in kinds:
            return kind
    return next((kind for kind in kinds if kind), Kind.UNAVAILABLE)


def is_outage(error: BaseException) -> bool:
    """True where the same may succeed when it is tried again."""
    return judge(error) is Kind.OUTAGE


def patient(
    read: Read,
    *,
    num_tries: int = NUM_TRIES,
    first_wait_s: float = FIRST_WAIT_S,
    patience_s: float = PATIENCE_S,
) -> Read:
    """`read` that tries again in an outage, and raises what the module's page says."""

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
    """The error as one of those that a verb knows."""
    kind = judge(error)
    if kind is Kind.OUTAGE and not isinstance(error, OutageError):
        raise OutageError(f"the source is out of reach: {_line(error)} ({uri})") from error
    if kind is Kind.DENIED and not isinstance(error, PermissionError):
        raise PermissionError(errno.EACCES, _line(error), uri) from error
    if kind is Kind.UNAVAILABLE and not isinstance(error, ImportError):
        raise BlockingIOError(errno.EAGAIN, _line(error), uri) from error
    raise error


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, then what it was raised from."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _judge_one(error: BaseException) -> Kind | None:
    """By the class, the number and the reply of one error alone; None: it says nothing."""
    if (status := _status(error)) is not None:
        return _judge_status(status)
    if _code(error) in _OUTAGE_CODES or _is_outage_class(error):
        return Kind.OUTAGE
    if isinstance(error, PermissionError):
        return Kind.DENIED
    number = _errno(error)
    if number in _OUTAGE_ERRNOS:
        return Kind.OUTAGE
    if number in _FINAL_ERRNOS or isinstance(error, FileNotFoundError | ValueError):
        return Kind.FINAL
    return None


def _judge_status(status: int) -> Kind:
    if status in _OUTAGE_STATUSES:
        return Kind.OUTAGE
    if status in _DENIED:
        return Kind.DENIED
    return Kind.FINAL if status in _GONE else Kind.UNAVAILABLE


def _is_outage_class(error: BaseException) -> bool:
    if isinstance(error, _OUTAGES):
        return True
    names = ((kind.__module__.partition(".")[0], kind.__name__) for kind in type(error).__mro__)
    return any(name in _OUTAGE_CLASSES for name in names)


def _errno(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _status(error: BaseException) -> int | None:
    """The HTTP status that a client's error bears, under the names in use."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        candidates = [response.get("ResponseMetadata", {}).get("HTTPStatusCode")]
    else:
        candidates = [getattr(response, "status_code", None)]
    candidates += [getattr(error, name, None) for name in ("status", "status_code", "code")]
    numbers = (int(one) for one in candidates if str(one).isdecimal())
    return next((number for number in numbers if 400 <= number < 600), None)


def _code(error: BaseException) -> str | None:
    """The word of an object store's reply."""
    response: Any = getattr(error, "response", None)
    return response.get("Error", {}).get("Code") if isinstance(response, dict) else None
