"""Portraits rendered on demand: the collection `portraits://?num=200&seed=1&glasses|male=0.8`.

A file such as `portraits://?seed=1&size_px=64&glasses|male=0.8/000012.png` is rendered when it is
read, always with the same bytes. `num` is not part of its name, so that a collection can grow.
"""

import errno
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

from invertory.portraits import Portrait, World, draw, render, row_seed
from invertory.portraits.dataset import LOOK
from invertory.portraits.render import SIZES
from invertory.portraits.settings import canonical_settings, parse_world
from invertory.portraits.streams import MAX_SEED
from invertory.resources.generated_files import GeneratedFiles

SCHEME: Final = "portraits://"
MAX_NUM: Final = 1_000_000  # file names have six digits
MAX_CACHED_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Portraits:
    """`num` portraits of a world at `size_px`; portrait i depends only on the seed and i."""

    num: int = 200
    seed: int = 0
    size_px: int = 64
    world: World = field(default_factory=World)
    words: tuple[tuple[str, str], ...] = ()  # the world as written in the address

    def __post_init__(self) -> None:
        limits = {"num": (1, MAX_NUM), "seed": (0, MAX_SEED), "size_px": SIZES}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                unit = " px" if name == "size_px" else ""
                raise ValueError(
                    f"expected {name} from {low} to {high}{unit}, got {getattr(self, name)}"
                )

    @classmethod
    def parse(cls, address: str) -> "Portraits":
        """Parse `portraits://?num=200&...`, with or without the scheme; ValueError if invalid."""
        query = address.removeprefix(SCHEME).removeprefix("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        return cls.of([(key.strip(), value.strip()) for key, value in pairs])

    @classmethod
    def of(cls, settings: list[tuple[str, str]]) -> "Portraits":
        """Build from pairs: num, seed, size_px, and the settings of a world (see `world_of`)."""
        own = {key: _parse_int(key, value) for key, value in settings if key in _OWN}
        words = [(key, value) for key, value in settings if key not in _OWN]
        return cls(**own, world=parse_world(words, _OWN), words=tuple(canonical_settings(words)))

    @property
    def root(self) -> str:
        """The prefix of the file names, without the scheme."""
        words = "".join(f"&{key}={value}" for key, value in self.words)
        return f"?seed={self.seed}&size_px={self.size_px}{words}"

    def names(self) -> list[str]:
        return [f"{self.root}/{i:06d}.png" for i in range(self.num)]

    def portrait(self, i: int) -> Portrait:
        return draw(row_seed(self.seed, i), self.world)

    def image(self, i: int) -> bytes:
        """The PNG of number i."""
        from invertory.images import encode  # here, as it imports torch

        return encode(render(self.portrait(i), self.size_px).image, "png")


_OWN: Final = ("num", "seed", "size_px")


def portrait_at(uri: str) -> Portrait | None:
    """Return the portrait at an address; None if it is not a `portraits://` address."""
    if not uri.startswith(SCHEME):
        return None
    place, i = _place(uri.removeprefix(SCHEME))
    return place.portrait(i)


class PortraitFiles(GeneratedFiles):
    """The filesystem behind `portraits://`."""

    protocol = "portraits"
    read_only = "portraits:// is read-only"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._drawn = _Cache(MAX_CACHED_BYTES)

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """List one file or all of a collection; sizes are unknown before rendering."""
        path = self._strip_protocol(path)
        names = [path] if _is_file(path) else _parse(path).names()
        return [_info(name) for name in names] if detail else names

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        if _is_file(path):
            _place(path)
            return _info(path)
        _parse(path)
        return {"name": path, "size": 0, "type": "directory"}

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        path = self._strip_protocol(path)
        data = self._drawn.get(path)
        if data is None:
            place, i = _place(path)
            data = place.image(i)
            self._drawn.put(path, data)
        return data[start:end]


class _Cache:
    """The last rendered files, since the stages of a shard read the same images in turn."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self._num_bytes = max_bytes, 0
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> bytes | None:
        with self._lock:
            if name in self._held:
                self._held.move_to_end(name)
            return self._held.get(name)

    def put(self, name: str, data: bytes) -> None:
        with self._lock:
            self._num_bytes += len(data) - len(self._held.pop(name, b""))
            self._held[name] = data
            while self._num_bytes > self._max_bytes:
                self._num_bytes -= len(self._held.popitem(last=False)[1])


def _info(name: str) -> dict[str, Any]:
    return {"name": name, "size": None, "type": "file", "ETag": f"portraits-{LOOK}"}


def _is_file(path: str) -> bool:
    return path.endswith(".png")


def _place(path: str) -> tuple[Portraits, int]:
    """Return the collection and the number of a file."""
    root, _, name = path.rpartition("/")
    stem = name.removesuffix(".png")
    if not (stem.isdecimal() and len(stem) == 6):
        raise FileNotFoundError(
            errno.ENOENT, "expected a portrait such as portraits://?seed=1/000012.png, got", path
        )
    return _parse(root), int(stem)


def _parse(path: str) -> Portraits:
    try:
        return Portraits.parse(path)
    except ValueError as error:
        raise FileNotFoundError(errno.ENOENT, str(error), f"{SCHEME}{path}") from error


def _parse_int(key: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"expected a whole number for {key!r}, got {text!r}") from None
