"""Examples out of .tsv, .csv and .jsonl files: each text with the file and the line it came from.

    .tsv    tabs between columns, a row a line, no quoting at all: a " is a character like any other (GLUE's files)
    .csv    commas between columns, quotes around a field with a comma, a quote (doubled) or a line break (RFC 4180)
    .jsonl  a JSON object a line (also .json, as the files of CLUE are called)

UTF-8, with or without a byte order mark; lines end in LF or CRLF. No row is skipped: each is an example or an error,
but where rows of another width are to be left out; then they are named.
"""

import csv
import dataclasses
import hashlib
import io
import json
from pathlib import Path

from bert_tf.errors import InputError

csv.field_size_limit(2**31 - 1)  # the csv module stops at texts of 131,072 characters; there is no reason to


@dataclasses.dataclass(frozen=True)
class Examples:
    """The examples of one file.

    Attributes:
        path: the file.
        lines: the line on which each example begins, from 1.
        texts, pairs: strings; `pairs` None for single texts.
        labels: label cells, strings or (from .jsonl) JSON values; None where they were not asked for.
    """

    path: Path
    lines: list
    texts: list
    pairs: list | None
    labels: list | None

    def __len__(self):
        return len(self.lines)

    def where(self, index):
        return f"{self.path}, line {self.lines[index]}"

    def sha256(self):
        """Of all that an answer or a result depends on: texts, pairs and labels."""
        return hashlib.sha256(json.dumps([self.texts, self.pairs, self.labels]).encode()).hexdigest()

    def contents(self):
        """What makes two examples the same: the text, or both texts of a pair."""
        return self.texts if self.pairs is None else list(zip(self.texts, self.pairs, strict=True))


def read_examples(path, task, *, with_labels=True, leave_out_ragged=False):
    """Reads the columns of a `Task` from a file; `leave_out_ragged`: see `read_columns`.

    Raises:
        InputError: what `read_columns` refuses, a text that is empty or only white space, a text that is not a string.
    """
    names = [name for name in (task.prefix, task.text, task.text_pair) if name is not None]
    hint = {task.label: "without labels a file can be answered by predict, but nothing is learnt from it or measured"}
    names += [task.label] if with_labels else []
    lines, columns = read_columns(path, names, task.header, hint, leave_out_ragged=leave_out_ragged)
    return make_examples(path, lines, columns, task, with_labels=with_labels)


def make_examples(path, lines, columns, task, *, with_labels=True):
    """The `Examples` of {name: cells}, each text checked; `path` and `lines` say where they come from.

    Raises:
        InputError: a text that is empty or only white space, a text that is not a string of characters.
    """
    pairs = columns[task.text_pair] if task.text_pair is not None else None
    examples = Examples(Path(path), lines, columns[task.text], pairs, columns[task.label] if with_labels else None)
    for name in (task.prefix, task.text, task.text_pair):
        for index, text in enumerate(columns[name] if name is not None else []):
            if not isinstance(text, str):
                raise InputError(f"{examples.where(index)}: {name!r} must be a string, got {json.dumps(text)}")
            refuse_surrogates(text, f"{examples.where(index)}: {name!r}")
            if not text.strip() and not task.may_be_empty:
                raise InputError(f"{examples.where(index)}: {name!r} is empty; give it a text or remove the row")
    if task.prefix is None:
        return examples
    prefixed = [f"{prefix}: {text}" for prefix, text in zip(columns[task.prefix], examples.texts, strict=True)]
    return dataclasses.replace(examples, texts=prefixed)


