r"""Documents out of files: the one place that knows formats.

    .txt        UTF-8, blank line between documents, a sentence or a paragraph a line (the format of
                google-research/bert's `create_pretraining_data.py`, which wants a sentence a line)
    .jsonl      an object a line; its field holds the text of a document (also .json, if it is that)
    .parquet    a row a document; its column holds the text
    .gz .zst    the same compressed: a.txt.gz, a.jsonl.zst; a.gz and a.zst are text

A document is a string: its lines stripped, without the empty ones, joined by "\n".
"""

import gzip
import io
import json
import re
import zlib

from bert_tf.errors import InputError
from bert_tf.extras import needed

MAX_DOCUMENT_CHARACTERS = 16 * 2**20  # twenty books: such a "document" is a file without blank lines
MAX_LINE_BYTES = 4 * MAX_DOCUMENT_CHARACTERS
READ_BYTES = 2**20
_BLANK_LINES = re.compile(r"\n\s*\n")


def documents(path, field="text"):
    r"""Yields the documents of one file.

    A text "One.\nTwo.\n\n\nThree.\n" gives "One.\nTwo." and "Three.". A byte order mark at the start is left out.

    Args:
        path: a place (places.py) whose name ends as in the table above.
        field: the field of JSON objects, the column of Parquet files.

    Raises:
        InputError: a file that cannot be read or is not what its name says, with the line and byte offset in the
            decompressed text; a field that is missing or no text; a document of more than 16 Mi characters; a missing
            package.
    """
    read, decompress = format_of(path)
    try:
        with path.open("rb") as file:
            raw = file if isinstance(file, io.BufferedIOBase) else io.BufferedReader(file, READ_BYTES)  # of a store
            yield from read(decompress(raw, path), path, field)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is not a whole gzip file ({error}): fetch or compress it again") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None


def format_of(path):
    """(reader, decompressor) of a file, by its name; None where nothing here reads it."""
    suffixes = path.suffixes
    decompress = _COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    if decompress is None:
        read = _FORMATS.get(suffixes[-1]) if suffixes else None
        return None if read is None else (read, lambda raw, _path: raw)
    inner = _FORMATS.get(suffixes[-2], _text) if len(suffixes) > 1 else _text
    return None if inner is _parquet else (inner, decompress)


# ------------------------------------------------------------------------------------------------------------ formats


def _text(stream, path, _field):
    text, line, offset = "", 1, 0  # what is read and not yet given out, the line where it begins, bytes read
    while block := stream.read(READ_BYTES) + stream.readline(MAX_LINE_BYTES):
        number = line + text.count("\n")
        text += decoded(block, path, number, offset).removeprefix("\ufeff" if offset == 0 else "")
        offset += len(block)
        *whole, last = _BLANK_LINES.split(text)
        for document in (*whole, last):
            if len(document) > MAX_DOCUMENT_CHARACTERS:
                line += text.count("\n", 0, text.index(document))
                _check_size(len(document), f"from line {line} of {path} on", "separate documents by blank lines")
        yield from filter(None, map(stripped_lines, whole))
        line, text = number + block.count(b"\n") - last.count("\n"), last
    if document := stripped_lines(text):
        yield document


def _json_lines(stream, path, field):
    for number, offset, line in _lines(stream, path):
        text = decoded(line, path, number, offset)
        if offset == 0:
            text = text.removeprefix("\ufeff")
        if not text.strip():
            continue
        where = f"line {number} of {path} (byte offset {offset})"
        try:
            row = json.loads(text)
        except ValueError as error:
            raise InputError(f"{where} is not a JSON object: {error}; expected one object a line") from None
        if not isinstance(row, dict):
            raise InputError(f"{where} is not a JSON object but {type(row).__name__}: expected one object a line")
        yield field_text(row.get(field), field, sorted(row), where)


