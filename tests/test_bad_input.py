"""What every command says to bad input: one sentence and exit status 2, never a traceback.

The sentences themselves are tested where they are made (the tests of each module); here each kind of bad input goes
through the commands that can meet it, as a user would type them.
"""

import errno
import importlib
import json
import os
import re
import shutil

import pytest

from tests.pretraining_runs import TINY, make_corpus, train_command

MAINS = {"bert-pretrain": "pretraining", "bert-finetune": "downstream", "bert-tf": "bert_tf"}
SHORT = {"steps": 4, "save_every": 2, "log_every": 2}


def run(command):
    """The exit status of a command line."""
    program, *words = command
    return importlib.import_module(f"{MAINS[program]}.__main__").main([str(word) for word in words])


def train(folder, output, **options):
    return ["bert-pretrain", *train_command(folder, output, **(SHORT | options))[3:]]


def classify(folder, output, model="pretrained", **files):
    words = ["bert-finetune", "classify", "--model", folder / model, "--text", "text", "--label", "label"]
    for split in ("train", "validation"):
        words += [f"--{split}", files.get(split, folder / "task.tsv")]
    return [*words, "--max-seq-length", 20, "--epochs", 1, "--output", output]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A corpus, a pretrained model (a run of 4 steps), a task and its classifier."""
    folder = tmp_path_factory.mktemp("good")
    make_corpus(folder)
    (folder / "task.tsv").write_text("label\ttext\nnoun\tthe cat\nverb\tsees\nnoun\ta tree\nverb\tlikes\n")
    assert run(train(folder, folder / "pretrained")) == 0
    assert run(classify(folder, folder / "classifier")) == 0
    return folder


@pytest.fixture
def refused(capsys):
    """Runs a command that must end with status 2 and, after the progress, with this sentence alone."""

    def refused(command, sentence):
        capsys.readouterr()
        assert run(command) == 2
        error = capsys.readouterr().err
        assert "Traceback" not in error
        *progress, last = error.rstrip("\n").split("\n")
        assert not [line for line in progress if line.strip() and not line.startswith("\r")], progress
        assert last == f"{command[0]}: error: {sentence}"

    return refused


def evaluate(folder, table, model="classifier"):
    return ["bert-finetune", "evaluate", "--model", folder / model, "--data", table]


def predict(folder, table, output, model="classifier"):
    return ["bert-finetune", "predict", "--model", folder / model, "--input", table, "--output", output]


def export(folder, output, model="classifier"):
    return ["bert-tf", "export", "--model", folder / model, "--output", output]


def vocab(inputs, output):
    return ["bert-pretrain", "vocab", inputs, "--output", output, "--vocab-size", 90]


def prepare(inputs, folder, output, tokenizer="tokenizer"):
    return ["bert-pretrain", "prepare", inputs, "--tokenizer", folder / tokenizer, "--output", output]


# ------------------------------------------------------------------------------------------------------------- texts


def test_missing_corpus(folder, tmp_path, refused):
    for command in (vocab("none.txt", tmp_path / "out"), prepare("none.txt", folder, tmp_path / "out")):
        refused(command, "no file, folder or pattern none.txt: give paths to text files that exist")
    sentence = "none is not a prepared corpus: it has no manifest.json (bert-pretrain prepare makes it)"
    refused(train(folder, tmp_path / "out", data="none"), sentence)
    refused(["bert-pretrain", "evaluate", "--model", folder / "pretrained", "--data", "none"], sentence)
    assert not any(tmp_path.iterdir())


def test_empty_corpus(folder, tmp_path, refused):
    empty = tmp_path / "empty.txt"
    empty.write_bytes(b"")
    refused(vocab(empty, tmp_path / "out"), "the texts hold no word to train a vocabulary on")
    refused(prepare(empty, folder, tmp_path / "out"), "no document in the input: 1 files without any text")


def test_a_file_that_is_not_utf8(folder, tmp_path, refused):
    """Latin-1: byte 7 of "ein Caf\\xe9" is the sixth after the first line of 4 bytes and "Caf"."""
    text = tmp_path / "latin.txt"
    text.write_bytes(b"ein\nCaf\xe9\n")
    sentence = f"{text} is not UTF-8 text: byte 0xe9 at byte offset 7 (line 2); convert it to UTF-8"
    refused(vocab(text, tmp_path / "out"), sentence)
    refused(prepare(text, folder, tmp_path / "out"), sentence)
    refused([*prepare(text, folder, tmp_path / "out2"), "--workers", 2], sentence)
    table = tmp_path / "latin.tsv"
    table.write_bytes(b"label\ttext\nnoun\tCaf\xe9\n")
    sentence = f"{table} is not UTF-8 at byte offset 19; convert the file to UTF-8"
    refused(classify(folder, tmp_path / "run", train=table), sentence)
    refused(evaluate(folder, table), sentence)


# ------------------------------------------------------------------------------------------------ vocabularies and ids


def test_a_vocabulary_without_mask(folder, tmp_path, refused):
    tokens = (folder / "tokenizer" / "vocab.txt").read_text().replace("[MASK]", "[mask]")
    shutil.copytree(folder / "tokenizer", tmp_path / "tokenizer")
    (tmp_path / "tokenizer" / "vocab.txt").write_text(tokens)
    refused(
        prepare(folder / "text.txt", tmp_path, tmp_path / "out"),
        f"{tmp_path}/tokenizer/vocab.txt has no [MASK], the mask_token of pretraining: use another vocabulary",
    )
    shutil.copytree(folder / "pretrained" / "model", tmp_path / "model")
    (tmp_path / "model" / "vocab.txt").write_text(tokens)
    refused(
        ["bert-tf", "fill-mask", "--model", tmp_path / "model", "the [MASK]"],
        f"{tmp_path}/model/vocab.txt (90 tokens) lacks '[MASK]', which is to be the mask_token: add it, or name the "
        "right token as mask_token",
    )


def test_ids_beyond_the_vocabulary(folder, tmp_path, refused):
    """In a shard that was damaged, and in a vocabulary that is longer than the model's table of words."""
    shutil.copytree(folder / "corpus", tmp_path / "corpus")
    shard = tmp_path / "corpus" / "shards" / "train-00000.bin"
    shard.write_bytes(shard.read_bytes()[:-2] + b"\x5a\x00")  # the last token becomes 90 of 0 … 89
    refused(
        train(folder, tmp_path / "run", data=tmp_path / "corpus"),
        f"{shard} holds the id 90, expected ids from 0 to 89, those of its vocabulary: prepare the corpus again",
    )
    model = tmp_path / "model"
    shutil.copytree(folder / "classifier" / "model", model)
    with open(model / "vocab.txt", "a") as stream:
        stream.write("onemore\n")
    table = folder / "task.tsv"
    sentence = f"the vocabulary in {model} has 91 tokens, the model 90 embeddings; give the model its own vocabulary"
    refused(classify(folder, tmp_path / "run", model=model), sentence)
    refused(evaluate(folder, table, model=model), sentence)
    refused(predict(folder, table, tmp_path / "a.tsv", model=model), sentence)
    refused(
        export(folder, tmp_path / "saved", model=model),
        "the vocabulary has 91 tokens and the model 90 word vectors; take the vocabulary that the model was trained "
        "with",
    )


