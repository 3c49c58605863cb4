"""Filesystems of images that are generated when they are read."""

import errno
from io import BytesIO
from typing import Any, ClassVar

import fsspec


class GeneratedFiles(fsspec.AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A read-only filesystem; a subclass implements `ls`, `info` and `cat_file`."""

    cachable = True
    read_only: ClassVar[str]  # error message for writes

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, **kwargs: Any
    ) -> Any:
        infos = self.ls(path)
        if kwargs.get("detail"):
            return {info["name"]: info for info in infos}
        return [info["name"] for info in infos]

    def isdir(self, path: str) -> bool:
        """Return True for a folder; raises if the address is invalid, with the reason."""
        return bool(self.info(path)["type"] == "directory")

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> BytesIO:
        if mode != "rb":
            raise OSError(errno.EROFS, self.read_only, path)
        return BytesIO(self.cat_file(path))
