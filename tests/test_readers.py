"""Documents out of files: worked examples of every format, and a sentence for every kind of bad file."""

import gzip
import io
import json
import re
import sys

import pytest

from bert_tf import InputError
from pretraining import readers
from pretraining.readers import documents, format_of


def refused(text):
    return pytest.raises(InputError, match=re.escape(text))


def write(path, content):
    path.write_bytes(content)
    return path


def zstd(content):
    return pytest.importorskip("zstandard").ZstdCompressor().compress(content)


def parquet(path, **columns):
    table = pytest.importorskip("pyarrow").table(columns)
    pytest.importorskip("pyarrow.parquet").write_table(table, path, row_group_size=3)
    return path


# Text


@pytest.mark.parametrize(
    "content",
    [
        b"One.\nTwo.\n\n\nThree.\n",
        b"One.\r\nTwo.\r\n\r\nThree.",
        b"\xef\xbb\xbfOne.\n Two. \n \t \nThree.\n\n\n",
        b"\n\n\tOne.\nTwo.\n\nThree.",
    ],
)
def test_documents_end_at_blank_lines(tmp_path, content):
    expected = ["One.\nTwo.", "Three."]
    for name, compress in (("a.txt", bytes), ("a.txt.gz", gzip.compress), ("a.gz", gzip.compress), ("a.1.zst", zstd)):
        assert list(documents(write(tmp_path / name, compress(content)))) == expected


def test_no_text_is_no_document(tmp_path):
    assert list(documents(write(tmp_path / "a.txt", b""))) == []
    assert list(documents(write(tmp_path / "a.txt", b"\n \n\n"))) == []


def test_not_utf8_names_the_byte(tmp_path):
    """8 bytes of "Good é." ("é" is two), two ends of line, 3 of "xy\\n", 2 of "au": the Latin-1 "é" has offset 15."""
    content = "Good é.\n\n".encode() + b"xy\n" + b"au\xe9 lait"
    for name, compress in (("a.txt", bytes), ("a.gz", gzip.compress), ("a.zst", zstd)):
        path = write(tmp_path / name, compress(content))
        with refused(f"{path} is not UTF-8 text: byte 0xe9 at byte offset 15 (line 4); convert it to UTF-8"):
            list(documents(path))


def test_a_zero_byte_is_not_text(tmp_path):
    """UTF-16 without a byte order mark: "a\\n" is 61 00 0a 00, UTF-8 of two letters, each with a zero behind it."""
    for name in ("a.txt", "a.jsonl"):
        path = write(tmp_path / name, "a\nb".encode("utf-16-le"))
        with refused(f"{path} is not UTF-8 text: byte 0x00 at byte offset 1 (line 1); convert it to UTF-8"):
            list(documents(path))
    path = write(tmp_path / "b.txt", b"ab\ncd\0")
    with refused(f"{path} is not UTF-8 text: byte 0x00 at byte offset 5 (line 2); convert it to UTF-8"):
        list(documents(path))


@pytest.mark.parametrize("read_bytes", [1, 2, 3, 5, 2**20])
def test_blocks_of_any_size(tmp_path, monkeypatch, read_bytes):
    """Where a block ends plays no part, nor for the line and offset of a bad byte."""
    monkeypatch.setattr(readers, "READ_BYTES", read_bytes)
    content = "\ufeff\nEins.\n\n \t\r\n Zwei ä.\nDrei.\u2028\n\u3000\nVier.".encode()
    path = write(tmp_path / "a.txt", content)
    assert list(documents(path)) == ["Eins.", "Zwei ä.\nDrei.", "Vier."]
    write(path, content + b"\n\n\nx\xff")
    found = documents(path)
    with refused(f"{path} is not UTF-8 text: byte 0xff at byte offset {len(content) + 4} (line 11);"):
        list(found)


