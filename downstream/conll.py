"""Sentences out of CoNLL files: a word a line in columns, a blank line between sentences; written with one column more.

    EU NNP B-NP B-ORG
    rejects VBZ B-VP O

    Peter NNP B-NP B-PER

UTF-8. Where a line has a tab, tabs divide its columns, else spaces do. A line with -DOCSTART- stands between documents
and is no word. No line is skipped: each is a word, a blank line, a -DOCSTART- line or an error.
"""

import dataclasses
import re
from pathlib import Path

from bert_tf.errors import InputError
from bert_tf.files import whole_file

DOCUMENT_START = "-DOCSTART-"


@dataclasses.dataclass(frozen=True)
class Sentences:
    """The N sentences of one file.

    Attributes:
        path: the file.
        rows: all its lines as they are, without the line ends.
        lines: N lists, for each word the number of its line, from 1.
        words, tags: N lists of strings; `tags` None where they were not asked for.
    """

    path: Path
    rows: list
    lines: list
    words: list
    tags: list | None

    def __len__(self):
        return len(self.lines)

    def where(self, sentence, word):
        return f"{self.path}, line {self.lines[sentence][word]}"

    def word_count(self):
        return sum(map(len, self.lines))


def read_conll(path, *, word_column=1, tag_column=None, with_tags=True):
    """Reads a file.

    Args:
        word_column, tag_column: numbers of columns, from 1; tag_column None: the last.

    Raises:
        InputError: no such file, not UTF-8, no word in it, a column number below 1, a line with another number of
            columns than the first or with too few, an empty word or tag.
    """
    path = Path(path)
    for name, column in (("word_column", word_column), ("tag_column", tag_column)):
        if column is not None and column < 1:
            raise InputError(f"{name} must be at least 1, got {column}")
    rows = _rows(path)
    lines, words, tags, first = [], [], [], None
    open_sentence = False
    for number, row in enumerate(rows, start=1):
        cells = _cells(row)
        if not row.strip() or DOCUMENT_START in cells:
            open_sentence = False
            continue
        if first is None:
            first = (number, len(cells))
        if len(cells) != first[1]:
            raise InputError(
                f"{path}, line {number}: expected {first[1]} columns as in line {first[0]}, got {len(cells)}: {row!r}; "
                "a line is a word with its columns, or blank between sentences"
            )
        columns = {"word": word_column}
        if with_tags:
            columns["tag"] = tag_column or len(cells)
        for what, column in columns.items():
            if column > len(cells):
                raise InputError(
                    f"{path}, line {number}: no column {column} for the {what}, the line has {len(cells)}: {row!r}; "
                    f"choose another --{what}-column"
                )
            if not cells[column - 1]:
                raise InputError(f"{path}, line {number}: the {what} in column {column} is empty: {row!r}; fill it")
        if with_tags and columns["tag"] == word_column:
            raise InputError(
                f"{path}, line {number}: column {word_column} is both the word and the tag: {row!r}; choose another "
                "--tag-column, or a file with tags"
            )
        if not open_sentence:
            lines.append([])
            words.append([])
            tags.append([])
            open_sentence = True
        lines[-1].append(number)
        words[-1].append(cells[word_column - 1])
        if with_tags:
            tags[-1].append(cells[columns["tag"] - 1])
    if not lines:
        raise InputError(f"{path} has no words; expected a word a line, its tag in the last column")
    return Sentences(path, rows, lines, words, tags if with_tags else None)


def write_conll(path, sentences, tags):
    """Writes the lines of a file with a predicted tag as one column more; blank and -DOCSTART- lines stay as they are.

    Args:
        sentences: the `Sentences` as they were read.
        tags: N lists, a tag for each word.
    """
    added = {
        line: tag
        for lines, its_tags in zip(sentences.lines, tags, strict=True)
        for line, tag in zip(lines, its_tags, strict=True)
    }
    with whole_file(Path(path), "w") as stream:
        for number, row in enumerate(sentences.rows, start=1):
            if number in added:
                row = row.rstrip(" ") + ("\t" if "\t" in row else " ") + added[number]
            stream.write(row + "\n")


def _rows(path):
    try:
        text = path.read_bytes().decode("utf-8").removeprefix("\ufeff")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; expected a CoNLL file, a word a line") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; expected a CoNLL file, a word a line") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 at byte offset {error.start}; convert the file to UTF-8") from None
    return [row.removesuffix("\r") for row in text.removesuffix("\n").split("\n")]


def _cells(row):
    return [cell.strip(" ") for cell in row.split("\t")] if "\t" in row else re.split(" +", row.strip(" "))
