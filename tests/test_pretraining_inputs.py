"""Which inputs a command's names give: files, folders, patterns, here and at URLs, and how their content is told."""

import errno
import hashlib
import os
import re
from pathlib import Path

import pytest

from bert_tf import InputError
from pretraining.inputs import find_inputs
from pretraining.places import place


def refused(text):
    return pytest.raises(InputError, match=re.escape(text))


def fill(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


NAMES = ["b/2.txt", "b/1.gz", "b/c/0.jsonl.zst", "b/readme.md", "d.txt", "e.txt"]
EXPECTED = ["e.txt", "b/1.gz", "b/2.txt", "b/c/0.jsonl.zst", "d.txt", "e.txt"]


def test_files_of_folders_patterns_and_paths(tmp_path):
    fill(tmp_path, NAMES)
    inputs, passed_over = find_inputs([tmp_path / "e.txt", tmp_path / "b", tmp_path / "*.txt"])
    assert [str(one) for one in inputs] == [f"{tmp_path}/{name}" for name in EXPECTED]
    assert passed_over == [tmp_path / "b/readme.md"]
    inputs, _ = find_inputs([f"file://{tmp_path}/b"])
    assert [str(one) for one in inputs] == [f"{tmp_path}/{name}" for name in EXPECTED[1:4]]


def test_urls(tmp_path):
    pytest.importorskip("upath")
    root = place(f"memory:/{tmp_path}")
    fill(root, NAMES)
    inputs, passed_over = find_inputs([f"{root}/e.txt", f"{root}/b", f"{root}/*.txt"])
    assert [str(one) for one in inputs] == [f"{root}/{name}" for name in EXPECTED]
    assert [str(path) for path in passed_over] == [f"{root}/b/readme.md"]
    assert list(inputs[0].documents()) == ["x"]
    with refused(f"no file, folder or pattern {root}/none*: give paths to text files that exist"):
        find_inputs([f"{root}/none*"])


def test_inputs_that_are_not_there(tmp_path):
    suffixes = ".txt, .jsonl, .json, .parquet, .gz, .zst"
    with refused(f"no file, folder or pattern {tmp_path}/none*: give paths to text files that exist"):
        find_inputs([f"{tmp_path}/none*"])
    fill(tmp_path, ["a/b.md"])
    with refused(f"the folder {tmp_path}/a holds no file that ends in {suffixes}"):
        find_inputs([tmp_path / "a"])
    with refused(f"cannot tell the format of {tmp_path}/a/b.md: expected a name that ends in {suffixes}"):
        find_inputs([tmp_path / "a" / "b.md"])


def test_places_that_cannot_be_looked_at(tmp_path, monkeypatch):
    """As a store or a disk refuses a person without permission."""
    fill(tmp_path, ["a/1.txt", "a/b/2.txt"])
    listed = os.scandir

    def forbidden(path):
        if Path(path).name == "b":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    with refused(f"cannot look for {tmp_path}/a/b: Permission denied"):
        find_inputs([tmp_path / "a"])


def test_links_in_folders(tmp_path):
    """What they lead to is read, once where one leads back to a folder on the way; a broken one is passed over."""
    fill(tmp_path, ["data/a/1.txt", "elsewhere/2.txt", "elsewhere/3.md", "4.txt"])
    for name, target in (("b", "elsewhere"), ("c.txt", "4.txt"), ("a/loop", "data"), ("a/gone.txt", "nothing")):
        (tmp_path / "data" / name).symlink_to(tmp_path / target)
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "data")
    inputs, passed_over = find_inputs([tmp_path / "data"])
    assert [str(one) for one in inputs] == [f"{tmp_path}/data/{name}" for name in ("a/1.txt", "b/2.txt", "c.txt")]
    assert passed_over == [tmp_path / "data" / name for name in ("b/3.md", "a/gone.txt")]


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    fill(tmp_path, ["1.txt"])
    (one,), _ = find_inputs([tmp_path / "1.txt"])

    def forbidden(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("builtins.open", forbidden)
    with refused(f"cannot read {tmp_path}/1.txt: Permission denied"):
        one.identity()


def test_identity_follows_the_content(tmp_path):
    """Of local files their sha256; of an object what the store says, which changes when it is written again."""
    (tmp_path / "a.txt").write_bytes(b"abc")
    (one,), _ = find_inputs([tmp_path / "a.txt"])
    assert one.identity() == {"name": "a.txt", "bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}
    pytest.importorskip("upath")
    path = place(f"memory:/{tmp_path}/a.txt")
    path.fs.pipe_file(path.path, b"abc")
    (one,), _ = find_inputs([str(path)])
    before = one.identity()
    assert (before["name"], before["bytes"]) == ("a.txt", 3)
    assert one.identity() == before
    path.fs.pipe_file(path.path, b"abd")
    assert one.identity() != before


def test_about_how_much_text(tmp_path):
    """A byte is a character; three where the file is compressed."""
    for name, characters in (("a.txt", 7), ("a.jsonl", 7), ("a.gz", 21), ("a.parquet", 21), ("a.txt.zst", 21)):
        (tmp_path / name).write_bytes(b"1234567")
        (one,), _ = find_inputs([tmp_path / name])
        assert one.characters == characters
