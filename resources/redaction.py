"""Redact secrets of this process's addresses from messages, logs and errors.

`note_secret` registers a value. `redacted` removes registered values from a text, and the user info
and signatures of any URL. `hiding_secrets` does the same for exceptions raised by libraries.
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
MIN_SECRET_CHARS: Final = 4  # redacting shorter values would damage ordinary words
MIN_WORD_CHARS: Final = 8  # of an alphanumeric value that is not known to be secret
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
WORDS: Final = frozenset({
    "sign", "signed", "pw", "pwd", "pass", "session", "sessionid", "sid", "expires", "policy",
    "gda", "code", "otp",
})  # fmt: skip
AZURE: Final = frozenset({
    "se", "sp", "sv", "sr", "st", "spr", "srt", "ss", "sip", "si", "ske", "skt", "sks", "skv",
    "skoid", "sktid", "sdd", "saoid", "suoid", "scid",
})  # fmt: skip

_USER = re.compile(r"(?<![\w+.-])([A-Za-z][\w+.-]*)://([^/?#\s'\"<>]*)@")
_PARAMETER = re.compile(r"([?&;#]|&amp;|\\u0026)([\w.%\[\]-]+)=([^&\s'\"<>)\]\\,]*)")
_WORD_END = re.compile(
    "(token|signature|sig|key|auth|authorization|secret|password|passwd|passphrase|credentials?"
    "|hmac|md5|jwt|bearer)$"
)
_secrets: dict[str, str] = {}  # value => replacement
_places: dict[str, str] = {}  # the same, for values replaced only as whole words
_lock = threading.Lock()


def note_secret(value: str, label: str = MASK) -> None:
    """Register a secret: `redacted` shows `label` instead of `value`, encoded or not."""
    values = {value, unquote(value), quote(value, safe=""), quote(unquote(value), safe="")}
    if ":" in value:  # user:password, as encoded in a request header
        values.add(base64.b64encode(unquote(value).encode()).decode())
    _remember(_secrets, {one for one in values if len(one) >= MIN_SECRET_CHARS}, label)


def note_place(value: str, label: str) -> None:
    """Register a value that is not secret by its position, such as the name of a bucket."""
    if len(value) >= (MIN_WORD_CHARS if value.isalnum() else MIN_SECRET_CHARS):
        _remember(_places, {value, quote(value)}, label)


def redacted(text: str) -> str:
    """Return `text` without registered secrets, user info and signature parameters."""
    secrets, pattern = _pattern(len(_secrets), len(_places))
    if pattern is not None:
        text = pattern.sub(lambda match: secrets[match.group()], text)
    if "://" in text:
        text = _USER.sub(_without_user, text)
    if "=" in text:
        text = _PARAMETER.sub(_mask_value, text)
    return text


def is_sensitive(name: str, beside: frozenset[str] | set[str] = frozenset()) -> bool:
    """Return True if a query parameter signs or authorises; `beside` are the other names.

    Services invent names (`temp_url_sig`, `private_token`, `AccountKey`), so that the words of a
    name decide, not the name.
    """
    plain = unquote(name)
    lower = plain.lower()
    if lower in NAMES or lower.startswith(PREFIXES) or (lower in AZURE and "sig" in beside):
        return True
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", plain).lower())
    return any(word in WORDS or _WORD_END.search(word) for word in words)


@contextlib.contextmanager
def hiding_secrets(address: str = "") -> Iterator[None]:
    """Redact exceptions that leave the block, and add a note with the address they concern."""
    try:
        yield
        return
    except Exception as error:
        clean = scrubbed(error).with_traceback(error.__traceback__)
        if address and not getattr(clean, "__notes__", None):
            clean.add_note(f"at {redacted(address)}")
        if clean is error:
            raise
    raise clean  # raised outside the handler, so that the original error is not its context


def scrubbed(error: BaseException, _seen: frozenset[int] = frozenset()) -> BaseException:
    """Redact an error together with its causes and contexts.

    Returns the same object if its arguments can be replaced, else an error of its builtin type.
    """
    if id(error) in _seen:
        return error
    seen = _seen | {id(error)}
    clean = error
    if _is_dirty(error):
        _replace_arguments(error)
        clean = _replacement(error) if _is_dirty(error) else error
    for name in ("__cause__", "__context__"):
        inner = getattr(error, name)
        if inner is not None:
            hides = error.__suppress_context__
            setattr(clean, name, scrubbed(inner, seen))
            clean.__suppress_context__ = hides
    return clean


def redact_logs() -> None:
    """Redact every log record of this process, for all loggers and handlers."""
    make = logging.getLogRecordFactory()
    if not isinstance(make, _RedactingFactory):
        logging.setLogRecordFactory(_RedactingFactory(make))


@dataclass(frozen=True, slots=True)
class _RedactingFactory:
    """Makes log records without secrets."""

    make: Callable[..., logging.LogRecord]

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self.make(*args, **kwargs)
        with contextlib.suppress(Exception):  # the message does not match its arguments
            text = record.getMessage()
            if (clean := redacted(text)) != text:
                record.msg, record.args = clean, ()
        if record.exc_info and record.exc_info[1] is not None:
            _, error, trace = record.exc_info
            clean_error = scrubbed(error)
            if clean_error is not error:
                record.exc_info = (type(clean_error), clean_error, trace)
        return record


def _remember(labels: dict[str, str], values: set[str], label: str) -> None:
    with _lock:
        labels.update({value: label for value in values if value not in labels})


@lru_cache(maxsize=4)
def _pattern(num_secrets: int, num_places: int) -> tuple[dict[str, str], re.Pattern[str] | None]:
    """Compile the registered values, longest first; the counts only grow and are the cache key."""
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


def _mask_value(match: re.Match[str]) -> str:
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


def _replacement(error: BaseException) -> BaseException:
    """Build an error of the nearest builtin type with the same message."""
    kind = next((kind for kind in _KINDS if isinstance(error, kind)), RuntimeError)
    text = redacted(f"{type(error).__name__}: {error}")
    number = getattr(error, "errno", None)
    if issubclass(kind, OSError) and isinstance(number, int):
        return OSError(number, text)
    return kind(text)
