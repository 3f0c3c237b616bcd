"""Prepared corpora at URLs: copied to this machine before they are read, for shards are mapped into memory."""

import hashlib
import os
import shutil
from pathlib import Path

from bert_tf.errors import InputError
from bert_tf.files import whole_file


def copied(folder, files, version):
    """The local folder with copies of files of a folder at a URL; an interrupted copy goes on, a whole one is kept.

    Copies are in bert_tf/corpora of $XDG_CACHE_HOME (~/.cache), to be deleted by hand.

    Args:
        folder: a `UPath`.
        files: {name: its sha256, or None where it is not known}.
        version: bytes that tell one content of the folder from another.

    Raises:
        InputError: a file that cannot be read or has another sha256.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    target = caches / "bert_tf" / "corpora" / hashlib.sha256(str(folder).encode() + version).hexdigest()[:32]
    missing = [name for name in files if not (target / name).is_file()]
    if missing:
        print(f"copying {len(missing)} files of {folder} to {target}")
    for name in missing:
        with whole_file(target / name) as copy:
            try:
                with (folder / name).open("rb") as stream:
                    shutil.copyfileobj(stream, copy, 2**22)
            except Exception as error:  # each store has its own
                raise InputError(f"cannot read {folder / name}: {error}; run the same command again") from error
            copy.flush()
            with open(copy.name, "rb") as again:
                sha256 = hashlib.file_digest(again, "sha256").hexdigest()
            if files[name] not in (None, sha256):
                raise InputError(
                    f"{folder / name} has changed since it was prepared (another sha256): prepare the corpus again"
                )
    return target
