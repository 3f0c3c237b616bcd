"""prepare under Apache Beam: the bytes of the local runner, also where one begins and the other ends.

Beam does not live in the environment of constraints.txt (it wants an older protobuf); .ci/run makes one for this file.
"""

import functools
import re
import sys

import pytest

from bert_tf import InputError
from pretraining.__main__ import main
from pretraining.prepare import prepare
from pretraining.shard_maker import ShardMaker
from tests.small_corpus import files_of, make_text, make_tokenizer

OPTIONS = {"language": "en", "held_out": 0.1, "shard_megabytes": 0.002}


def refused(text):
    return pytest.raises(InputError, match=re.escape(text))


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Two files with documents in common, and the corpus that the local runner makes of them: (command, files)."""
    folder = tmp_path_factory.mktemp("reference")
    texts = make_text(150, seed=8).split("\n\n")
    (folder / "text").mkdir()
    (folder / "text" / "1.txt").write_text("\n\n".join(texts[:100]))
    (folder / "text" / "2.txt").write_text("\n\n".join(texts[70:]))
    make = functools.partial(prepare, [folder / "text"], make_tokenizer(folder / "tokenizer"), **OPTIONS)
    manifest = make(folder / "local")
    assert manifest["counts"]["duplicates_dropped"] == 30
    assert manifest["settings"]["shards"] > 10
    return make, files_of(folder / "local")


def test_the_same_bytes(tmp_path, reference, capsys):
    pytest.importorskip("apache_beam")
    make, files = reference
    make(tmp_path / "out", runner="direct")
    assert files_of(tmp_path / "out") == files
    make(tmp_path / "out", runner="direct")
    assert capsys.readouterr().out == f"{tmp_path}/out is prepared already\n"


@pytest.mark.parametrize("first", ["direct", "local"])
def test_what_one_begins_the_other_ends(tmp_path, reference, monkeypatch, capsys, first):
    """The sixth shard fails; the other runner makes it and what is missing, and leaves the others as they are."""
    pytest.importorskip("apache_beam")
    make, files = reference
    whole = ShardMaker.make

    def stop(maker, shard, contents):
        if shard == 5:
            raise InputError("the sentence")
        whole(maker, shard, contents)

    output = tmp_path / "out"
    monkeypatch.setattr(ShardMaker, "make", stop)
    with refused("the sentence"):
        make(output, runner=first)
    monkeypatch.undo()
    before = {file: file.stat().st_mtime_ns for file in (output / "shards").iterdir()}
    assert 0 < len(before) < len(files) - 4
    capsys.readouterr()
    make(output, runner="local" if first == "direct" else "direct")
    assert f"going on in {output}: {len(before) // 2} shards are there\n" in capsys.readouterr().out
    assert files_of(output) == files
    assert {file: file.stat().st_mtime_ns for file in before} == before


def test_bad_input_is_a_sentence(tmp_path, capfd):
    pytest.importorskip("apache_beam")
    (tmp_path / "a.txt").write_bytes(b"the cat\n\nthe \xff")
    command = ["prepare", str(tmp_path / "a.txt"), "--tokenizer", str(make_tokenizer(tmp_path / "t"))]
    assert main([*command, "--output", str(tmp_path / "out"), "--runner", "direct"]) == 2
    last = capfd.readouterr().err.strip().split("\n")[-1]
    sentence = f"{tmp_path}/a.txt is not UTF-8 text: byte 0xff at byte offset 13 (line 3)"
    assert last.startswith(f"bert-pretrain: error: the Beam pipeline failed: {sentence}")


def test_options_reach_beam(tmp_path, capfd):
    pytest.importorskip("apache_beam")
    (tmp_path / "a.txt").write_text("the cat")
    command = ["prepare", str(tmp_path / "a.txt"), "--tokenizer", str(make_tokenizer(tmp_path / "t"))]
    command += ["--output", str(tmp_path / "out"), "--held-out", "0", "--runner", "direct"]
    assert main([*command, "--beam-option", "direct_num_workers=many"]) == 2
    lines = capfd.readouterr().err.strip().split("\n")
    assert lines[-2].endswith("argument --direct_num_workers: invalid int value: 'many'")
    assert lines[-1] == (
        "bert-pretrain: error: Beam does not take the options direct_num_workers=many: it says above why"
    )
    assert main([*command, "--beam-option", "direct_num_workers=1", "--beam-option", "job_name=x"]) == 0


def test_missing_package(tmp_path, reference, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with refused("--runner spark needs a package that is not installed (") as error:
        reference[0](tmp_path / "out", runner="spark")
    assert str(error.value).endswith("): pip install 'bert-tf[beam]'")


def test_dataflow_reaches_no_local_path(tmp_path, reference):
    with refused(f"the workers of Dataflow cannot reach {tmp_path}/out: give a URL such as gs://…"):
        reference[0](tmp_path / "out", runner="dataflow")
