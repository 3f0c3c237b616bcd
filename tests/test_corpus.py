"""Documents and sentences out of files: worked examples, and a sentence for every kind of bad file."""

import gzip
import re

import pytest

from bert_tf import InputError
from pretraining import corpus
from pretraining.corpus import document_digest, documents, find_files, in_share, sentences


def refused(text):
    return pytest.raises(InputError, match=re.escape(text))


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


# Documents


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
    assert list(documents(write(tmp_path / "a.txt", content))) == expected
    assert list(documents(write(tmp_path / "a.txt.gz", gzip.compress(content)))) == expected


def test_no_text_is_no_document(tmp_path):
    assert list(documents(write(tmp_path / "a.txt", b""))) == []
    assert list(documents(write(tmp_path / "a.txt", b"\n \n\n"))) == []


@pytest.mark.parametrize("name", ["a.txt", "a.gz"])
def test_progress_adds_up_to_the_file(tmp_path, name):
    content = b"".join(b"Document %d.\n\n" % number for number in range(50_000))
    path = write(tmp_path / name, content if name == "a.txt" else gzip.compress(content))
    steps = []
    assert len(list(documents(path, steps.append))) == 50_000
    assert sum(steps) == path.stat().st_size
    assert len(steps) > 1


def test_not_utf8_names_the_byte(tmp_path):
    """8 bytes of "Good é." ("é" is two), two ends of line, 3 of "xy\\n", 2 of "au": the Latin-1 "é" has offset 15."""
    content = "Good é.\n\n".encode() + b"xy\n" + b"au\xe9 lait"
    for path, data in ((tmp_path / "a.txt", content), (tmp_path / "a.gz", gzip.compress(content))):
        with refused(f"{path} is not UTF-8 text: byte 0xe9 at byte offset 15 (line 4); convert the file to UTF-8"):
            list(documents(write(path, data)))


def test_damaged_gzip(tmp_path):
    whole = gzip.compress(b"text " * 1000)
    for content in (whole[:-20], b"no gzip at all", whole[:-8] + b"\0" * 8):
        path = write(tmp_path / "a.gz", content)
        with refused(f"{path} is not a whole gzip file ("):
            list(documents(path))


def test_a_file_without_blank_lines(tmp_path, monkeypatch):
    """Lines of 3 characters: the fourth makes 12, beyond 10."""
    monkeypatch.setattr(corpus, "MAX_DOCUMENT_CHARACTERS", 10)
    path = write(tmp_path / "a.txt", b"abc\n\nabc\nabc\nabc\nabc\n")
    with refused(f"the document that ends at or after line 6 of {path} has more than 10 characters: separate"):
        list(documents(path))


# Files


def test_files_of_folders_patterns_and_paths(tmp_path):
    names = ["b/2.txt", "b/1.gz", "b/c/0.txt", "b/readme.md", "d.txt", "e.txt"]
    for name in names:
        write(tmp_path / name, b"x")
    files, passed_over = find_files([tmp_path / "e.txt", tmp_path / "b", tmp_path / "*.txt"])
    assert [str(file.relative_to(tmp_path)) for file in files] == [
        *("e.txt", "b/1.gz", "b/2.txt", "b/c/0.txt"),
        *("d.txt", "e.txt"),
    ]
    assert passed_over == [tmp_path / "b/readme.md"]


def test_files_that_are_not_there(tmp_path):
    with refused(f"no file, folder or pattern {tmp_path}/none*: give paths to text files that exist"):
        find_files([f"{tmp_path}/none*"])
    write(tmp_path / "a" / "b.md", b"x")
    with refused(f"the folder {tmp_path}/a holds no file that ends in .txt or .gz"):
        find_files([tmp_path / "a"])
    with refused(f"cannot tell the format of {tmp_path}/a/b.md: expected a name that ends in .txt or .gz"):
        find_files([tmp_path / "a" / "b.md"])


# Sentences


def test_sentences_of_each_line():
    text = "He came with Dr. Smith. She left.\nThe end"
    assert sentences(text, "en") == (["He came with Dr. Smith. ", "She left.", "The end"], 0)
    assert sentences(text, None) == (["He came with Dr. Smith. She left.", "The end"], 0)
    assert sentences("我们走。你好！", "zh") == (["我们走。", "你好！"], 0)


def test_no_character_is_lost(monkeypatch):
    """A splitter that drops white space is trusted; where it loses or changes a letter the line stays whole."""
    answers = {"a b. c d.": ["a b.", "c d."], "e f. g h.": ["e f.", "g ."], "i. j.": ["j.", "i."]}
    monkeypatch.setattr(corpus.sentencex, "segment", lambda language, line: answers[line])
    assert sentences("\n".join(answers), "en") == (["a b.", "c d.", "e f. g h.", "i. j."], 2)


# Hashes


def test_equal_up_to_white_space():
    digest = document_digest("One two.\nThree.")
    assert len(digest) == 16
    assert document_digest(" One  two.\tThree.\n") == digest
    assert document_digest("One two.\nthree.") != digest
    assert document_digest("Onetwo.\nThree.") != digest


def test_share_is_random_and_grows():
    """2 % of 20,000 texts are 400, with a deviation of sqrt(20000 · 0.02 · 0.98) = 19.8. A share holds smaller ones."""
    digests = [document_digest(f"text {number}") for number in range(20_000)]
    small = {digest for digest in digests if in_share(digest, 0.02)}
    large = {digest for digest in digests if in_share(digest, 0.1)}
    assert abs(len(small) - 400) < 4 * 19.8
    assert small < large
    assert not any(in_share(digest, 0) for digest in digests)
    assert all(in_share(digest, 1) for digest in digests)
    assert in_share(bytes(16), 0.001)
    assert not in_share(b"\xff" * 16, 0.999)
