"""Secrets in text: what addresses of this process must not show in messages, logs and errors.

`note_secret` remembers a value, `redacted` takes it out of a text, together with user info and
signatures of any URL. `hiding_secrets` does so for exceptions, whose texts come from libraries.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, unquote

MASK: Final = "***"
MIN_SECRET_CHARS: Final = 4  # a shorter value would blot out words of every message
MIN_WORD_CHARS: Final = 8  # of a value in letters alone that is not a secret by its place
CONTAINER_SCHEMES: Final = ("abfs", "abfss", "wasb", "wasbs", "az", "adl")  # container@account

PREFIXES: Final = ("x-amz-", "x-goog-", "goog-", "x-oss-", "x-cos-", "q-sign-", "q-ak")
NAMES: Final = frozenset({
    "signature", "awsaccesskeyid", "googleaccessid", "ossaccesskeyid", "security-token",
    "key-pair-id", "policy", "expires", "sig", "sas", "sas_token", "token", "access_token",
    "auth_token", "id_token", "refresh_token", "auth", "authorization", "key", "api_key",
    "apikey", "api-key", "x-api-key", "access_key", "secret_key", "subscription-key", "password",
    "passwd", "pwd", "pass", "secret", "client_secret", "credential", "credentials", "session",
    "jwt", "bearer", "hmac", "hdnts", "hdnea", "__token__", "q-signature", "q-header-list",
    "q-url-param-list", "q-key-time",
})  # fmt: skip
AZURE: Final = frozenset({
    "se", "sp", "sv", "sr", "st", "spr", "srt", "ss", "sip", "si", "ske", "skt", "sks", "skv",
    "skoid", "sktid", "sdd", "saoid", "suoid", "scid",
})  # fmt: skip

_USER = re.compile(r"(?<![\w+.-])([A-Za-z][\w+.-]*)://([^/?#\s'\"<>]*)@")
_PARAMETER = re.compile(r"([?&;]|&amp;|\\u0026)([\w.%-]+)=([^&\s'\"<>)\]\\,]*)")
_secrets: dict[str, str] = {}  # value => what is shown in its place
_places: dict[str, str] = {}  # the same, of values that are replaced as whole words only
_lock = threading.Lock()


def note_secret(value: str, label: str = MASK) -> None:
    """From here on `redacted` shows `label` instead of `value`, encoded or not."""
    values = {value, unquote(value), quote(value, safe=""), quote(unquote(value), safe="")}
    if ":" in value:  # user:password, as the header of a request has it
        values.add(base64.b64encode(unquote(value).encode()).decode())
    _note(_secrets, {one for one in values if len(one) >= MIN_SECRET_CHARS}, label)


def note_place(value: str, label: str) -> None:
    """The same for a value that is not a secret by its place, such as a bucket's name."""
    if len(value) >= (MIN_WORD_CHARS if value.isalnum() else MIN_SECRET_CHARS):
        _note(_places, {value, quote(value)}, label)


def redacted(text: str) -> str:
    """`text` without the noted secrets, user info and signature parameters."""
    secrets, pattern = _pattern(len(_secrets), len(_places))
    if pattern is not None:
        text = pattern.sub(lambda match: secrets[match.group()], text)
    if "://" in text:
        text = _USER.sub(_without_user, text)
    if "=" in text:
        text = _PARAMETER.sub(_masked, text)
    return text


def is_sensitive(name: str, beside: frozenset[str] | set[str] = frozenset()) -> bool:
    """Whether a query parameter signs or authorises; `beside` has the others' names."""
    name = unquote(name).lower()
    return name in NAMES or name.startswith(PREFIXES) or (name in AZURE and "sig" in beside)


@contextlib.contextmanager
def hiding_secrets(address: str = "") -> Iterator[None]:
    """Exceptions leave the block without secrets; a note says at which address they arose."""
    try:
        yield
        return
    except Exception as error:
        clean = scrubbed(error).with_traceback(error.__traceback__)
        if address and not getattr(clean, "__notes__", None):
            clean.add_note(f"at {redacted(address)}")
        if clean is error:
            raise
    raise clean  # outside of the handler, so that the error with the secret is not its context


