"""prepare again: neither workers, order, places, kills nor full disks change a byte, and what is there stays."""

import errno
import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bert_tf import InputError
from pretraining import local_runner
from pretraining.__main__ import main
from pretraining.places import place, write_whole
from pretraining.prepare import prepare
from tests.small_corpus import TOKENS, files_of, make_prepared, make_text, make_tokenizer

MANY_SHARDS = 0.004  # Mi characters: about 4,200
OPTIONS = {"language": None, "held_out": 0.1, "shard_megabytes": MANY_SHARDS}


def refused(text):
    return pytest.raises(InputError, match=re.escape(text))


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A corpus of many shards made in one go by one worker: its text, tokenizer and files."""
    folder = tmp_path_factory.mktemp("reference")
    path = make_prepared(folder, make_text(400, seed=2), held_out=0.1, shard_megabytes=MANY_SHARDS)
    files = files_of(path)
    assert sum(name.startswith("shards/train") for name in files) > 10
    return folder / "text.txt", folder / "tokenizer", files


def command(reference, output, workers):
    text, tokenizer, _ = reference
    options = ["--sentence-per-line", "--held-out", "0.1", "--shard-megabytes", str(MANY_SHARDS)]
    return [
        "prepare",
        str(text),
        "--tokenizer",
        str(tokenizer),
        "--output",
        str(output),
        "--workers",
        str(workers),
        *options,
    ]


def test_three_workers_make_the_same_bytes(tmp_path, reference, capsys):
    assert main(command(reference, tmp_path / "out", 3)) == 0
    assert files_of(tmp_path / "out") == reference[2]
    out = capsys.readouterr().out
    manifest = json.loads(reference[2]["manifest.json"])
    assert "documents: 400 read, 0 duplicates dropped, 0 without a token dropped, " in out
    assert f"{manifest['train']['documents']:,} for training, {manifest['held_out']['documents']:,} held out\n" in out
    assert f"tokens: {manifest['train']['tokens']:,} for training" in out


def test_order_and_files_do_not_matter(tmp_path, reference):
    """The documents in reverse order in two files of another format: the same shards."""
    text, tokenizer, files = reference
    texts = text.read_text("utf-8").strip().split("\n\n")[::-1]
    for name, part in (("1.jsonl", texts[:150]), ("2.jsonl", texts[150:])):
        (tmp_path / name).write_text("".join(json.dumps({"body": one}) + "\n" for one in part))
    shards = json.loads(files["manifest.json"])["settings"]["shards"]
    characters = sum(one.stat().st_size for one in tmp_path.glob("*.jsonl"))
    options = {"language": None, "held_out": 0.1, "shard_megabytes": characters / shards / 2**20}
    prepare([tmp_path / "1.jsonl", tmp_path / "2.jsonl"], tokenizer, tmp_path / "out", field="body", **options)
    made = files_of(tmp_path / "out")
    assert {name for name in made if made[name] != files.get(name)} == {"manifest.json"}  # which names the inputs


def test_url_of_a_corpus(tmp_path, reference):
    """Inputs, tokenizer and output at URLs: the same bytes but for what the store says of the inputs."""
    pytest.importorskip("upath")
    text, tokenizer, files = reference
    root = place(f"memory:/{tmp_path}")
    for file in (text, tokenizer / "vocab.txt", tokenizer / "tokenizer_config.json"):
        write_whole(root / file.name, file.read_bytes())
    prepare([str(root / text.name)], str(root), str(root / "out"), **OPTIONS)
    made = {str(file).removeprefix(f"{root}/out/"): file for file in (root / "out").rglob("*") if file.is_file()}
    assert made.keys() == files.keys()
    assert {name for name, file in made.items() if file.read_bytes() != files[name]} == {"manifest.json"}
    with refused(f"{root}/b is in the memory of one process: use one worker, or another place"):
        prepare([str(root / text.name)], tokenizer, str(root / "b"), workers=2)


@pytest.mark.parametrize("made", ["run-*.bin", "[0-9]*.json"])
def test_killed_and_run_again(tmp_path, reference, capsys, monkeypatch, made):
    """SIGKILL while texts are read or while shards are made, with one worker and with two, then to the end: the bytes
    of an uninterrupted run. What was made stays as it is, and no worker outlives the command."""
    output = tmp_path / "out"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    for workers, count in ((1, 3), (2, 9)):
        process = subprocess.Popen(
            [sys.executable, "-m", "pretraining", *command(reference, output, workers)],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        while len(list((output / "unfinished").glob(made))) < count:
            assert process.poll() is None
            time.sleep(0.001)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) >= workers - 1
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 20
        while any(map(running, children)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not (output / "manifest.json").exists()
    before = {file: file.stat().st_mtime_ns for file in (output / "shards").glob("*") if file.suffix == ".bin"}
    there = {int(re.search(r"\d+", file.name).group()) for file in (output / "unfinished").glob(made)}
    all_read = (output / "unfinished" / "all_read.json").exists()
    runs, write_run = [], local_runner._write_run
    monkeypatch.setattr(
        local_runner, "_write_run", lambda maker, run, texts: runs.append(run) or write_run(maker, run, texts)
    )
    assert main(command(reference, output, 1)) == 0
    assert not there & set(runs)
    assert bool(runs) != all_read
    what = "runs" if made.startswith("run") else "shards"
    assert f"going on in {output}: {len(there)} {what} are there\n" in capsys.readouterr().out
    assert files_of(output) == reference[2]
    after = {file: file.stat().st_mtime_ns for file in before}
    assert sum(after[file] == before[file] for file in before) >= len(before) - 2  # the last pair may lack its record
    assert bool(before) == (what == "shards")


def running(pid):
    """Whether a process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_finished_is_finished(tmp_path, reference, capsys):
    """Also with other versions of the libraries, and where the last run was killed at its very end."""
    output = tmp_path / "out"
    assert main(command(reference, output, 1)) == 0
    manifest = json.loads((output / "manifest.json").read_text())
    manifest["settings"]["versions"]["tokenizers"] = "0.1"
    (output / "manifest.json").write_text(json.dumps(manifest))
    before = {file: file.stat().st_mtime_ns for file in output.rglob("*")}
    (output / "unfinished").mkdir()
    capsys.readouterr()
    assert main(command(reference, output, 2)) == 0
    assert capsys.readouterr().out.startswith(f"{output} is prepared already\n")
    assert {file: file.stat().st_mtime_ns for file in output.rglob("*")} == before


