"""Local paths and URLs: the same bytes, whole or not at all, and a sentence for what cannot be opened."""

import re
import sys
from pathlib import Path

import pytest

from bert_tf import InputError
from pretraining.corpus_cache import copied
from pretraining.places import place, read_ranges, remove_tree, write_whole
from pretraining.shards import PreparedCorpus
from tests.small_corpus import make_prepared, make_text


def refused(text):
    return pytest.raises(InputError, match=re.escape(text))


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    if request.param == "local":
        return tmp_path / "folder"
    pytest.importorskip("upath")
    return place(f"memory:/{tmp_path}")


def test_local_paths(tmp_path):
    assert place("a/b") == Path("a/b")
    assert place(f"file://{tmp_path}/a") == tmp_path / "a"
    assert isinstance(place(tmp_path), Path)


def test_write_read_remove(folder):
    write_whole(folder / "a" / "x.bin", b"0123456789")
    write_whole(folder / "a" / "y.bin", b"abcdef")
    write_whole(folder / "a" / "y.bin", b"ABCDEF")
    assert (folder / "a" / "y.bin").read_bytes() == b"ABCDEF"
    paths = [folder / "a" / "x.bin", folder / "a" / "y.bin", folder / "a" / "x.bin"]
    assert read_ranges(paths, [0, 2, 9], [3, 4, 10]) == [b"012", b"CD", b"9"]
    assert read_ranges([], [], []) == []
    remove_tree(folder / "a")
    assert not (folder / "a").exists()
    remove_tree(folder / "a")


def test_urls_that_cannot_be_opened(monkeypatch):
    pytest.importorskip("upath")
    with refused("cannot open nowhere://x: "):
        place("nowhere://x")
    monkeypatch.setitem(sys.modules, "upath", None)
    with refused("the path gs://b/x needs a package that is not installed (") as error:
        place("gs://b/x")
    assert str(error.value).endswith("pip install 'bert-tf[cloud]'")


def test_a_store_that_refuses(tmp_path, monkeypatch):
    pytest.importorskip("upath")
    folder = place(f"memory:/{tmp_path}")
    monkeypatch.setattr(type(folder.fs), "pipe_file", lambda *_: 1 / 0)
    with refused(f"cannot write {folder}/a: division by zero; the same command goes on where this stopped"):
        write_whole(folder / "a", b"x")


# Prepared corpora at URLs


def test_a_corpus_at_a_url_is_copied(tmp_path, monkeypatch, capsys):
    """It reads as the local one; copied once, also after an interruption; a file that changed is refused."""
    pytest.importorskip("upath")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    local = make_prepared(tmp_path, make_text(40, seed=4), held_out=0.2, shard_megabytes=0.001)
    url = place(f"memory:/{tmp_path}/corpus")
    files = [file for file in local.rglob("*") if file.is_file()]
    for file in files:
        write_whole(url / str(file.relative_to(local)), file.read_bytes())
    capsys.readouterr()

    corpus = PreparedCorpus(url, check_sha256=True)
    assert corpus.manifest == PreparedCorpus(local).manifest
    assert corpus.path.is_relative_to(tmp_path / "cache" / "bert_tf" / "corpora")
    filled = [entry["file"] for split in ("train", "held_out") for entry in corpus.shards(split)]
    assert capsys.readouterr().out == f"copying {len(filled) + 4} files of {url} to {corpus.path}\n"
    for name in filled:
        assert (corpus.path / name).read_bytes() == (local / name).read_bytes()
    PreparedCorpus(url)
    assert capsys.readouterr().out == ""

    changed = url / filled[0]
    write_whole(changed, changed.read_bytes()[:-1] + b"\xff")
    PreparedCorpus(url)  # from the copy
    (corpus.path / filled[0]).unlink()
    with refused(f"{changed} has changed since it was prepared (another sha256): prepare the corpus again"):
        PreparedCorpus(url)
    assert not (corpus.path / filled[0]).exists()
    write_whole(changed, (local / filled[0]).read_bytes())
    capsys.readouterr()
    assert PreparedCorpus(url).path == corpus.path
    assert capsys.readouterr().out == f"copying 1 files of {url} to {corpus.path}\n"
    with refused(f"{url}2 is not a prepared corpus: it has no manifest.json"):
        PreparedCorpus(f"{url}2")


def test_a_file_that_cannot_be_copied(tmp_path, monkeypatch):
    pytest.importorskip("upath")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    url = place(f"memory:/{tmp_path}")
    with refused(f"cannot read {url}/none: ") as error:
        copied(url, {"none": None}, b"")
    assert str(error.value).endswith("; run the same command again")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
