"""Places: local paths, and URLs of any file system that fsspec knows (gs://…, s3://…, memory://…).

A place is a `pathlib.Path` or, for a URL, a `upath.UPath`, which has the same methods. Reading and listing are theirs;
the functions here are what differs: a file that appears only when it is whole, and many ranges at once.
"""

import shutil
from pathlib import Path

from bert_tf.errors import InputError
from bert_tf.extras import needed
from bert_tf.files import whole_file


def place(name):
    """The place of a path or URL; `file://` is the local disk.

    Raises:
        InputError: a URL without the `cloud` extra, or of a file system whose package is not installed.
    """
    if "://" not in str(name):
        return Path(name)
    if str(name).startswith("file://"):
        return Path(str(name).removeprefix("file://"))
    with needed(f"the path {name}", "cloud"):
        import upath
    try:
        found = upath.UPath(name, use_listings_cache=False)  # other processes write there too
        _ = found.fs  # imports what the protocol needs
    except (ImportError, ValueError) as error:
        raise InputError(f"cannot open {name}: {error}; pip install 'bert-tf[cloud]' brings gs:// and s3://") from None
    return found


def write_whole(path, content):
    """Writes the bytes of a file, whole or not at all: an object store takes an object in one piece."""
    if isinstance(path, Path):
        with whole_file(path) as stream:
            stream.write(content)
        return
    try:
        path.fs.pipe_file(path.path, content)
    except Exception as error:  # each store has its own
        raise InputError(
            f"cannot write {path}: {error}; the same command goes on where this stopped: what was finished is kept"
        ) from error


def read_ranges(paths, begins, ends):
    """The bytes `begins[i]` to `ends[i]` of `paths[i]`, a list; from an object store all at once."""
    if not paths or isinstance(paths[0], Path):
        return [_read_range(*one) for one in zip(paths, begins, ends, strict=True)]
    return paths[0].fs.cat_ranges([path.path for path in paths], list(begins), list(ends), on_error="raise")


def _read_range(path, begin, end):
    with open(path, "rb") as stream:
        stream.seek(begin)
        return stream.read(end - begin)


def remove_tree(path):
    """Removes a folder and what is in it, if it is there."""
    if isinstance(path, Path):
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        path.fs.rm(path.path, recursive=True)