def refuse_surrogates(text, where):
    """Raises an InputError where a text has half of a UTF-16 pair, as a cut emoji in JSON leaves: no character."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = f"U+{ord(text[error.start]):04X}"
        raise InputError(
            f"{where} has a lone surrogate, {half}, at character {error.start}; correct the text"
        ) from None


def read_columns(path, names, header=None, hints=None, *, leave_out_ragged=False):
    """The named columns of a file: (the line of each row, {name: cells}).

    A table `sentence<TAB>label / good<TAB>1 / bad<TAB>0` with names ["label"] gives ([2, 3], {"label": ["1", "0"]}).
    `hints`, {name: what else to say where it is missing}, end the sentence about a column that is not there. With
    `leave_out_ragged` rows with another number of columns than the header are left out and their lines printed.

    Raises:
        InputError: no such file, another suffix, not UTF-8, no rows, a row with another number of columns than the
            header, a line that is not a JSON object, a column that is not there.
    """
    path = Path(path)
    if path.suffix not in _READERS:
        raise InputError(
            f"{path} ends in {path.suffix!r}; expected .tsv (tabs, no quoting), .csv (commas, quotes) or .jsonl (a "
            "JSON object a line)"
        )
    lines, columns, ragged = [], {name: [] for name in names}, []
    for line, row in _READERS[path.suffix](path, _text(path), header):
        if isinstance(row, InputError):
            if not leave_out_ragged:
                raise row
            ragged.append(line)
            continue
        for name in names:
            if name not in row:
                place = f"{path}, line {line}," if _READERS[path.suffix] is _read_jsonl else path
                hint = f"; {hints[name]}" if hints and name in hints else ""
                raise InputError(f"{place} has no column {name!r}; its columns are {', '.join(map(repr, row))}{hint}")
            columns[name].append(row[name])
        lines.append(line)
    if not lines:
        raise InputError(f"{path} has no rows; expected {_expected(path, header)}")
    if ragged:
        shown = ", ".join(map(str, ragged[:10])) + (" and so on" if len(ragged) > 10 else "")
        print(f"{path}: {len(ragged):,} rows left out, whose number of columns is not the header's: lines {shown}")
    return lines, columns


def _text(path):
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; expected a .tsv, .csv or .jsonl file") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; expected a .tsv, .csv or .jsonl file") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; expected a .tsv, .csv or .jsonl file") from None
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 at byte offset {error.start}; convert the file to UTF-8") from None


def _expected(path, header):
    return "rows" if _READERS[path.suffix] is _read_jsonl or header else "a header line and then rows"


# Each reader yields (line, {column: cell}) for every row, (line, an InputError) for one of another width.


def _lines(text):
    """The lines of a text with their numbers; only LF ends a line, a CR before it is dropped."""
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], start=1):
        yield number, line.removesuffix("\r")


def _read_tsv(path, text, header):
    yield from _table(path, ((number, line.split("\t")) for number, line in _lines(text)), header)


def _read_csv(path, text, header):
    yield from _table(path, _csv_rows(path, text), header)


def _csv_rows(path, text):
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        first_line = reader.line_num + 1
        try:
            yield first_line, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(
                f"{path}, line {first_line}: {error}; a .csv field with a quote in it is quoted, its quotes doubled"
            ) from None


def _table(path, rows, header):
    for line, cells in rows:
        if header is None:
            header = cells
            if len(set(header)) != len(header):
                raise InputError(f"{path}, line {line}: two columns have the same name in {', '.join(header)}")
            continue
        if len(cells) != len(header):
            hint = "; a .tsv has no quoting: a text holds no tab and no line break" if path.suffix == ".tsv" else ""
            message = f"expected {len(header)} columns ({', '.join(header)}), got {len(cells)}{hint}"
            yield line, InputError(f"{path}, line {line}: {message}")
            continue
        yield line, dict(zip(header, cells, strict=True))


def _read_jsonl(path, text, header):
    for number, line in _lines(text):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # no JSON; or a number, or brackets, beyond what Python reads
            reason = getattr(error, "msg", error)
            raise InputError(f"{path}, line {number}: expected a JSON object, got {line[:40]!r} ({reason})") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}, line {number}: expected a JSON object, got {line[:40]!r}")
        yield number, row


_READERS = {".tsv": _read_tsv, ".csv": _read_csv, ".jsonl": _read_jsonl, ".json": _read_jsonl}
