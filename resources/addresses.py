"""An address of a recipe: written with `${NAME}`, shown without credentials, opened with both.

The `str` value is what may be stored and printed: it keeps `${NAME}` and omits user info and
signature parameters. Environment variables are expanded only when the address is opened, so that a
rotated password or a newly signed URL changes neither keys nor entries.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from invertory.resources.redaction import (
    CONTAINER_SCHEMES,
    MIN_WORD_CHARS,
    is_sensitive,
    note_place,
    note_secret,
)

VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
# Our own schemes, in which the text after `?` or `@` is never a credential.
OURS: Final = ("portraits", "digits", "demo", "bundled", "trained", "pypi")
WITH_QUERY: Final = ("http", "https", "ftp", "ftps", "webdav", "webdavs")
USER_SAFE: Final = "%:!$&'()*+,;=~-._"  # %: a value may be percent-encoded already
SEPARATORS = re.compile("[&;?]")  # between the parameters of a query


class Address(str):
    """An address whose text may be stored and shown; `written` is the text of the recipe."""

    written: str

    def __new__(cls, text: str) -> Address:
        if isinstance(text, Address):
            return text
        address = super().__new__(cls, shown(text))
        address.written = text
        _note_credentials(text)
        return address

    @property
    def opened(self) -> str:
        """The address with environment variables and credentials, only for opening it."""
        return expanded(self.written)

    @property
    def kept(self) -> str:
        """The address for a file: without literal credentials, but with `${NAME}`."""
        return _keep_credentials(self.written, _has_variable)

    @property
    def file_name(self) -> str:
        """The name of the file at the address, without the query of a URL."""
        text = str(self)
        if VARIABLE.search(text.rstrip("/").rpartition("/")[2]):
            text = shown(self.opened)
        head = text.partition("?")[0] if scheme_of(text) in WITH_QUERY else text
        return head.rstrip("/").rpartition("/")[2]

    def beside(self, suffix: str, other: str) -> Address:
        """Return the address of the sibling file whose name ends in `other`, not `suffix`."""
        base = base_of(self.written)
        if not base.endswith(suffix) and VARIABLE.search(base):
            return Address(self.opened).beside(suffix, other)
        rest = self.written[len(base) :]
        return Address(base.removesuffix(suffix) + other + rest)


def expanded(text: str) -> str:
    """Expand `${NAME}` from the environment, and `~` to the home folder.

    Raises ValueError if a variable is not set. The inserted values are registered as secrets.
    """
    if isinstance(text, Address):
        text = text.written
    user = _user_span(text)

    def value(match: re.Match[str]) -> str:
        setting = os.environ.get(match[1])
        if setting is None:
            raise ValueError(f"expected {match[1]!r} in the environment, got nothing; set it")
        if user[0] <= match.start() < user[1]:
            note_secret(setting, match[0])
            return quote(setting, safe=USER_SAFE)
        note = note_secret if _in_sensitive(text, match.start()) else note_place
        note(setting, match[0])
        _note_credentials(setting)
        return setting

    opened = VARIABLE.sub(value, text)
    if opened != text:
        _note_credentials(opened)
    return str(Path(opened).expanduser()) if opened == "~" or opened.startswith("~/") else opened


def shown(text: str) -> str:
    """Return `text` without user info and signature parameters, otherwise unchanged."""
    return str(text) if isinstance(text, Address) else _keep_credentials(text, lambda _: False)


def credentials(text: str) -> str:
    """Return the parameters that `shown` omits, as `a=1&b=2`."""
    query = _query(text)
    names = _names(query)
    parts = SEPARATORS.split(query)
    return "&".join(p for p in parts if is_sensitive(p.partition("=")[0], names))


def scheme_of(text: str) -> str:
    """Return the text before `://` in lower case; empty for a path."""
    head, separator, _ = text.partition("://")
    return head.lower() if separator else ""


def base_of(text: str) -> str:
    """Return the prefix shared by all names below an address."""
    scheme = scheme_of(text)
    head = text.partition("?")[0] if scheme in WITH_QUERY else text
    if "*" in head:
        head = head.partition("*")[0].rpartition("/")[0]
    return head.rstrip("/")


def _keep_credentials(text: str, is_kept: Callable[[str], bool]) -> str:
    """Return `text` with only those credentials for which `is_kept` is true."""
    scheme = scheme_of(text)
    if not scheme or scheme in OURS:
        return text
    start, end = _user_span(text)
    if end > start and not is_kept(text[start:end]):
        text = text[:start] + text[end:]
    query = _query(text)
    names = _names(query)
    parts = re.findall(r"(^|[&;?])([^&;?]*)", query)  # (separator, name=value)
    left = [
        (mark, part)
        for mark, part in parts
        if not is_sensitive(part.partition("=")[0], names) or is_kept(part)
    ]
    if len(left) == len(parts):
        return text
    head, _, tail = text.partition("?")
    kept = "".join(mark + part for mark, part in left)[len(left[0][0]) :] if left else ""
    return head + ("?" if left else "") + kept + tail[len(query) :]


def _has_variable(part: str) -> bool:
    return bool(VARIABLE.search(part.rpartition(":")[2].rpartition("=")[2]))


def _user_span(text: str) -> tuple[int, int]:
    """Return the span of the user info including its `@`; (0, 0) if there is none."""
    scheme = scheme_of(text)
    start = len(scheme) + 3
    end = min((i for i in (text.find(c, start) for c in "/?#") if i >= 0), default=len(text))
    at = text.rfind("@", start, end) + 1 if scheme and scheme not in OURS else 0
    if not at or (scheme in CONTAINER_SCHEMES and ":" not in text[start:at]):
        return 0, 0
    return start, at


def _query(text: str) -> str:
    return text.partition("?")[2].partition("#")[0] if "://" in text else ""


def _names(query: str) -> set[str]:
    return {unquote(part.partition("=")[0]).lower() for part in SEPARATORS.split(query)}


def _in_sensitive(text: str, place: int) -> bool:
    """Return True if a position lies in the value of a signature parameter."""
    mark = text.find("?")
    if mark < 0 or place < mark or scheme_of(text) in OURS:
        return False
    name = SEPARATORS.split(text[mark:place])[-1].partition("=")[0]
    return is_sensitive(name, _names(_query(text)))


def _note_credentials(text: str) -> None:
    """Register the literal credentials of an address as secrets."""
    start, end = _user_span(text)
    if end > start and not VARIABLE.search(text[start:end]):
        user = text[start : end - 1]
        if ":" in user or len(user) >= MIN_WORD_CHARS:  # a token may come without a password
            note_secret(user)
            note_secret(user.partition(":")[2])
    if scheme_of(text) not in OURS:
        for part in credentials(text).split("&"):
            name, _, value = part.partition("=")
            if value and not VARIABLE.search(value) and not _is_public(name):
                note_secret(value)


def _is_public(name: str) -> bool:
    """Return True for signature parameters with public values such as dates and versions."""
    word = unquote(name).lower()
    return not re.search("sig|token|key|pass|pwd|secret|cred|auth|jwt|bearer|hmac|policy", word)