def test_sequences_beyond_the_positions(folder, tmp_path, refused):
    """The configuration has 40."""
    beyond = "max_seq_length 41 is beyond max_position_embeddings 40 of"
    advice = "choose a shorter length or more positions"
    refused(train(folder, tmp_path / "run", max_seq_length=41), f"{beyond} {folder}/config.json; {advice}")
    command = ["bert-pretrain", "evaluate", "--model", folder / "pretrained", "--data", folder / "corpus"]
    refused([*command, "--max-seq-length", 41], f"{beyond} {folder}/pretrained; {advice}")
    command = classify(folder, tmp_path / "run")
    refused([*command, "--max-seq-length", 41], f"{beyond} {folder}/pretrained/model; choose at most 40")
    command = evaluate(folder, folder / "task.tsv")
    refused([*command, "--max-seq-length", 41], f"{beyond} {folder}/classifier/model; choose at most 40")
    command = export(folder, tmp_path / "saved")
    refused([*command, "--max-length", 41], "max_length 41 is beyond max_position_embeddings 40; give at most 40")
    text = "the " * 40 + "[MASK]"
    refused(
        ["bert-tf", "fill-mask", "--model", folder / "pretrained", text],
        f"of the 1 [MASK] in the text {text[:60]!r} the model sees 0: the rest lies beyond its 40 positions; cut the "
        "text before the first words",
    )


