"""Documents and sentences out of text files.

A text file holds documents separated by blank lines; a document holds a sentence or a paragraph a line (the format of
google-research/bert's `create_pretraining_data.py`, which wants a sentence a line). `documents` is the one place that
knows file formats: from a path to an iterator of documents. `sentences` is the one place that knows languages.
"""

import glob
import gzip
import hashlib
import io
import os
import zlib
from pathlib import Path

import sentencex

from bert_tf.errors import InputError

SUFFIXES = (".txt", ".gz")
MAX_DOCUMENT_CHARACTERS = 64 * 2**20  # a whole shelf of books: such a "document" is a file without blank lines


def find_files(inputs):
    """The text files that `inputs` (paths, folders or glob patterns) name, in the order given, folders sorted by name.

    A folder gives every file below it that ends in `.txt` or `.gz`; a file given by its name must end so too.

    Returns:
        (files, passed_over): the `Path`s to read, and the files of the folders that have another suffix.

    Raises:
        InputError: nothing there, a folder or pattern without a text file, or a suffix that nothing here reads.
    """
    files, passed_over = [], []
    for name in map(str, inputs):
        path = Path(name)
        if path.is_dir():
            below = sorted(entry for entry in path.rglob("*") if entry.is_file())
            found = [entry for entry in below if entry.suffix in SUFFIXES]
            passed_over += [entry for entry in below if entry.suffix not in SUFFIXES]
            if not found:
                raise InputError(f"the folder {name} holds no file that ends in {' or '.join(SUFFIXES)}")
        elif path.is_file():
            found = [path]
        else:
            found = [Path(match) for match in sorted(glob.glob(name, recursive=True)) if os.path.isfile(match)]
            if not found:
                raise InputError(f"no file, folder or pattern {name}: give paths to text files that exist")
        files += found
    for file in files:
        if file.suffix not in SUFFIXES:
            raise InputError(f"cannot tell the format of {file}: expected a name that ends in {' or '.join(SUFFIXES)}")
    return files, passed_over


def documents(path, advance=None):
    r"""Yields the documents of one text file, each a string of stripped, non-empty lines joined by "\n".

    "One.\nTwo.\n\n\nThree.\n" gives "One.\nTwo." and "Three.". A byte order mark at the start is left out.

    Args:
        path: a UTF-8 file that ends in `.txt`, or the same compressed, in `.gz`.
        advance: called with the number of bytes of the file read since the last call, for a progress bar.

    Raises:
        InputError: bytes that are not UTF-8 (with their offset in the decompressed text), a damaged `.gz`, or a
            document of more than 64 Mi characters.
    """
    path = Path(path)
    with open(path, "rb") as raw:
        stream = raw if path.suffix == ".txt" else io.BufferedReader(gzip.GzipFile(fileobj=raw), 2**18)
        try:
            yield from _blank_line_separated(stream, path, _Progress(raw, advance))
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise InputError(f"{path} is not a whole gzip file ({error}): fetch or compress it again") from None


def _blank_line_separated(stream, path, progress):
    lines, characters, offset = [], 0, 0
    for number, line in enumerate(stream, 1):
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path} is not UTF-8 text: byte {line[error.start]:#04x} at byte offset {offset + error.start} "
                f"(line {number}); convert the file to UTF-8"
            ) from None
        if offset == 0:
            text = text.removeprefix("\ufeff").strip()
        offset += len(line)
        if text:
            lines.append(text)
            characters += len(text)
            if characters > MAX_DOCUMENT_CHARACTERS:
                raise InputError(
                    f"the document that ends at or after line {number} of {path} has more than "
                    f"{MAX_DOCUMENT_CHARACTERS:,} characters: separate the documents with blank lines"
                )
        elif lines:
            yield "\n".join(lines)
            lines, characters = [], 0
            progress()
    if lines:
        yield "\n".join(lines)
    progress()


class _Progress:
    """Tells `advance` how many bytes of the raw file were read since the last call."""

    def __init__(self, raw, advance):
        self.raw, self.advance, self.told = raw, advance, 0

    def __call__(self):
        position = self.raw.tell()
        if self.advance and position > self.told:
            self.advance(position - self.told)
            self.told = position


def sentences(document, language):
    r"""The sentences of a document, in order.

    sentences("He came. She left.\nThe end.", "en") gives ["He came. ", "She left.", "The end."].

    Args:
        document: lines joined by "\n"; a sentence never crosses a line.
        language: an ISO 639 code for the rules of `sentencex`; None: each line is a sentence.

    Returns:
        (sentences, kept_whole): the list of sentences, with the space around them, and the number of lines that stayed
        whole because the splitter did not give back the characters that it got.
    """
    if language is None:
        return document.split("\n"), 0
    found, kept_whole = [], 0
    for line in document.split("\n"):
        parts = sentencex.segment(language, line)
        if "".join(parts) != line and "".join("".join(parts).split()) != "".join(line.split()):
            parts, kept_whole = [line], kept_whole + 1
        found += parts
    return found, kept_whole


def document_digest(document):
    """16 bytes that two documents share exactly if they are equal up to (ASCII) white space."""
    text = document.encode().translate(_SPACES)
    if b"  " in text or text[:1] == b" " or text[-1:] == b" ":
        text = b" ".join(text.split())
    return hashlib.blake2b(text, digest_size=16).digest()


_SPACES = bytes.maketrans(b"\t\n\r\x0b\x0c", b" " * 5)


def in_share(digest, share):
    """Whether a document belongs to a random share: by its text alone, so no order or number of workers matters."""
    return int.from_bytes(digest[:8], "big") < share * 2**64
