"""The folders of locks and scratch files, under names that no other user can have taken."""

import atexit
import contextlib
import functools
import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

HOST_FOLDERS = (Path("/run/lock"), Path("/tmp"))
OPEN_TO_ALL = stat.S_ISVTX | 0o777  # everyone creates files, and removes only their own
NAME = "invertory-locks"


def host_folder() -> Path:
    """The folder of locks that all users of this host share, as they share its GPUs.

    It does not depend on TMPDIR, which may differ by user.
    """
    root = next(filter(_is_open_to_all, HOST_FOLDERS), Path(tempfile.gettempdir()))
    folder = root / NAME
    if not folder.is_symlink() and not folder.exists():
        _create_open_to_all(folder)
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode):
        raise NotADirectoryError(
            f"expected {folder} to be a folder for the locks of all users, got another file of "
            f"user {info.st_uid}; remove it, or set lock_dir of the resource `gpu`"
        )
    if info.st_uid == os.getuid() and stat.S_IMODE(info.st_mode) != OPEN_TO_ALL:
        folder.chmod(OPEN_TO_ALL)  # an earlier version created it without the sticky bit
    return folder


def user_folder() -> Path:
    """A folder that only this user can read: in XDG_RUNTIME_DIR, else in the temporary folder."""
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    if runtime.is_absolute() and _is_private(runtime):
        folder = runtime / "invertory"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder
    return scratch_folder()


def store_lock(uri: str) -> Path:
    """The lock of a store that is not on this host, one for each user.

    It lies in the user's cache, which is the same in a login shell and in a cron job.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    named = os.environ.get("INVERTORY_CACHE") or f"{cache}/invertory"
    folder = Path(named).expanduser() / "locks"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{hashlib.sha256(uri.encode()).hexdigest()[:16]}.lock"


def scratch_folder() -> Path:
    """A folder in the temporary folder that only this user can read.

    Where another user has taken its name, this process uses a folder of its own until it ends.
    """
    folder = Path(tempfile.gettempdir()) / f"invertory-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
        return _own_folder(tempfile.gettempdir())
    if stat.S_IMODE(info.st_mode) & 0o077:
        folder.chmod(0o700)
    return folder


@functools.cache
def _own_folder(root: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="invertory-", dir=root))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _create_open_to_all(folder: Path) -> None:
    """Create the folder with its mode in one step, so that all users can write in it at once."""
    fresh = Path(tempfile.mkdtemp(prefix=f".{NAME}-", dir=folder.parent))
    fresh.chmod(OPEN_TO_ALL)
    try:
        fresh.rename(folder)
    except OSError:  # another process was first
        fresh.rmdir()


def _is_open_to_all(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        info = folder.lstat()
        is_open = stat.S_IMODE(info.st_mode) & OPEN_TO_ALL == OPEN_TO_ALL
        return stat.S_ISDIR(info.st_mode) and is_open and os.access(folder, os.W_OK)
    return False


def _is_private(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        info = folder.lstat()
        return info.st_uid == os.getuid() and not stat.S_IMODE(info.st_mode) & 0o077
    return False
