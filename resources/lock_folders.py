"""Where locks and scratch files lie: never under a name that another user could have taken."""

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

    It does not depend on TMPDIR, which may be another for every user.
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
        folder.chmod(OPEN_TO_ALL)  # made by an earlier version, without the sticky bit
    return folder


def user_folder() -> Path:
    """A folder of this user and host, closed to others: in XDG_RUNTIME_DIR or beside it."""
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    if runtime.is_absolute() and _is_private(runtime):
        folder = runtime / "invertory"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder
    return scratch_folder()


def store_lock(uri: str) -> Path:
    """The lock of an address that has no folder on this host, one for each user.

    It lies in the user's cache, which is the same for a login and for a cron job.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    named = os.environ.get("INVERTORY_CACHE") or f"{cache}/invertory"
    folder = Path(named).expanduser() / "locks"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{hashlib.sha256(uri.encode()).hexdigest()[:16]}.lock"


def scratch_folder() -> Path:
    """This user's folder in the temporary folder, closed to others.

    Where somebody else has taken its name, this process has one of its own until it ends.
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
    """It appears with its mode, so that nobody meets a folder that only its maker may write in."""
    made = Path(tempfile.mkdtemp(prefix=f".{NAME}-", dir=folder.parent))
    made.chmod(OPEN_TO_ALL)
    try:
        made.rename(folder)
    except OSError:  # another process was first
        made.rmdir()


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