def test_a_file_without_blank_lines(tmp_path, monkeypatch):
    """Lines of 4 characters: the third makes 11 (the last end of line is none), beyond 10."""
    monkeypatch.setattr(readers, "MAX_DOCUMENT_CHARACTERS", 10)
    path = write(tmp_path / "a.txt", b"abc\n\nabc\nabc\nabc\n")
    for read_bytes in (1, 2**20):
        monkeypatch.setattr(readers, "READ_BYTES", read_bytes)
        with refused(f"the document from line 3 of {path} on has more than 10 characters: separate documents by blank"):
            list(documents(path))
    path = write(tmp_path / "a.jsonl", b'{"text": ""}\n' + b"x" * 40)
    monkeypatch.setattr(readers, "MAX_LINE_BYTES", 20)
    with refused(f"the document of line 2 of {path} has more than 10 characters: break the line"):
        list(documents(path))


# JSON lines


def test_json_lines(tmp_path):
    """The lines of a text are stripped, empty ones left out; a document without text is one all the same."""
    rows = [{"text": "One.\n\n Two. ", "id": 7}, {"body": "x", "text": ""}, {"text": "Drei \u00e4\r\n"}]
    content = b"\xef\xbb\xbf" + b"\n\n".join(json.dumps(row).encode() for row in rows)
    for name, compress in (("a.jsonl", bytes), ("a.jsonl.gz", gzip.compress), ("a.json.zst", zstd)):
        assert list(documents(write(tmp_path / name, compress(content)))) == ["One.\nTwo.", "", "Drei ä"]
    assert list(documents(write(tmp_path / "b.json", b'{"body": "x"}'), field="body")) == ["x"]


def test_rows_that_hold_no_text(tmp_path):
    """The first row has 16 bytes with its end of line, so that the second begins at byte 16, in line 2."""
    path = tmp_path / "a.jsonl"
    where = f"line 2 of {path} (byte offset 16)"
    for row, text in (
        (b'{"id": 1, "body": ""}', f"the field 'text' is missing in {where}, which has 'body', 'id': give another --f"),
        (b'{"text": null}', f"the field 'text' is NoneType and no text in {where}, which has 'text': give another"),
        (b'{"text": ["a"]}', f"the field 'text' is list and no text in {where}"),
        (b'{"text": "\\ud800"}', f"the field 'text' in {where} is not Unicode text: surrogates not allowed"),
        (b"[1]", f"{where} is not a JSON object but list: expected one object a line"),
        (b'{"text": "a"', f"{where} is not a JSON object: Expecting ',' delimiter: line 1 column 13 (char 12); exp"),
    ):
        write(path, b'{"text": "abc"}\n' + row)
        found = documents(path)
        assert next(found) == "abc"
        with refused(text):
            next(found)
    write(path, b'{"text": "abc"}\n\xff')
    with refused(f"{path} is not UTF-8 text: byte 0xff at byte offset 16 (line 2)"):
        list(documents(path))


def test_a_field_that_is_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "MAX_DOCUMENT_CHARACTERS", 10)
    path = write(tmp_path / "a.jsonl", b'{"text": "12345678901"}')
    with refused(f"the document in line 1 of {path} (byte offset 0) has more than 10 characters: cut it"):
        list(documents(path))


# Parquet


def test_parquet(tmp_path):
    """Seven rows in groups of three, in their order."""
    texts = [f"One {number}.\n\nTwo." for number in range(7)]
    path = parquet(tmp_path / "a.parquet", text=texts, number=list(range(7)))
    assert list(documents(path)) == [f"One {number}.\nTwo." for number in range(7)]
    large = pytest.importorskip("pyarrow").array(["x"], "large_string")
    assert list(documents(parquet(tmp_path / "b.parquet", body=large), field="body")) == ["x"]


def test_parquet_without_text(tmp_path):
    path = parquet(tmp_path / "a.parquet", body=["x"], number=[1])
    with refused(f"the field 'text' is missing in {path}, which has 'body', 'number': give another --field"):
        list(documents(path))
    with refused(f"the field 'number' is int and no text in row 1 of {path}, which has 'body', 'number'"):
        list(documents(path, field="number"))
    path = parquet(tmp_path / "b.parquet", text=["x", "y", None])
    with refused(f"the field 'text' is NoneType and no text in row 3 of {path}"):
        list(documents(path))


