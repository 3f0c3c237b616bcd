"""Files that appear under their name only when they are whole: write beside, fsync, rename.

A crash, a full disk or a SIGKILL leaves either the old file or the new one, and at most a `.partial` leftover that the
next writer replaces. POSIX rename(2) is atomic within one file system.
"""

import contextlib
import errno
import os
import shutil
from pathlib import Path

from bert_tf.errors import InputError

_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR}


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
        _sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _refusal(error, path) from None
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def whole_directory(path):
    """Yields an empty folder beside `path` to fill; it replaces `path` only if the block ends without an exception."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        for entry in partial.rglob("*"):
            if entry.is_file():
                with open(entry, "rb") as stream:
                    os.fsync(stream.fileno())
        if path.exists():  # rename(2) does not replace a folder that holds files
            shutil.rmtree(path)
        os.replace(partial, path)
        _sync_folder(path.parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise _refusal(error, path) from None
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _refusal(error, path):
    """The sentence for what the file system refused; any other OSError (a missing input, say) stays what it is."""
    if error.errno not in _REFUSALS:
        return error
    return InputError(
        f"cannot write {path}: {error.strerror or error}; free space or choose another folder, then run the same "
        "command again: what was finished before is kept"
    )


def _sync_folder(folder):
    """Makes the rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