def _parquet(raw, path, field):
    with needed(f"the Parquet file {path}", "parquet"):
        import pyarrow as pa
        import pyarrow.parquet
    try:
        table = pa.parquet.ParquetFile(raw)
        columns = table.schema_arrow.names
        if field not in columns:
            field_text(None, field, columns, str(path))
        number = 0
        for batch in table.iter_batches(256, columns=[field]):
            for value in batch.column(0).to_pylist():
                number += 1
                yield field_text(value, field, columns, f"row {number} of {path}")
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is not a whole Parquet file ({error}): fetch or write it again") from None


_FORMATS = {".txt": _text, ".jsonl": _json_lines, ".json": _json_lines, ".parquet": _parquet}


def _lines(stream, path):
    """(number from 1, byte offset, line) of each line."""
    offset = 0
    for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES), b""), 1):
        if len(line) == MAX_LINE_BYTES:
            _check_size(len(line), f"of line {number} of {path}", "break the line")
        yield number, offset, line
        offset += len(line)


def decoded(content, where, number=None, offset=0):
    """The text of bytes that begin at this offset, and in this line where there are lines."""
    bad, text = content.find(b"\0"), ""  # UTF-16 of Latin letters is UTF-8, every second byte a zero
    if bad < 0:
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            bad = error.start
    if bad < 0:
        return text
    ends = content.count(b"\n", 0, bad)
    line = "" if number is None else f" (line {number + ends})"
    raise InputError(
        f"{where} is not UTF-8 text: byte {content[bad]:#04x} at byte offset {offset + bad}{line}; convert it to UTF-8"
    )


def field_text(value, field, fields, where):
    """The document in a field's value."""
    if not isinstance(value, str):
        found = "is missing" if field not in fields else f"is {type(value).__name__} and no text"
        raise InputError(
            f"the field {field!r} {found} in {where}, which has {', '.join(map(repr, fields))}: give another --field, "
            "or rows with text alone"
        )
    _check_size(len(value), f"in {where}", "cut it")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"the field {field!r} in {where} is not Unicode text: {error.reason}") from None
    return stripped_lines(value)


def stripped_lines(text):
    """A document of a text: its lines stripped, without the empty ones."""
    return "\n".join(filter(None, map(str.strip, text.split("\n"))))


def _check_size(characters, which, remedy):
    if characters > MAX_DOCUMENT_CHARACTERS:
        raise InputError(f"the document {which} has more than {MAX_DOCUMENT_CHARACTERS:,} characters: {remedy}")


# ------------------------------------------------------------------------------------------------------- compressions


def _gunzip(raw, _path):
    return io.BufferedReader(gzip.GzipFile(fileobj=raw), 2**18)


def _unzstd(raw, path):
    with needed(f"the file {path}", "zstd"):
        import zstandard
    return io.BufferedReader(_ZstdFile(raw, path, zstandard), 2**18)


_COMPRESSIONS = {".gz": _gunzip, ".zst": _unzstd}
SUFFIXES = (*_FORMATS, *_COMPRESSIONS)


class _ZstdFile(io.RawIOBase):
    """Decompresses frame after frame; `zstandard`'s own reader takes a file that is cut off for a whole one."""

    def __init__(self, raw, path, zstandard):
        self._raw, self._path, self._zstandard = raw, path, zstandard
        self._frame, self._input, self._output = None, b"", b""

    def readable(self):
        return True

    def readinto(self, buffer):
        while not self._output:
            self._input = self._input or self._raw.read(2**17)
            if not self._input:
                if self._frame is not None:
                    self._refuse("it ends in the middle of a frame")
                return 0
            if self._frame is None:
                self._frame = self._zstandard.ZstdDecompressor().decompressobj()
            try:
                self._output = self._frame.decompress(self._input)
            except self._zstandard.ZstdError as error:
                self._refuse(error)
            self._input = self._frame.unused_data
            if self._frame.eof:
                self._frame = None
        count = min(len(buffer), len(self._output))
        buffer[:count], self._output = self._output[:count], self._output[count:]
        return count

    def _refuse(self, error):
        raise InputError(f"{self._path} is not a whole zstd file ({error}): fetch or compress it again")
