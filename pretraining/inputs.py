"""What `bert-pretrain vocab` and `prepare` read: files, folders and patterns, here or at URLs, and TFDS data sets.

An input has `characters` (about how much text it holds), `identity()` (what tells its content from another's, as JSON)
and `documents()`.
"""

import dataclasses
import glob
import hashlib
import os
from pathlib import Path
from typing import Any

from bert_tf.errors import InputError
from pretraining import readers
from pretraining.places import place
from pretraining.tfds_input import TFDS, TfdsInput

COMPRESSED_CHARACTERS = 3  # about so many characters a byte have .gz, .zst and .parquet


@dataclasses.dataclass(frozen=True)
class FileInput:
    """One file: a local `Path` or the `UPath` of a URL."""

    path: Any
    field: str

    @property
    def characters(self):
        text = self.path.suffix in (".txt", ".jsonl", ".json")
        return self.path.stat().st_size * (1 if text else COMPRESSED_CHARACTERS)

    def identity(self):
        """Name, size, and the sha256 of a local file, or what the store says of an object (its etag or generation)."""
        try:
            if isinstance(self.path, Path):
                with open(self.path, "rb") as stream:
                    mark = {"sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
            else:
                mark = {"store_key": self.path.fs.ukey(self.path.path)}
            return {"name": self.path.name, "bytes": self.path.stat().st_size} | mark
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror or error}") from None

    def documents(self):
        return readers.documents(self.path, self.field)

    def __str__(self):
        return str(self.path)


def find_inputs(names, field="text"):
    """The inputs of `names`, in the order given, folders and patterns sorted by name.

    Args:
        names: paths, folders or glob patterns, local or URLs (places.py), and `tfds:` names (tfds_input.py). A folder
            gives every file below it, also through links, with a suffix of readers.py; a file given by its name must
            have one too.
        field: see readers.py.

    Returns:
        (inputs, passed_over): and the files of the folders that have another suffix, or are broken links.

    Raises:
        InputError: nothing there, a folder or pattern without such a file, a folder that may not be listed, or a suffix
            that nothing reads.
    """
    inputs, passed_over = [], []
    for name in map(str, names):
        if name.startswith(TFDS):
            inputs.append(TfdsInput.open(name, field))
            continue
        try:
            found, others = _files(name)
        except OSError as error:
            raise InputError(f"cannot look for {error.filename or name}: {error.strerror or error}") from None
        passed_over += others
        for file in found:
            if not readers.format_of(file):
                raise InputError(
                    f"cannot tell the format of {file}: expected a name that ends in {', '.join(readers.SUFFIXES)}"
                )
        inputs += [FileInput(file, field) for file in found]
    return inputs, passed_over


def _files(name):
    """The files that one name gives, and those of a folder that nothing reads."""
    path = place(name)
    if path.is_dir():
        below = sorted(_below(path) if isinstance(path, Path) else path.rglob("*"), key=str)
        files = [entry for entry in below if entry.is_file()]
        found = [entry for entry in files if readers.format_of(entry)]
        if not found:
            raise InputError(f"the folder {name} holds no file that ends in {', '.join(readers.SUFFIXES)}")
        return found, [entry for entry in files if not readers.format_of(entry)] + _broken_links(below)
    found = [path] if path.is_file() else _matches(path)
    if not found:
        raise InputError(f"no file, folder or pattern {name}: give paths to text files that exist")
    return found, []


def _below(folder):
    """Everything below a local folder but folders, through links too, but for those back to a folder on the way."""
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_stop):
        way = [one for one in (Path(parent), *Path(parent).parents) if one.is_relative_to(folder)]
        passed = set(map(os.path.realpath, way))
        folders[:] = [name for name in folders if os.path.realpath(os.path.join(parent, name)) not in passed]
        yield from (Path(parent, name) for name in names)


def _stop(error):
    raise error


def _broken_links(entries):
    return [entry for entry in entries if isinstance(entry, Path) and entry.is_symlink() and not entry.exists()]


def _matches(pattern):
    """The files that a glob pattern names, sorted."""
    if isinstance(pattern, Path):
        return [Path(match) for match in sorted(glob.glob(str(pattern), recursive=True)) if os.path.isfile(match)]
    found = pattern.fs.glob(pattern.path)
    return [place(pattern.fs.unstrip_protocol(match)) for match in sorted(found) if pattern.fs.isfile(match)]
