"""Files that appear under their name only when they are whole: write beside, fsync, rename.

A crash, a full disk or a SIGKILL leaves either the old file or the new one, and at most a leftover, NAME.partial of a
file and .NAME.partial of a folder, that the next writer replaces. POSIX rename(2) is atomic within one file system. It
does not replace a folder that holds files: an old folder is first moved to `old` in that leftover, and removed when the
new one, `new` there, has its name; where it has not, the next writer puts the old one back.
"""

import contextlib
import errno
import os
import shutil
from pathlib import Path

from bert_tf.errors import InputError

_REFUSALS = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO),  # room and hardware
    *(errno.EROFS, errno.EACCES, errno.EPERM),  # permission
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),  # a file where a folder must be, and so on
}


@contextlib.contextmanager
def whole_file(path, mode="wb"):
    """Opens `path` for writing; the file takes its name only if the block ends without an exception.

    Raises:
        InputError: the file system refused the bytes (a full disk, a read-only folder), with the path.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    encoding = None if "b" in mode else "utf-8"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, mode, encoding=encoding) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
        _sync(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):  # what stopped the writing may stop this too
            partial.unlink()
        refuse(error, path)
        raise


@contextlib.contextmanager
def whole_directory(path):
    """Yields an empty folder beside `path` to fill; it replaces `path` only if the block ends without an exception.

    Raises:
        InputError: the file system refused the bytes or the names, with the path.
    """
    target = Path(path).resolve()  # "." has a name and a parent too, and a link stays one
    own = target.with_name(f".{target.name}.partial")
    partial, retired = own / "new", own / "old"
    try:
        _clear(own, target)
        partial.mkdir(parents=True)
        yield partial
        for entry in (*partial.rglob("*"), partial):
            _sync(entry)
        if target.is_dir():
            os.replace(target, retired)
        os.replace(partial, target)
        _sync(target.parent)
        shutil.rmtree(own, ignore_errors=True)
    except BaseException as error:
        _clear(own, target)
        refuse(error, path)
        raise


def _clear(own, target):
    """Removes a leftover; an old folder that lies in it goes back to its place, where there is none."""
    if (own / "old").exists() and not target.exists():
        os.replace(own / "old", target)
    shutil.rmtree(own, ignore_errors=True)


def refuse(error, path):
    """Raises the sentence for what the file system refused; any other exception (a missing input, say) passes."""
    if isinstance(error, OSError) and error.errno in _REFUSALS:
        raise InputError(
            f"cannot write {path}: {error.strerror}; free space or choose another folder, then run the same command "
            "again: what was finished before is kept"
        ) from None


def _sync(path):
    """Brings a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