def scrubbed(error: BaseException, _seen: frozenset[int] = frozenset()) -> BaseException:
    """The error with its causes and contexts, none of which shows a secret.

    The same object where its arguments can be replaced, else one of the builtin kind that it is.
    """
    if id(error) in _seen:
        return error
    seen = _seen | {id(error)}
    clean = error
    if _is_dirty(error):
        _replace_arguments(error)
        clean = _stand_in(error) if _is_dirty(error) else error
    for name in ("__cause__", "__context__"):
        inner = getattr(error, name)
        if inner is not None:
            hides = error.__suppress_context__
            setattr(clean, name, scrubbed(inner, seen))
            clean.__suppress_context__ = hides
    return clean


def redact_logs() -> None:
    """Log records of this process are made without secrets, whoever logs and wherever to."""
    make = logging.getLogRecordFactory()
    if not isinstance(make, _RedactingFactory):
        logging.setLogRecordFactory(_RedactingFactory(make))


@dataclass(frozen=True, slots=True)
class _RedactingFactory:
    """Makes log records without secrets."""

    make: Callable[..., logging.LogRecord]

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self.make(*args, **kwargs)
        with contextlib.suppress(Exception):  # a message that does not fit its arguments
            text = record.getMessage()
            if (clean := redacted(text)) != text:
                record.msg, record.args = clean, ()
        if record.exc_info and record.exc_info[1] is not None:
            _, error, trace = record.exc_info
            clean_error = scrubbed(error)
            if clean_error is not error:
                record.exc_info = (type(clean_error), clean_error, trace)
        return record


def _note(known: dict[str, str], values: set[str], label: str) -> None:
    with _lock:
        known.update({value: label for value in values if value not in known})


@lru_cache(maxsize=4)
def _pattern(num_secrets: int, num_places: int) -> tuple[dict[str, str], re.Pattern[str] | None]:
    """What is known at these numbers, the longest first: they only grow."""
    with _lock:
        labels = {**_places, **_secrets}
        secrets = set(_secrets)
    if not labels:
        return labels, None
    parts = [
        re.escape(value) if value in secrets else rf"(?<!\w){re.escape(value)}(?!\w)"
        for value in sorted(labels, key=len, reverse=True)
    ]
    return labels, re.compile("|".join(parts))


def _without_user(match: re.Match[str]) -> str:
    scheme, user = match[1], match[2]
    if scheme.lower() in CONTAINER_SCHEMES and ":" not in user:
        return match[0]
    return f"{scheme}://"


def _masked(match: re.Match[str]) -> str:
    names = {name.lower() for _, name, _ in _PARAMETER.findall(match.string)}
    return f"{match[1]}{match[2]}={MASK}" if is_sensitive(match[2], names) else match[0]


def _is_dirty(error: BaseException) -> bool:
    texts = [str(error), repr(error), *getattr(error, "__notes__", ())]
    return any(redacted(text) != text for text in texts)


def _replace_arguments(error: BaseException) -> None:
    error.args = tuple(redacted(one) if isinstance(one, str) else one for one in error.args)
    if isinstance(error, OSError):
        for name in ("filename", "filename2", "strerror"):
            if isinstance(value := getattr(error, name), str):
                setattr(error, name, redacted(value))
    if notes := getattr(error, "__notes__", None):
        error.__notes__ = [redacted(note) for note in notes]


_KINDS: Final = (
    FileNotFoundError, PermissionError, TimeoutError, ConnectionError, OSError, ImportError,
    ValueError, TypeError, AttributeError, LookupError, MemoryError, RuntimeError,
)  # fmt: skip


def _stand_in(error: BaseException) -> BaseException:
    """An error of the nearest builtin kind that says the same."""
    kind = next((kind for kind in _KINDS if isinstance(error, kind)), RuntimeError)
    text = redacted(f"{type(error).__name__}: {error}")
    number = getattr(error, "errno", None)
    if issubclass(kind, OSError) and isinstance(number, int):
        return OSError(number, text)
    return kind(text)
