"""Names below an address, in three forms: as listed, as opened and as stored."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from invertory.resources.addresses import (
    OURS,
    VARIABLE,
    WITH_QUERY,
    Address,
    base_of,
    credentials,
    expanded,
    scheme_of,
    shown,
)

HOSTLESS: Final = ("ftp", "ftps", "sftp", "ssh", "smb")  # their listings omit the host


class Roots:
    """Addresses, and the names below them as they are stored and as they are opened.

    `canonical` returns the name under which a filesystem lists an address. The environment is read
    when the first name is converted.
    """

    def __init__(
        self, texts: Iterable[str], canonical: Callable[[str], str] = lambda text: text
    ) -> None:
        self._canonical = canonical
        self._texts = [t.written if isinstance(t, Address) else t for t in texts]

    @property
    def is_plain(self) -> bool:
        """True if every name is stored as it is opened."""
        return not self._roots

    def stored(self, name: str) -> str:
        """Return the name without values of environment variables and credentials."""
        if self.is_plain:
            return name
        for base, root in self._listed:
            if _is_below(name, base):
                return root.base + _shown_query(name[len(base) :], root.scheme)
        return shown(name)

    def opened(self, name: str) -> str:
        """Return the name to open for a stored name."""
        for base, root in self._stored:
            if _is_below(name, base):
                if name == root.shown:
                    return root.full_address
                return _signed(root.opened + name[len(base) :], root)
        if "://" not in name or any(_is_below(name, base_of(text)) for text in self._texts):
            return name
        return VARIABLE.sub(lambda match: os.environ.get(match[1], match[0]), name)

    def root_length(self, name: str) -> int:
        """Return the length of the longest root above a stored name; 0 if there is none."""
        return next((len(base) for base, _ in self._stored if _is_below(name, base)), 0)

    @cached_property
    def _roots(self) -> list[_Root]:
        roots = (_root(text, self._canonical) for text in self._texts)
        return [root for root in roots if root is not None]

    @cached_property
    def _listed(self) -> list[tuple[str, _Root]]:
        return _longest_first((base, root) for root in self._roots for base in root.listed)

    @cached_property
    def _stored(self) -> list[tuple[str, _Root]]:
        pairs = ((base, root) for root in self._roots for base in (root.base, *root.plain))
        return _longest_first(pairs)


@dataclass(frozen=True)
class _Root:
    """One address and the prefixes of the names below it.

    `base`: prefix of stored names, `opened`: prefix of names to open, `listed`: possible prefixes
    in listings, `plain`: possible prefixes of names that earlier versions stored.
    """

    scheme: str
    base: str
    opened: str
    listed: tuple[str, ...]
    plain: tuple[str, ...]
    shown: str
    full_address: str
    credentials: str


def _root(text: str, canonical: Callable[[str], str]) -> _Root | None:
    """Return the root of an address; None if its names are stored as they are opened."""
    is_same = shown(text) == text and not VARIABLE.search(text)
    if scheme_of(text) in OURS or (is_same and scheme_of(text) not in HOSTLESS):
        return None
    opened = expanded(text)
    scheme = scheme_of(opened)
    if scheme in OURS:
        return None
    base = base_of(opened)
    local = base.removeprefix("file://")
    listed = dict.fromkeys([base, local, canonical(base).rstrip("/")])
    stored = shown(base_of(text)).removeprefix("file://")
    return _Root(
        scheme=scheme,
        base=stored,
        opened=local,
        listed=tuple(listed),
        plain=tuple(one for one in (shown(base), local) if one != stored),
        shown=shown(text),
        full_address=opened.removeprefix("file://"),
        credentials=credentials(opened) if scheme in WITH_QUERY else "",
    )


def _longest_first(pairs: Iterable[tuple[str, _Root]]) -> list[tuple[str, _Root]]:
    return sorted(pairs, key=lambda pair: -len(pair[0]))


def _is_below(name: str, base: str) -> bool:
    return name.startswith(base) and (len(name) == len(base) or name[len(base)] in "/?#")


def _shown_query(rest: str, scheme: str) -> str:
    if scheme not in WITH_QUERY or "?" not in rest:
        return rest
    return shown(f"x://x{rest}").removeprefix("x://x")


def _signed(name: str, root: _Root) -> str:
    if not root.credentials:
        return name
    head, mark, fragment = name.partition("#")
    return head + ("&" if "?" in head else "?") + root.credentials + mark + fragment
