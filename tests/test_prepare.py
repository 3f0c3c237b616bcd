"""prepare: what becomes of each document, and a sentence for bad input."""

import hashlib
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bert_tf import InputError
from pretraining.__main__ import main
from pretraining.corpus import document_digest, in_share
from pretraining.prepare import prepare
from pretraining.shards import PreparedCorpus
from tests.small_corpus import TOKENS, files_of, make_prepared, make_text, make_tokenizer


def refused(text):
    return pytest.raises(InputError, match=re.escape(text))


def texts_of(corpus, split):
    """The documents of a split, as lists of sentences of tokens, sorted."""
    found = []
    for entry in corpus.shards(split):
        shard = corpus.open(entry)
        for first, last in itertools.pairwise(shard.document_offsets):
            offsets = shard.sentence_offsets[first : last + 1]
            found.append([[TOKENS[token] for token in shard.tokens[a:b]] for a, b in itertools.pairwise(offsets)])
    return sorted(found)


# Documents


def test_every_document_is_somewhere(tmp_path):
    """Read = dropped + for training + held out, and a split follows from the text of a document."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "1.txt").write_text("the cat sat .\n\nthe  dog ran\nfar\n\n\x01\n\non the\tmat\n")
    (folder / "2.txt").write_text("the dog ran far\n\n\x02\nall night\n\nthe cat sat .\n")
    tokenizer = make_tokenizer(tmp_path / "tokenizer")
    manifest = prepare([folder], tokenizer, tmp_path / "out", language=None, held_out=0)
    assert manifest["counts"] == {
        "documents_read": 7,
        "duplicates_dropped": 2,  # "the dog ran far" over other lines, and "the cat sat ."
        "documents_without_tokens": 1,
        "sentences_without_tokens": 2,
        "lines_kept_whole": 0,
    }
    assert {name: manifest["train"][name] for name in ("documents", "sentences", "tokens")} == {
        "documents": 4,
        "sentences": 5,
        "tokens": 13,
    }
    corpus = PreparedCorpus(tmp_path / "out", check_sha256=True)
    assert texts_of(corpus, "train") == [
        [["all", "night"]],
        [["on", "the", "mat"]],
        [["the", "cat", "sat", "."]],
        [["the", "dog", "ran"], ["far"]],
    ]
    assert texts_of(corpus, "held_out") == []
    assert manifest["settings"]["inputs"] == [
        {
            "name": name,
            "bytes": (folder / name).stat().st_size,
            "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
        }
        for name in ("1.txt", "2.txt")
    ]
    assert (
        manifest["settings"]["vocabulary_sha256"] == hashlib.sha256((tokenizer / "vocab.txt").read_bytes()).hexdigest()
    )
    assert files_of(tmp_path / "out" / "tokenizer") == files_of(tokenizer)
    assert not (tmp_path / "out" / "unfinished").exists()


def test_held_out_documents_are_chosen_by_their_text(tmp_path):
    """In reverse order and beside other documents the same ones are held out; none is in both splits."""
    documents = make_text(300, seed=1).strip().split("\n\n")
    held_out = {text for text in documents if in_share(document_digest(text), 0.2)}
    assert 20 < len(held_out) < 100
    for name, order in (("a", documents), ("b", documents[::-1]), ("c", documents[100:] * 2)):
        path = make_prepared(tmp_path / name, "\n\n".join(order), held_out=0.2, shard_megabytes=0.01)
        corpus = PreparedCorpus(path)
        encoded = {
            split: ["\n".join(map(" ".join, text)) for text in texts_of(corpus, split)]
            for split in ("train", "held_out")
        }
        first_lines = {split: {text.split("\n")[0] for text in texts} for split, texts in encoded.items()}
        assert first_lines["held_out"] == {text.split("\n")[0] for text in held_out & set(order)}
        assert not first_lines["train"] & first_lines["held_out"]
        assert len(encoded["train"]) + len(encoded["held_out"]) == len(set(order))
        assert corpus.manifest["counts"]["duplicates_dropped"] == len(order) - len(set(order))


def test_sentences_are_split(tmp_path):
    """Two sentences in one line with a language, one with none."""
    text = "the cat sat. The dog ran.\n\nall rain fell.\n"
    for language, sentences in (("en", 3), (None, 2)):
        corpus = PreparedCorpus(make_prepared(tmp_path / str(language), text, language=language, held_out=0))
        assert corpus.manifest["train"]["sentences"] == sentences
        assert corpus.manifest["train"]["tokens"] == 12


# Bad input


def test_no_document(tmp_path, capsys):
    tokenizer = make_tokenizer(tmp_path / "tokenizer")
    (tmp_path / "a.txt").write_text("\n\n \n")
    command = ["prepare", str(tmp_path / "a.txt"), "--tokenizer", str(tokenizer), "--output", str(tmp_path / "out")]
    assert main(command) == 2
    error = capsys.readouterr().err.split("\n")[-2]
    assert error == "bert-pretrain: error: no document in the input: 1 files without any text"
    (tmp_path / "a.txt").write_text("\x01\n")
    with refused("no document is left for training: give more text, or hold out a smaller share"):
        prepare([tmp_path / "a.txt"], tokenizer, tmp_path / "out")
    (tmp_path / "a.txt").write_text("the cat\n\nthe dog\n")
    with refused("no document is left for training: give more text, or hold out a smaller share"):
        prepare([tmp_path / "a.txt"], tokenizer, tmp_path / "out", held_out=1 - 1e-12)
    assert prepare([tmp_path / "a.txt"], tokenizer, tmp_path / "out", held_out=0)["train"]["documents"] == 2


def test_values_out_of_range(tmp_path):
    for options, text in (
        ({"held_out": 1}, "held_out is a share from 0 to below 1, not 1"),
        ({"workers": 0}, "workers must be 1 or more and shard_megabytes above 0, to 128, not 0 and 16"),
        ({"shard_megabytes": 0}, "workers must be 1 or more and shard_megabytes above 0, to 128, not 1 and 0"),
        ({"language": "english!"}, "language must be an ISO 639 code such as en or de, not 'english!'"),
    ):
        with refused(text):
            prepare([tmp_path], tmp_path, tmp_path / "out", **options)


def test_files_of_other_kinds_are_named(tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("the cat")
    (folder / "b.doc").write_text("the dog")
    prepare([folder], make_tokenizer(tmp_path / "tokenizer"), tmp_path / "out", held_out=0)
    assert (
        capsys.readouterr().out
        == f"not read, for their names or as broken links: 1 files, the first is {folder}/b.doc\n"
    )


# Workers


def test_workers_stay_small():
    """What a worker imports: neither TensorFlow nor Keras nor JAX."""
    program = (
        "import sys, pretraining.__main__, pretraining.prepare, pretraining.vocabulary, pretraining.batches\n"
        "assert not {'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}, check=True
    )
