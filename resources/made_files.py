"""Filesystems of pictures that lie nowhere and are made when they are read."""

import errno
from io import BytesIO
from typing import Any, ClassVar

import fsspec


class MadeFiles(fsspec.AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Files by `ls`, `info` and `cat_file` of a subclass; nothing can be written to it."""

    cachable = True
    read_only: ClassVar[str]  # why it cannot be written to

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, **kwargs: Any
    ) -> Any:
        found = self.ls(path)
        if kwargs.get("detail"):
            return {info["name"]: info for info in found}
        return [info["name"] for info in found]

    def isdir(self, path: str) -> bool:
        """Raises where the address says nothing: what is wrong with it is known here alone."""
        return bool(self.info(path)["type"] == "directory")

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> BytesIO:
        if mode != "rb":
            raise OSError(errno.EROFS, self.read_only, path)
        return BytesIO(self.cat_file(path))
