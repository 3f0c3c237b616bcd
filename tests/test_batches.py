"""Batches: what stands where, the same for any number of readers and from any restart, and other in every epoch."""

import itertools
import re
import threading
import time

import numpy as np
import pytest

from bert_tf import InputError
from pretraining.batches import PretrainingBatches
from pretraining.prefetch import prefetch
from pretraining.shards import PreparedCorpus
from tests.small_corpus import IDS, TOKENS, make_prepared, make_text

PAD, UNK, CLS, SEP, MASK = range(5)
SHAPES = {  # with B 32, S 48 and P 7
    "input_ids": ((32, 48), np.int32),
    "attention_mask": ((32, 48), np.int32),
    "token_type_ids": ((32, 48), np.int32),
    "masked_lm_positions": ((32, 7), np.int32),
    "masked_lm_ids": ((32, 7), np.int32),
    "masked_lm_weights": ((32, 7), np.float32),
    "next_sentence_labels": ((32,), np.int32),
    "next_sentence_weights": ((32,), np.float32),
}
SETTINGS = {"batch_size": 32, "max_seq_length": 48, "max_predictions": 7, "seed": 3}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """About 900 documents for training and 100 held out, in about 20 shards each."""
    text = make_text(1000, seed=4)
    return PreparedCorpus(make_prepared(tmp_path_factory.mktemp("corpus"), text, held_out=0.1, shard_megabytes=0.007))


def refused(text):
    return pytest.raises(InputError, match=re.escape(text))


def make(corpus, **options):
    return PretrainingBatches(corpus, **SETTINGS | options)


def epoch_of(batches, epoch=0):
    return [batches.batch(epoch, position) for position in range(batches.batches_per_epoch(epoch))]


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        np.testing.assert_array_equal(array, other[name], name)


def documents_of(corpus, split="train"):
    """The tokens of each document as a string of space-separated ids, framed by spaces."""
    found = []
    for entry in corpus.shards(split):
        shard = corpus.open(entry)
        ends = shard.sentence_offsets[shard.document_offsets]
        found += [" " + " ".join(map(str, shard.tokens[a:b])) + " " for a, b in itertools.pairwise(ends)]
    return found


def as_text(ids):
    return " " + " ".join(map(str, ids)) + " "


def unmasked(batch):
    """input_ids before masking, by what the labels say."""
    ids = batch["input_ids"].copy()
    rows, slots = np.nonzero(batch["masked_lm_weights"])
    ids[rows, batch["masked_lm_positions"][rows, slots]] = batch["masked_lm_ids"][rows, slots]
    return ids


# What stands where


@pytest.mark.parametrize("masking", ["token", "whole_word"])
def test_pairs(corpus, masking):
    """[CLS] A [SEP] B [SEP] [PAD] …; A and B are of the documents that the label says (their first words tell them
    apart: with label 1 no document holds the two in a row)."""
    documents = documents_of(corpus)
    batches = make(corpus, masking=masking)
    for batch in epoch_of(batches)[:4]:
        assert {name: (array.shape, array.dtype) for name, array in batch.items()} == SHAPES
        ids = unmasked(batch)
        for row in range(32):
            length = batch["attention_mask"][row].sum()
            assert batch["attention_mask"][row].tolist() == [1] * length + [0] * (48 - length)
            assert ids[row, length:].tolist() == [PAD] * (48 - length)
            real = ids[row, :length].tolist()
            assert real[0] == CLS
            assert real[-1] == SEP
            assert real.count(SEP) == 2
            assert not {PAD, CLS, MASK} & set(real[1:])
            middle = real.index(SEP) + 1
            assert batch["token_type_ids"][row].tolist() == [0] * middle + [1] * (length - middle) + [0] * (48 - length)
            a, b = as_text(real[1 : middle - 1]), as_text(real[middle:-1])
            assert any(a in document for document in documents)
            assert any(b in document for document in documents)
            if length < 48:
                together = any(a + b[1:] in document for document in documents)
                assert together or batch["next_sentence_labels"][row] == 1
        assert (batch["next_sentence_weights"] == 1).all()
        assert set(batch["next_sentence_labels"].tolist()) == {0, 1}


