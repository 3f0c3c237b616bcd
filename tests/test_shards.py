"""Shards byte by byte, and a prepared corpus that is not what its manifest says."""

import hashlib
import json
import re
import shutil

import numpy as np
import pytest

from bert_tf import InputError
from pretraining import shards
from pretraining.corpus import document_digest
from pretraining.shards import PreparedCorpus, make_shard, open_shard, write_shard
from tests.small_corpus import IDS, TOKENS, make_prepared

# Two documents: the first of the sentences [7, 5] and [3], the second of [6].
TWO_DOCUMENTS = ([2, 1], [2, 1, 1], np.array([7, 5, 3, 6], "<u2"))
NO_DOCUMENT = ([], [], np.zeros(0, "<u2"))


def refused(text):
    return pytest.raises(InputError, match=re.escape(text))


def test_arrays():
    shard = make_shard(*TWO_DOCUMENTS)
    assert shard.tokens.tolist() == [7, 5, 3, 6]
    assert shard.sentence_offsets.tolist() == [0, 2, 3, 4]
    assert shard.document_offsets.tolist() == [0, 2, 3]
    assert shard.counts() == {"documents": 2, "sentences": 3, "tokens": 4}


def test_fingerprints_tell_the_tokens_of_a_document():
    """However its sentences are cut: what matters is the text that a model would see."""
    tokens = np.array([1, 2, 3, 1, 2, 3, 1, 2, 4, 3, 2, 1], "<u2")
    one, same, other, swapped = make_shard([2, 2, 1, 1], [2, 1, 1, 2, 3, 3], tokens).fingerprints.tolist()
    assert one == same
    assert len({one, other, swapped}) == 3


def test_file_byte_by_byte(tmp_path):
    shard = make_shard(*TWO_DOCUMENTS)
    sha256 = write_shard(tmp_path / "a.bin", shard)
    content = (tmp_path / "a.bin").read_bytes()
    header = b"BERTSHRD" + b"".join(number.to_bytes(8, "little") for number in (1, 2, 2, 3, 4, 0, 0))
    integers = b"".join(number.to_bytes(4, "little") for number in (0, 2, 3, 0, 2, 3, 4))
    assert content == header + shard.fingerprints.tobytes() + integers + b"\x07\0\x05\0\x03\0\x06\0"
    assert hashlib.sha256(content).hexdigest() == sha256


@pytest.mark.parametrize("documents", [TWO_DOCUMENTS, NO_DOCUMENT])
@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
def test_what_is_written_is_mapped(tmp_path, documents, dtype):
    sentences, lengths, tokens = documents
    shard = make_shard(sentences, lengths, tokens.astype(dtype) * (65537 if dtype == "<u4" else 1))
    write_shard(tmp_path / "a.bin", shard)
    mapped = open_shard(tmp_path / "a.bin")
    for name, array in shard._asdict().items():
        found = getattr(mapped, name)
        assert isinstance(found, np.memmap) or not len(array)
        assert found.dtype == array.dtype
        assert found.tolist() == array.tolist()
        assert not found.flags.writeable


def test_a_shard_is_not_too_large(monkeypatch):
    monkeypatch.setattr(shards, "MAX_TOKENS", 3)
    with refused("a shard of 4 tokens is too large: make shards of fewer megabytes"):
        make_shard(*TWO_DOCUMENTS)


def test_files_that_are_no_shards(tmp_path):
    path = tmp_path / "a.bin"
    with refused(f"cannot read the shard {path}: No such file or directory; prepare the corpus again"):
        open_shard(path)
    write_shard(path, make_shard(*TWO_DOCUMENTS))
    content = path.read_bytes()
    for bad in (b"", content[:63], b"X" + content[1:]):
        path.write_bytes(bad)
        with refused(f"{path} is not a shard of a prepared corpus; prepare the corpus again"):
            open_shard(path)
    path.write_bytes(content[:8] + b"\x02" + content[9:])
    with refused(f"{path} has shard format 2, and this program reads 1: prepare again"):
        open_shard(path)
    for bad in (content[:-1], content + b"\0"):
        path.write_bytes(bad)
        with refused(f"the shard {path} has {len(bad)} bytes instead of {len(content)}: prepare the corpus again"):
            open_shard(path)


# Prepared corpora


