"""What fsspec filesystems have in common here: whether they are local, and fresh listings."""

import contextlib

import fsspec


def is_local(fs: fsspec.AbstractFileSystem) -> bool:
    """True where paths of `fs` are paths of this host."""
    protocols = fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)
    return "file" in protocols


def list_folder(fs: fsspec.AbstractFileSystem, folder: str) -> list[str]:
    """Sorted paths in `folder` as they are now, not as a cache remembers them."""
    fs.invalidate_cache()
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return sorted(fs.ls(folder, detail=False))
    return []