def test_random_pairs_come_from_two_documents(tmp_path):
    """Each document has a word of its own in every sentence: the two words differ exactly in pairs with label 1."""
    names = ["cat", "dog", "mat", "rain", "night"]
    text = "\n\n".join("\n".join(f"{name} {'far ' * count}{name} ." for count in range(12)) for name in names)
    corpus = PreparedCorpus(make_prepared(tmp_path, text, held_out=0))
    ids = {IDS[name] for name in names}
    seen = 0
    for epoch in range(20):
        for batch in epoch_of(make(corpus, batch_size=4), epoch):
            for row, label, kinds in zip(
                unmasked(batch), batch["next_sentence_labels"], batch["token_type_ids"], strict=True
            ):
                a, b = ids & set(row[kinds == 0].tolist()), ids & set(row[kinds == 1].tolist())
                if a and b:
                    assert len(a) == len(b) == 1
                    assert (a != b) == (label == 1)
                    seen += 1
    assert seen > 150


def test_predictions(corpus):
    """round(0.15 · n) of the n tokens that are neither special nor unknown, at least 1, at most 7; of them 80 % are
    [MASK] (4-sigma bounds); nothing else is changed."""
    masks = predictions = 0
    for batch in epoch_of(make(corpus)):
        ids = unmasked(batch)
        ordinary = (ids >= 5).sum(axis=1)
        expected = np.where(ordinary > 0, np.clip(np.rint(0.15 * ordinary), 1, 7), 0)
        weights = batch["masked_lm_weights"]
        assert weights.sum(axis=1).tolist() == expected.tolist()
        assert (batch["masked_lm_ids"][weights == 1] >= 5).all()
        assert not batch["masked_lm_ids"][weights == 0].any()
        positions = batch["masked_lm_positions"]
        assert ((np.diff(positions, axis=1) > 0) | (weights[:, 1:] == 0)).all()
        changed = batch["input_ids"] != ids
        rows, slots = np.nonzero(weights)
        after = batch["input_ids"][rows, positions[rows, slots]]
        changed[rows, positions[rows, slots]] = False
        assert not changed.any()
        assert ((after == MASK) | (after >= 5)).all()
        masks += (after == MASK).sum()
        predictions += len(after)
    assert predictions > 3000
    assert abs(masks - 0.8 * predictions) < 4 * np.sqrt(predictions * 0.16)


@pytest.mark.parametrize("masking", ["whole_word", "ngram", "span"])
def test_whole_words(corpus, masking):
    """A "##" piece is predicted exactly if the piece before it is."""
    continuing = np.array([token.startswith("##") for token in TOKENS])
    pieces = 0
    for batch in epoch_of(make(corpus, masking=masking)):
        ids = unmasked(batch)
        predicted = np.zeros(ids.shape, bool)
        rows, slots = np.nonzero(batch["masked_lm_weights"])
        predicted[rows, batch["masked_lm_positions"][rows, slots]] = True
        goes_on = continuing[ids[:, 1:]] & (ids[:, :-1] >= 5)
        assert (predicted[:, 1:] == predicted[:, :-1])[goes_on].all()
        pieces += (predicted[:, 1:] & goes_on).sum()
    assert pieces > 100


def test_full_sentences(corpus):
    """Without NSP: [CLS] piece [SEP] piece … [SEP]; the pieces are of documents, all in segment 0, labels weigh
    nothing, and an epoch holds each token once but for the sequences of the incomplete batch."""
    documents = documents_of(corpus)
    batches = make(corpus, nsp=False, batch_size=8)
    epoch = epoch_of(batches)
    for batch in epoch[:5]:
        assert not batch["token_type_ids"].any()
        assert not batch["next_sentence_weights"].any()
        for row in unmasked(batch):
            real = row[: np.flatnonzero(row == SEP)[-1] + 1].tolist()
            assert real[0] == CLS
            for part in as_text(real[1:-1]).split(f" {SEP} "):
                assert any(f" {part.strip()} " in document for document in documents)
    tokens = sum((unmasked(batch) >= 5).sum() + (unmasked(batch) == UNK).sum() for batch in epoch)
    total = corpus.manifest["train"]["tokens"]
    assert total - 8 * 46 < tokens <= total


def test_one_corpus_serves_two_lengths(corpus):
    """The longest pairs of an epoch fill each length: documents have up to about 100 tokens."""
    for length in (24, 64):
        used = [batch["attention_mask"].sum(axis=1).max() for batch in epoch_of(make(corpus, max_seq_length=length))]
        assert max(used) == length


# Order