def test_heads_that_do_not_divide(folder, tmp_path, refused):
    sentence = "hidden_size must be a multiple of num_attention_heads, got 16 and 3; change one of them"
    (tmp_path / "config.json").write_text(json.dumps(TINY | {"num_attention_heads": 3}))
    refused(train(folder, tmp_path / "run", config=tmp_path / "config.json"), sentence)
    model = tmp_path / "model"
    shutil.copytree(folder / "pretrained" / "model", model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"num_attention_heads": 3}))
    refused(classify(folder, tmp_path / "run", model=model), sentence)
    refused(["bert-tf", "fill-mask", "--model", model, "[MASK]"], sentence)


# -------------------------------------------------------------------------------------------------------- tables


def test_a_row_with_a_wrong_number_of_columns(folder, tmp_path, refused):
    table = tmp_path / "bad.tsv"
    table.write_text("label\ttext\nnoun\tthe cat\nverb\tsees\tlikes\n")
    sentence = f"{table}, line 3: expected 2 columns (label, text), got 3; a .tsv has no quoting: a text holds no tab "
    sentence += "and no line break"
    refused(classify(folder, tmp_path / "run", train=table), sentence)
    refused(classify(folder, tmp_path / "run", validation=table), sentence)
    refused(evaluate(folder, table), sentence)
    refused(predict(folder, table, tmp_path / "a.tsv"), sentence)


def test_an_unknown_label(folder, tmp_path, refused):
    table = tmp_path / "bad.tsv"
    table.write_text("label\ttext\nnoun\tthe cat\nadverb\tnear\n")
    sentence = f"{table}, line 3: unknown label 'adverb'; the labels are noun, verb; correct the row, or train with "
    sentence += "this label"
    refused(classify(folder, tmp_path / "run", validation=table), sentence)
    refused(evaluate(folder, table), sentence)


# -------------------------------------------------------------------------------------- directories, checkpoints, disks


def test_the_output_of_another_run(folder, tmp_path, refused):
    tokenizer, corpus, pretrained, classifier = (
        folder / name for name in ("tokenizer", "corpus", "pretrained", "classifier")
    )
    text, other = folder / "text.txt", tmp_path / "other.txt"
    other.write_text("another text.\n")
    advice = "choose another output directory"
    refused(vocab(other, tokenizer), f"{tokenizer} holds another vocabulary or other settings: {advice}")
    refused(
        [*prepare(text, folder, corpus), "--sentence-per-line", "--held-out", 0.3],
        f"{corpus} was prepared with other input or settings: held_out was 0.2, now 0.3; {advice} or delete this one",
    )
    refused(prepare(text, folder, pretrained), f"{pretrained} exists and is no prepared corpus: {advice}")
    sentence = "belongs to another run (seed 0 there, 8 now); choose another --output or repeat its settings"
    refused(train(folder, pretrained, seed=8), f"{pretrained} {sentence}")
    refused([*classify(folder, classifier), "--seed", 8], f"{classifier} {sentence}")
    refused(
        export(folder, pretrained),
        f"{pretrained} holds files and no model_card.json of an earlier export; give a new or empty folder",
    )
    refused(
        ["bert-tf", "convert", "--from", classifier, "--to", pretrained],
        f"{pretrained} exists and is not an empty folder; give a new one to write",
    )


def test_the_output_of_a_run_of_another_kind(folder, capsys):
    """Nearly everything differs: the sentence names three and counts the rest."""
    assert run(classify(folder, folder / "pretrained")) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "belongs to another run (command 'pretrain' there, 'classify' now, " in error
    assert re.search(r" now, and \d\d more\); choose another --output or repeat its settings$", error)
    assert error.count(" there, ") == 3


