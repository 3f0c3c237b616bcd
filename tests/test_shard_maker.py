"""From texts to shards: worked examples in columns, and that no grouping or order of the texts matters."""

import itertools
import json
import random

import numpy as np
import pytest

from pretraining import encoded_documents
from pretraining.corpus import document_digest, in_share
from pretraining.encoded_documents import encode_documents, from_bytes, joined
from pretraining.shard_maker import ShardMaker
from pretraining.shards import open_shard
from pretraining.text_encoder import TextEncoder
from pretraining.tokenizer_directory import read_tokenizer_directory
from tests.small_corpus import IDS, TOKENS, files_of, make_text, make_tokenizer

# Lines: 1, 3, 2 and 1; the second line of the second document has no token, nor has the last document.
TEXTS = ["the cat", "raining\n\u200b\nthe", "all rain\nfell", "\u200b"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return read_tokenizer_directory(make_tokenizer(tmp_path_factory.mktemp("t") / "t"))


def words(tokens):
    return " ".join(TOKENS[token] for token in tokens)


# Columns


def test_encoded_by_hand(directory):
    documents = encode_documents(TEXTS, TextEncoder(directory), None)
    assert documents.digests.tolist() == [
        [int.from_bytes(document_digest(text)[:8], "big"), int.from_bytes(document_digest(text)[8:], "big")]
        for text in TEXTS
    ]
    assert documents.left_out.tolist() == [0, 1, 0, 1]
    assert documents.kept_whole.tolist() == [0, 0, 0, 0]
    assert documents.sentences.tolist() == [1, 2, 2, 0]
    assert documents.lengths.tolist() == [2, 2, 1, 2, 1]
    assert words(documents.tokens) == "the cat rain ##ing the all rain fell"
    assert documents.document_tokens().tolist() == [2, 3, 3, 0]


def test_take_and_join(directory):
    encoder = TextEncoder(directory)
    documents = encode_documents(TEXTS, encoder, None)
    taken = documents.take(np.array([3, 2, 0]))
    expected = encode_documents([TEXTS[3], TEXTS[2], TEXTS[0]], encoder, None)
    both = joined([encode_documents(TEXTS[:1], encoder, None), encode_documents(TEXTS[1:], encoder, None)])
    for found, wanted in ((taken, expected), (both, documents), (documents.take(np.arange(4)), documents)):
        for name, column in wanted._asdict().items():
            assert getattr(found, name).tolist() == column.tolist(), name
            assert getattr(found, name).dtype == column.dtype, name
    assert documents.take(np.zeros(0, int)).tokens.tolist() == []


@pytest.mark.parametrize("dtype", ["<u2", "<u4"])
def test_bytes_and_back(directory, dtype):
    documents = encode_documents(TEXTS, TextEncoder(directory), None)
    documents = documents._replace(tokens=documents.tokens.astype(dtype))
    content = documents.to_bytes()
    assert content[:24] == b"".join(number.to_bytes(8, "little") for number in (4, 5, 8))
    again = from_bytes(content, dtype)
    for name, column in documents._asdict().items():
        assert getattr(again, name).tolist() == column.tolist(), name
    assert again.to_bytes() == content


def test_long_documents_are_encoded_in_parts(directory, monkeypatch):
    texts = make_text(50, seed=5).strip().split("\n\n")
    expected = encode_documents(texts, TextEncoder(directory), "en").to_bytes()
    monkeypatch.setattr(encoded_documents, "ENCODED_TOGETHER", 100)
    assert encode_documents(texts, TextEncoder(directory), "en").to_bytes() == expected


# Shards


def make_corpus(output, directory, groups, shards=3, **options):
    """All shards of groups of texts, pieces in the order of the groups; returns the maker."""
    make_tokenizer(output / "tokenizer")
    options = {"language": None, "held_out": 0.2, "keep_duplicates": False} | options
    maker = ShardMaker(output, shards, vocab_size=directory.vocab_size, token_dtype="<u2", **options)
    pieces = [piece for group in groups for piece in maker.encode(group)]
    for shard in maker.missing():
        maker.make(shard, [content for number, content in pieces if number == shard])
    return maker


def test_each_document_goes_where_its_hash_says(tmp_path, directory):
    """In the order of the digests, in the shard of the second half and the split of the first half of its digest."""
    texts = make_text(60, seed=6).strip().split("\n\n")
    maker = make_corpus(tmp_path, directory, [texts])
    for shard, (split, held_out) in itertools.product(range(3), (("train", False), ("held_out", True))):
        expected = [
            text
            for text in sorted(texts, key=document_digest)
            if int.from_bytes(document_digest(text)[8:], "big") * 3 >> 64 == shard
            and in_share(document_digest(text), 0.2) == held_out
        ]
        assert expected
        made = open_shard(tmp_path / f"shards/{split}-{shard:05d}.bin")
        assert len(made.document_offsets) - 1 == len(expected)
        sentences = [words(part) for part in np.split(made.tokens, made.sentence_offsets[1:-1])]
        firsts = [text.split("\n")[0] for text in expected]  # its first line tells each document from the others
        assert [sentences[first] for first in made.document_offsets[:-1]] == firsts
        if split == "train":
            counts = np.load(maker.counts_path(shard))
            assert counts.tolist() == np.bincount(made.tokens, minlength=len(TOKENS)).tolist()
    assert maker.missing() == []
    maker.record_path(1).unlink()
    assert maker.missing() == [1]


def test_no_grouping_or_order_matters(tmp_path, directory):
    """Duplicates over other lines too: of equal documents the one whose sentence lengths come first is kept, wherever
    it was read."""
    texts = make_text(60, seed=7).strip().split("\n\n")
    texts += texts[:10] + [text.replace("\n", " ") for text in texts[5:20]] + ["", "\x01"]
    make_corpus(tmp_path / "a", directory, [texts])
    expected = files_of(tmp_path / "a")
    draw = random.Random(0)
    for name in "bcd":
        draw.shuffle(texts)
        make_corpus(tmp_path / name, directory, [texts[i::7] for i in range(7)])
        assert files_of(tmp_path / name) == expected


def test_duplicates_are_dropped_or_kept(tmp_path, directory):
    texts = ["the cat\nsat", "the cat sat", "the dog", " the  cat\tsat", "\u200b", "\u200b"]
    for keep, documents, sentences, dropped in ((False, 2, 3, 3), (True, 4, 5, 0)):
        maker = make_corpus(tmp_path / str(keep), directory, [texts], shards=1, held_out=0, keep_duplicates=keep)
        record = json.loads(maker.record_path(0).read_text())
        assert {name: record["train"][name] for name in ("documents", "sentences")} == {
            "documents": documents,
            "sentences": sentences,
        }
        assert record["documents_read"] == 6
        assert record["duplicates_dropped"] == dropped
        assert record["documents_without_tokens"] == 2 - (not keep)
        assert record["sentences_without_tokens"] == 2 - (not keep)


def test_a_shard_without_documents(tmp_path, directory):
    maker = make_corpus(tmp_path, directory, [["the cat"]], shards=2, held_out=0)
    counts = [json.loads(maker.record_path(shard).read_text())["train"]["documents"] for shard in range(2)]
    assert sorted(counts) == [0, 1]
    assert maker.encode(["the cat"])[0][0] == counts.index(1)
    assert np.load(maker.counts_path(counts.index(0))).tolist() == [0] * len(TOKENS)
    assert np.load(maker.counts_path(counts.index(1)))[IDS["cat"]] == 1