def test_other_settings_are_refused(tmp_path, reference):
    text, tokenizer, _ = reference
    other = tmp_path / "other.txt"
    other.write_text("the cat .\n\nthe dog .\n")
    output = tmp_path / "out"
    make = functools.partial(prepare, [text], tokenizer, output, shard_megabytes=MANY_SHARDS)
    make()
    for changed, was, now in (({"language": None}, '"en"', "null"), ({"held_out": 0.5}, "0.02", "0.5")):
        (name,) = changed
        with refused(
            f"{output} was prepared with other input or settings: {name} was {was}, now {now}; choose another output "
            "directory or delete this one"
        ):
            make(**changed)
    for config, name, was, now in (
        ({"do_lower_case": False}, "tokenizer_settings", '{"do_lower_case": true,', '{"do_lower_case": false,'),
        ({"unk_token": "z"}, "special_ids", "[0, 1, 2, 3, 4]", f"[0, 2, 3, 4, {TOKENS.index('z')}]"),
    ):
        changed = make_tokenizer(tmp_path / name, **config)
        with refused(f"{output} was prepared with other input or settings: {name} was {was}") as error:
            prepare([text], changed, output, shard_megabytes=MANY_SHARDS)
        assert f", now {now}" in str(error.value)
    with refused(f'{output} was prepared with other input or settings: inputs was [{{"name": "text.txt", "bytes":'):
        prepare([other], tokenizer, output)
    (output / "unfinished").mkdir()
    settings = json.loads((output / "manifest.json").read_text())["settings"]
    (output / "manifest.json").unlink()
    settings["versions"]["tokenizers"] = "0.1"
    (output / "unfinished" / "settings.json").write_text(json.dumps(settings))
    with refused(
        f'{output} was prepared with other input or settings: versions was {{"tokenizers": "0.1", "sentencex"'
    ):
        make()


def test_foreign_directories_are_refused(tmp_path, reference):
    text, tokenizer, _ = reference
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    for output in (tmp_path / "mine", tmp_path / "mine" / "thesis.tex"):
        with refused(f"{output} exists and is no prepared corpus: choose another output directory"):
            prepare([text], tokenizer, output)
    assert files_of(tmp_path / "mine") == {"thesis.tex": b"x"}
    (tmp_path / "empty").mkdir()
    assert prepare([text], tokenizer, tmp_path / "empty")["train"]["documents"] > 300


# Disks and workers that fail


def test_full_disk_damages_nothing(tmp_path, reference, monkeypatch):
    """The disk is full from the 300th write on, a shard's; with room again the command ends with the same bytes."""
    output, writes, fsync = tmp_path / "out", [], os.fsync

    def full(descriptor):
        writes.append(descriptor)
        if len(writes) >= 300:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    text, tokenizer, files = reference
    make = functools.partial(
        prepare, [text], tokenizer, output, language=None, held_out=0.1, shard_megabytes=MANY_SHARDS
    )
    with refused(f"cannot write {output}/") as error:
        make()
    assert "No space left on device; free space or choose another folder, then run the same command again" in str(
        error.value
    )
    assert not (output / "manifest.json").exists()
    records = sorted((output / "unfinished").glob("[0-9]*.json"))
    assert records
    for record in records:
        for split in ("train", "held_out"):
            entry = json.loads(record.read_text())[split]
            assert (output / entry["file"]).read_bytes() == files[entry["file"]]
    assert not list(output.rglob("*.partial"))
    monkeypatch.undo()
    make()
    assert files_of(output) == files


def test_files_may_not_grow(tmp_path, reference):
    """A limit of the file size (EFBIG, as of `ulimit -f`) stops a shard: most of them need more."""
    program = (
        "import sys, resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); "
        "from pretraining.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command(reference, tmp_path / "out", 1)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    sentence = rf"bert-pretrain: error: cannot write {tmp_path}/out/shards/train-\d+\.bin: File too large; free space"
    assert re.match(sentence, done.stderr.split("\n")[-2])
    assert not (tmp_path / "out" / "manifest.json").exists()