def test_damaged_parquet(tmp_path):
    whole = parquet(tmp_path / "a.parquet", text=["some text " * 50] * 9).read_bytes()
    for content in (b"", b"no parquet", whole[:-20], whole[:4] + bytes(len(whole) - 200) + whole[-196:]):
        path = write(tmp_path / "b.parquet", content)
        with refused(f"{path} is not a whole Parquet file ("):
            list(documents(path))


# Compression


def test_damaged_gzip(tmp_path):
    whole = gzip.compress(b"text " * 1000)
    for content in (whole[:-20], b"no gzip at all", whole[:-8] + b"\0" * 8):
        path = write(tmp_path / "a.gz", content)
        with refused(f"{path} is not a whole gzip file ("):
            list(documents(path))


def test_damaged_zstd(tmp_path):
    """Cut off anywhere, also where nothing of the second frame is missing but its end."""
    whole = zstd(b"text " * 1000)
    for content in (whole[:-1], whole + whole[:10], b"no zstd at all", whole + b"more"):
        path = write(tmp_path / "a.zst", content)
        with refused(f"{path} is not a whole zstd file ("):
            list(documents(path))


def test_frames_and_large_blocks(tmp_path):
    """Several frames end to end are one text, as several gzip members are; 3 MB in a few hundred bytes pass too."""
    content = b"One.\n\n" * 500_000
    path = write(tmp_path / "a.zst", zstd(content) + zstd(b"") + zstd(b"Two."))
    found = list(documents(path))
    assert len(found) == 500_001
    assert found[-1] == "Two."
    path = write(tmp_path / "a.gz", gzip.compress(b"One.\n") + gzip.compress(b"Two."))
    assert list(documents(path)) == ["One.\nTwo."]


# Names and packages


def test_formats_by_name(tmp_path):
    for name in ("a.txt", "a.gz", "a.zst", "a.b.gz", "a.jsonl", "a.json.gz", "a.parquet", "wiki_00.txt.zst"):
        assert format_of(tmp_path / name), name
    for name in ("a", "a.doc", "txt", "a.parquet.gz", "a.gz.md"):
        assert format_of(tmp_path / name) is None, name


@pytest.mark.parametrize(
    ("package", "name", "what", "extra"),
    [
        ("zstandard", "a.zst", "the file {}", "zstd"),
        ("pyarrow", "a.parquet", "the Parquet file {}", "parquet"),
    ],
)
def test_missing_packages(tmp_path, monkeypatch, package, name, what, extra):
    monkeypatch.setitem(sys.modules, package, None)  # importing it raises ImportError
    path = write(tmp_path / name, b"x")
    with refused(f"{what.format(path)} needs a package that is not installed (") as error:
        list(documents(path))
    assert str(error.value).endswith(f"): pip install 'bert-tf[{extra}]'")


def test_files_that_cannot_be_read(tmp_path):
    """A folder is none; nor is a file of an object store whose bytes come unbuffered and then not at all."""
    (tmp_path / "a.txt").mkdir()
    with refused(f"cannot read {tmp_path}/a.txt: Is a directory"):
        list(documents(tmp_path / "a.txt"))

    class Store:
        """A place whose file has the methods of fsspec's: `readinto`, and a `readline` without a limit."""

        suffixes = (".txt",)

        def __init__(self, content, error):
            self.content, self.error = content, error

        def open(self, _mode):
            file = io.FileIO(write(tmp_path / "stored", self.content))
            if self.error:
                file = Broken(file.name)
            return file

        def __str__(self):
            return "store://a.txt"

    class Broken(io.FileIO):
        def readinto(self, _buffer):
            raise OSError("the connection was lost")

    assert list(documents(Store(b"One.\n\nTwo.", False))) == ["One.", "Two."]
    with refused("cannot read store://a.txt: the connection was lost"):
        list(documents(Store(b"One.\n\nTwo.", True)))