def test_damaged_checkpoints_of_a_run(folder, tmp_path, capsys):
    """Both are cut short, and each is named; what happens where one of two is whole: test_pretrain.py."""
    shutil.copytree(folder / "pretrained", tmp_path / "run")
    (tmp_path / "run" / "results.json").unlink()
    states = list(tmp_path.glob("run/checkpoints/*/state.safetensors"))
    assert len(states) == 2
    for state in states:
        state.write_bytes(state.read_bytes()[:-100])
    assert run(train(folder, tmp_path / "run")) == 2
    *damaged, last = capsys.readouterr().err.splitlines()
    assert len([line for line in damaged if "is damaged" in line]) == 2
    checkpoints = tmp_path / "run" / "checkpoints"
    assert last == (
        f"bert-pretrain: error: all 2 checkpoints in {checkpoints} are damaged; restore one, or remove the folder to "
        "begin again"
    )


def test_a_damaged_model(folder, tmp_path, refused):
    model = tmp_path / "model"
    shutil.copytree(folder / "classifier" / "model", model)
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    sentence = f"{file} is damaged (Error while deserializing header: incomplete metadata, file not fully covered); "
    sentence += "restore it or make it again"
    refused(classify(folder, tmp_path / "run", model=model), sentence)
    refused(evaluate(folder, folder / "task.tsv", model=model), sentence)
    refused(["bert-tf", "info", model], sentence)
    refused(export(folder, tmp_path / "saved", model=model), sentence)


def test_a_full_disk(folder, tmp_path, refused, monkeypatch):
    """The first shard finds no room (fsync says so, as on network file systems); with room the same command ends."""
    fsync, shard = os.fsync, tmp_path / "out" / "shards" / "train-00000.bin"

    def full(descriptor):
        if os.readlink(f"/proc/self/fd/{descriptor}") == f"{shard}.partial":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    refused(
        prepare(folder / "text.txt", folder, tmp_path / "out"),
        f"cannot write {shard}: No space left on device; free space or choose another folder, then run the same "
        "command again: what was finished before is kept",
    )
    monkeypatch.undo()
    assert run(prepare(folder / "text.txt", folder, tmp_path / "out")) == 0


# ------------------------------------------------------------------------------------------------------ interruptions


@pytest.mark.parametrize("leftover", ["config.json.partial", "unfinished/settings.json.partial"])
def test_a_run_killed_at_its_first_file_begins_again(folder, tmp_path, leftover):
    """SIGKILL while the first file is written leaves a part of it and nothing else, which is no other run."""
    file = tmp_path / "out" / leftover
    file.parent.mkdir(parents=True)
    file.write_text('{"comm')
    command = train(folder, tmp_path / "out")
    if "settings" in leftover:
        command = prepare(folder / "text.txt", folder, tmp_path / "out")
    assert run(command) == 0
    assert not file.exists()


def test_a_vocabulary_killed_between_its_two_files_begins_again(folder, tmp_path):
    """The settings are there, the vocabulary not yet; in the other order it would be another's directory."""
    (tmp_path / "out").mkdir()
    shutil.copy(folder / "tokenizer" / "tokenizer_config.json", tmp_path / "out")
    assert run([*vocab(folder / "text.txt", tmp_path / "out"), "--max-length", 64]) == 0
    for name in ("vocab.txt", "tokenizer_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (folder / "tokenizer" / name).read_bytes()


@pytest.mark.parametrize(
    ("command", "works_in", "sentence"),
    [
        ("bert-pretrain evaluate --model a --data b", "pretraining.evaluation.evaluate_directory",
         "interrupted; what was finished is kept, the same command continues"),
        ("bert-finetune evaluate --model a --data b", "downstream.evaluate.evaluate",
         "interrupted; the same command does it again"),
        ("bert-tf info a", "bert_tf.info.describe", "interrupted; the same command does it again"),
    ],
)  # fmt: skip
def test_control_c(capsys, monkeypatch, command, works_in, sentence):
    """130 is 128 + SIGINT, a shell's own status for it."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(works_in, interrupted)
    program, *words = command.split()
    assert run([program, *words]) == 130
    assert capsys.readouterr().err == f"{program}: {sentence}\n"
