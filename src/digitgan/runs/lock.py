"""The lock of a run folder, and whether there is room in it, on file systems of all kinds."""

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from ..errors import RunFolderError
from ..files import UNSUPPORTED, sync
from ..streams import tell

ROOM = 1_000_000  # bytes that must be free before an epoch is written


class FolderLock:
    """The lock of a folder, which one process holds at a time.

    It is the system's own lock on `.lock`, which ends with the process. On a file system without
    such locks (some network and cloud drives) a file stands for it, while it exists. A killed
    process may leave it: this is told.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file, self._content = folder / ".lock", ""  # the locked file, and what is in it

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock within the block.

        Raises `RunFolderError` where another process holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self._acquire()
        try:
            self._file = Path(lock.lock_file)
            soft = isinstance(lock, SoftFileLock)
            self._content = self._file.read_text() if soft else ""  # who holds it
            if not self._content:  # a token tells it from one that is made in its place
                self._content = secrets.token_hex(8)
                self._file.write_text(self._content)
            if soft:
                told = f"{self.folder}: this file system has no locks; {self._file} stands for one"
                tell(f"{told} (if this process is killed, delete it)", error=True)
            yield
        finally:
            lock.release()

    def is_there(self) -> bool:
        """Whether the folder still holds the file that was locked. Inode numbers would not tell:
        some file systems make them up at each look."""
        try:
            return self._file.read_text() == self._content
        except PermissionError:  # Windows: a locked file is not read, but there
            return True
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _acquire(self) -> BaseFileLock:
        """The lock of the system, or where there is none one that is a file."""
        path = self.folder / ".lock"
        lock: BaseFileLock
        if has_locks(path):
            lock = FileLock(path, timeout=0)
        else:
            lock = SoftFileLock(self.folder / ".lock.held", timeout=0)
        self._try(lock)
        return lock

    def _try(self, lock: BaseFileLock) -> None:
        told = f"{self.folder}: another process trains in it"
        hint = "wait for its end, or choose another run_dir"
        try:
            lock.acquire()
        except Timeout:
            if isinstance(lock, SoftFileLock):
                told += ", or was killed there"
                hint += f", or delete {lock.lock_file} if none runs"
            raise RunFolderError(f"{told}; {hint}") from None


def has_locks(path: Path) -> bool:
    """Whether a file's system has locks. The file is made where it is missing.

    Asked here and not of filelock, whose versions differ in what they do without locks.
    """
    try:
        import fcntl
    except ImportError:  # Windows: always
        return True
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:  # another process holds it: there are locks
            return True
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            return False
    return True


def check_room(folder: Path) -> None:
    """Raise OSError where a folder has no room for an epoch's files.

    Some file systems report no free space, or none at all: where little is reported, a file is
    written to see.
    """
    with contextlib.suppress(OSError):
        if shutil.disk_usage(folder).free >= ROOM:
            return
    probe = folder / ".room"
    try:
        with probe.open("wb") as file:
            file.write(bytes(ROOM))
            sync(file)
    finally:
        probe.unlink(missing_ok=True)