def test_readers_share_a_batch(corpus):
    whole = make(corpus)
    readers = [make(corpus, reader=reader, num_readers=4) for reader in range(4)]
    for epoch, position in ((0, 0), (0, 3), (1, 2)):
        parts = [reader.batch(epoch, position) for reader in readers]
        assert len(parts[0]["input_ids"]) == 8
        assert_equal(
            {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, whole.batch(epoch, position)
        )
    assert readers[3].batches_per_epoch(1) == whole.batches_per_epoch(1)


def test_any_batch_on_its_own(corpus):
    """A fresh object, asked for the last batch first, gives what another gave in order."""
    in_order = epoch_of(make(corpus), 1)
    fresh = make(corpus)
    for position in reversed(range(len(in_order))):
        assert_equal(fresh.batch(1, position), in_order[position])


def test_masks_follow_the_place_in_the_epoch(corpus):
    """A sequence has the same masks in batches of another size."""
    small, large = make(corpus, batch_size=8), make(corpus)
    parts = [small.batch(0, 4 + part) for part in range(4)]
    assert_equal({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, large.batch(0, 1))


def test_epochs_and_seeds_differ(corpus):
    batches = make(corpus)
    first = batches.batch(0, 0)
    for other in (batches.batch(1, 0), batches.batch(0, 1), make(corpus, seed=4).batch(0, 0)):
        for name in ("input_ids", "masked_lm_positions", "next_sentence_labels"):
            assert not np.array_equal(first[name], other[name])


def test_iteration_goes_on_where_it_stopped(corpus):
    """Three epochs in a row, and from every place that was told: the same batches follow."""
    batches = make(corpus)
    sizes = [batches.batches_per_epoch(epoch) for epoch in range(3)]
    expected = [(epoch, position) for epoch in range(3) for position in range(sizes[epoch])]
    told = []
    stream = batches.iterate()
    for (epoch, position), (next_epoch, next_position, batch) in zip(expected, stream, strict=False):
        assert_equal(batch, batches.batch(epoch, position))
        told.append((next_epoch, next_position))
    stream.close()
    assert told == [*expected[1:], (3, 0)]
    for start in (1, sizes[0] - 1, sizes[0] + 1):
        stream = make(corpus).iterate(*expected[start])
        assert_equal(next(stream)[2], batches.batch(*expected[start]))
        stream.close()
    stream = make(corpus).iterate(0, sizes[0])  # past the end of an epoch: the next one
    assert_equal(next(stream)[2], batches.batch(1, 0))
    stream.close()


def test_incomplete_batches(corpus):
    """The training split leaves out fewer than a batch; the held-out split fills up with rows that weigh nothing."""
    rows = sum(batch["input_ids"].shape[0] for batch in epoch_of(make(corpus, batch_size=1)))
    assert rows % 32
    assert make(corpus).batches_per_epoch(0) == rows // 32

    held_out = {"split": "held_out", "seed": 0}
    rows = len(epoch_of(make(corpus, batch_size=1, **held_out)))
    assert rows % 32
    epoch = epoch_of(make(corpus, **held_out))
    assert len(epoch) == -(-rows // 32)
    last = epoch[-1]
    filled = rows % 32
    assert last["next_sentence_weights"].tolist() == [1.0] * filled + [0.0] * (32 - filled)
    for name in ("input_ids", "attention_mask", "token_type_ids", "masked_lm_weights", "next_sentence_labels"):
        assert not last[name][filled:].any()
    assert sum(batch["next_sentence_weights"].sum() for batch in epoch) == rows
    one_by_one = [make(corpus, batch_size=1, **held_out).batch(0, row) for row in range(rows)]
    together = {name: np.concatenate([row[name] for row in one_by_one]) for name in last}
    assert_equal({name: np.concatenate([batch[name] for batch in epoch])[:rows] for name in last}, together)


def test_held_out_text_is_held_out(corpus):
    """Whole documents of the held-out split are in no training sequence."""
    training = documents_of(corpus)
    for document in documents_of(corpus, "held_out"):
        assert not any(document in other for other in training)
    batch = make(corpus, split="held_out").batch(0, 0)
    held_out = documents_of(corpus, "held_out")
    row, kinds = unmasked(batch)[0], batch["token_type_ids"][0]
    middle = int(np.flatnonzero(kinds)[0])
    assert any(as_text(row[1 : middle - 1]) in document for document in held_out)


# Windows


def test_windows_bound_memory_and_lose_nothing(corpus):
    """With windows of a quarter of the corpus: the sequences of an epoch hold each token once (full sentences); batches
    cross from window to window; readers and restarts still agree; the next epoch puts other shards together."""
    tokens = corpus.manifest["train"]["tokens"]
    options = {"nsp": False, "window_tokens": tokens // 4 + 1}
    batches = make(corpus, **options)
    assert batches._num_windows == 4
    rows = epoch_of(make(corpus, batch_size=1, **options))
    assert sum((unmasked(row) >= 5).sum() + (unmasked(row) == UNK).sum() for row in rows) == tokens
    for position in (0, batches.batches_per_epoch(0) - 1, batches.batches_per_epoch(0) // 4):
        together = {
            name: np.concatenate([row[name] for row in rows[32 * position : 32 * position + 32]]) for name in rows[0]
        }
        assert_equal(make(corpus, **options).batch(0, position), together)
    assert len(batches._windows) == 2
    counts = [batches._count(epoch, 0) for epoch in range(4)]
    assert len(set(counts)) > 1
    pairs = make(corpus, window_tokens=tokens // 4 + 1)
    half = make(corpus, window_tokens=tokens // 4 + 1, reader=1, num_readers=2)
    position = pairs.batches_per_epoch(2) - 1
    assert_equal(half.batch(2, position), {name: array[16:] for name, array in pairs.batch(2, position).items()})


# Bad input


def test_settings_that_cannot_be(corpus):
    for options, text in (
        ({"max_seq_length": 7}, "max_seq_length must be from 8 to 32767, not 7"),
        ({"max_seq_length": 2**15}, "max_seq_length must be from 8 to 32767, not 32768"),
        ({"max_predictions": 0}, "max_predictions must be from 1 to max_seq_length - 3 = 45, not 0"),
        ({"max_predictions": 46}, "max_predictions must be from 1 to max_seq_length - 3 = 45, not 46"),
        (
            {"masked_lm_prob": 0},
            "masked_lm_prob must lie between 0 and 1 and short_seq_prob from 0 to 1, not 0 and 0.1",
        ),
        (
            {"short_seq_prob": 2},
            "masked_lm_prob must lie between 0 and 1 and short_seq_prob from 0 to 1, not 0.15 and 2",
        ),
        ({"num_readers": 3}, "batch_size 32 must be a multiple of num_readers 3, and reader 0 below it"),
        ({"reader": 2, "num_readers": 2}, "batch_size 32 must be a multiple of num_readers 2, and reader 2 below it"),
        ({"batch_size": 0}, "batch_size 0 must be a multiple of num_readers 1, and reader 0 below it"),
        ({"seed": -1}, "seed must be 0 or more, not -1"),
        ({"masking": "words"}, "masking must be one of token, whole_word, ngram, span, not 'words'"),
        ({"split": "test"}, "split must be train or held_out, not 'test'"),
    ):
        with refused(text):
            make(corpus, **options)
    make(corpus, max_seq_length=8, max_predictions=5).batch(0, 0)


def test_too_little_text(tmp_path):
    corpus = PreparedCorpus(make_prepared(tmp_path, "the cat sat .\non the mat .\n\nall rain fell\n", held_out=0))
    with refused(f"{corpus.path} has no document in its split held_out: prepare it with a larger --held-out"):
        make(corpus, split="held_out")
    batches = make(corpus)
    message = re.compile(rf"{corpus.path} gives \d sequences an epoch in its split train, fewer than the 32 of a batch")
    with pytest.raises(InputError, match=message):
        batches.batches_per_epoch(0)
    with pytest.raises(InputError, match=message):
        next(batches.iterate())
    assert make(corpus, batch_size=1).batches_per_epoch(0) >= 2
    with pytest.raises(IndexError, match=r"epoch 0 has \d batches, and no batch 99"):
        make(corpus, batch_size=1).batch(0, 99)


def test_one_document(tmp_path):
    corpus = PreparedCorpus(make_prepared(tmp_path, "the cat sat .\non the mat .\nall rain fell\n", held_out=0))
    with refused(
        "next sentence prediction needs two different documents at least: separate documents with blank lines"
    ):
        make(corpus, batch_size=1).batches_per_epoch(0)
    assert make(corpus, batch_size=1, nsp=False).batches_per_epoch(0) == 1


# Prefetching


def test_prefetch_keeps_order_and_stays_ahead_by_its_depth():
    made = []

    def items():
        for number in range(10):
            made.append(number)
            yield number

    stream = prefetch(items(), 3)
    assert next(stream) == 0
    time.sleep(0.3)
    assert len(made) <= 5  # one used, three ahead, one in the thread's hand
    assert list(stream) == list(range(1, 10))
    assert made == list(range(10))


def test_prefetch_raises_where_the_item_would_have_come():
    def items():
        yield 1
        yield 2
        raise InputError("broken")

    stream = prefetch(items(), 5)
    assert [next(stream), next(stream)] == [1, 2]
    with refused("broken"):
        next(stream)


def test_prefetch_ends_its_thread():
    stream = prefetch(itertools.count(), 2)
    assert next(stream) == 0
    assert any(thread.name == "prefetch" for thread in threading.enumerate())
    stream.close()
    assert not any(thread.name == "prefetch" for thread in threading.enumerate())