TEXT = "the cat sat .\nthe dog ran\n\non the mat\n\nthe cat sat .\nthe dog ran\n\nall rain fell §\n"


def test_prepared_corpus(tmp_path):
    path = make_prepared(tmp_path, TEXT, held_out=0)
    corpus = PreparedCorpus(path, check_sha256=True)
    assert corpus.vocab_size == len(TOKENS)
    assert corpus.tokenizer_dir == path / "tokenizer"
    assert corpus.tokenizer.tokens == tuple(TOKENS)
    (entry,) = corpus.shards("train")
    assert corpus.shards("held_out") == []
    shard = corpus.open(entry)
    documents = {"the cat sat .\nthe dog ran": [4, 3], "on the mat": [3], "all rain fell [UNK]": [4]}
    order = sorted(documents, key=lambda text: document_digest(text.replace("[UNK]", "§")))
    words = [word for text in order for word in text.split()]
    assert shard.tokens.tolist() == [IDS[word] for word in words]
    assert np.diff(shard.sentence_offsets).tolist() == [length for text in order for length in documents[text]]
    assert np.diff(shard.document_offsets).tolist() == [len(documents[text]) for text in order]
    assert corpus.unigram_counts.tolist() == [words.count(token) for token in TOKENS]
    assert corpus.manifest["unknown_share"] == 1 / 14


def test_corpora_that_are_not_what_they_say(tmp_path):
    good = make_prepared(tmp_path, TEXT, held_out=0)
    bad = tmp_path / "bad"

    def fresh():
        shutil.rmtree(bad, ignore_errors=True)
        shutil.copytree(good, bad)
        return json.loads((bad / "manifest.json").read_text())

    with refused(f"{tmp_path}/none is not a prepared corpus: it has no manifest.json (bert-pretrain prepare makes it)"):
        PreparedCorpus(tmp_path / "none")

    manifest = fresh()
    manifest["settings"]["format_version"] = 7
    (bad / "manifest.json").write_text(json.dumps(manifest))
    with refused(f"{bad} has format 7, and this program reads 1: prepare it again"):
        PreparedCorpus(bad)

    (bad / "manifest.json").write_text("{")
    with refused(f"{bad}/manifest.json is damaged (Expecting"):
        PreparedCorpus(bad)

    for foreign in ([], {"name": "app"}, manifest | {"train": {}}, manifest | {"settings": {"format_version": 1}}):
        (bad / "manifest.json").write_text(json.dumps(foreign))
        with refused(f"{bad}/manifest.json is not the manifest of a prepared corpus: choose a directory that"):
            PreparedCorpus(bad)

    fresh()
    counts = bad / "unigram_counts.npy"
    content = counts.read_bytes()
    for junk in (b"", b"junk", content[:-8]):
        counts.write_bytes(junk)
        with refused(f"cannot read the counts of words {counts} ("):
            PreparedCorpus(bad)
    counts.unlink()
    with refused(f"cannot read the counts of words {counts} ([Errno 2] No such file"):
        PreparedCorpus(bad)
    for array, found in (
        (np.zeros(3, np.int64), "int64 [3]"),
        (np.zeros(len(TOKENS)), f"float64 [{len(TOKENS)}]"),
    ):
        np.save(counts, array)
        with refused(f"{counts} holds {found}, expected int64 [{len(TOKENS)}], a count for every token: prepare the"):
            PreparedCorpus(bad)

    fresh()
    (bad / "tokenizer" / "vocab.txt").write_text("\n".join(reversed(TOKENS)))
    with refused(f"{bad}/tokenizer is not the tokenizer that {bad} was prepared with: prepare it again"):
        PreparedCorpus(bad)

    manifest = fresh()
    manifest["train"]["shards"][0]["tokens"] += 1
    (bad / "manifest.json").write_text(json.dumps(manifest))
    with refused(
        f"{bad}/shards/train-00000.bin does not hold what the manifest says ({{'documents': 3, 'sentences': 4"
    ):
        PreparedCorpus(bad)

    fresh()
    content = bytearray((bad / "shards" / "train-00000.bin").read_bytes())
    content[-1] ^= 1
    (bad / "shards" / "train-00000.bin").write_bytes(content)
    PreparedCorpus(bad)
    with refused(
        f"{bad}/shards/train-00000.bin has changed since it was prepared (another sha256): prepare the corpus"
    ):
        PreparedCorpus(bad, check_sha256=True)
