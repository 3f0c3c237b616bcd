"""The statistics of what is trained on, over a million tokens of one prepared corpus: all inside 4-sigma bounds.

Every word of document 17 is "d17", some with one or two pieces after it, so that each token tells its document.
"""

import json
import random

import numpy as np
import pytest

from pretraining.batches import PretrainingBatches
from pretraining.masking import MASKINGS
from pretraining.prepare import prepare
from pretraining.shards import PreparedCorpus

DOCUMENTS = 2000
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = ["##x", "##yz"]
TOKENS = [*SPECIAL, *PIECES, *(f"d{number}" for number in range(DOCUMENTS))]
MASK = 4
ORDINARY = len(TOKENS) - len(SPECIAL)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """1.1 M tokens in 2,000 documents of 2 to 60 sentences of 2 to 22 words; a word in 40 is unknown."""
    folder = tmp_path_factory.mktemp("statistics")
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "vocab.txt").write_text("\n".join(TOKENS) + "\n", "utf-8")
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}))
    draw = random.Random(7)
    texts = []
    for number in range(DOCUMENTS):
        words = [f"d{number}", f"d{number}x", f"d{number}xyz", "§"]
        sentences = [
            " ".join(draw.choices(words, (29, 6, 4, 1), k=draw.randint(2, 22))) for _ in range(draw.randint(2, 60))
        ]
        texts.append("\n".join(sentences))
    (folder / "text.txt").write_text("\n\n".join(texts) + "\n", "utf-8")
    prepare([folder / "text.txt"], folder / "tokenizer", folder / "prepared", language=None, held_out=0)
    return PreparedCorpus(folder / "prepared")


def epoch_of(corpus, **options):
    """A whole epoch as one batch: arrays of all its sequences; and input_ids before masking."""
    batches = PretrainingBatches(corpus, **{"batch_size": 64, "seed": 2} | options)
    parts = [batches.batch(0, position) for position in range(batches.batches_per_epoch(0))]
    epoch = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    original = epoch["input_ids"].copy()
    rows, slots = np.nonzero(epoch["masked_lm_weights"])
    original[rows, epoch["masked_lm_positions"][rows, slots]] = epoch["masked_lm_ids"][rows, slots]
    return epoch, original


def within(count, n, share):
    return abs(count - n * share) < 4 * np.sqrt(n * share * (1 - share))


@pytest.mark.parametrize("masking", MASKINGS)
def test_masks(corpus, masking):
    """Of about a million tokens that may be masked 15 % are; of these 80 % are [MASK], 10 % random, 10 % kept (a random
    token is by chance the one that stood there); no special token, [UNK] or [PAD] is touched."""
    epoch, original = epoch_of(corpus, masking=masking, max_predictions=30, nsp=False)
    maskable = original >= len(SPECIAL)
    n = maskable.sum()
    assert n > 950_000
    rows, slots = np.nonzero(epoch["masked_lm_weights"])
    positions = epoch["masked_lm_positions"][rows, slots]
    masked = np.zeros_like(maskable)
    masked[rows, positions] = True
    assert not (masked & ~maskable).any()
    assert not ((epoch["input_ids"] != original) & ~masked).any()
    assert (original == 0).sum() > 1000  # there is padding, and
    assert (original == 1).sum() > 10_000  # [UNK], that could have been masked
    assert within(masked.sum(), n, 0.15)

    before, after = original[masked], epoch["input_ids"][masked]
    # A span has one fate, so that n tokens weigh as n Σt / Σt² draws, t the tokens of a span: of its words, whose
    # Σw² / Σw is 5.5, each with 1.33 tokens on average (these have 10 of 39 words with one piece more, 4 with two).
    draws = masked.sum() if masking != "span" else masked.sum() / (5.5 * 1.4)
    by_chance = 0.1 / ORDINARY
    for count, share in (
        ((after == MASK).sum(), 0.8),
        ((after == before).sum(), 0.1 + by_chance),
        (((after != MASK) & (after != before)).sum(), 0.1 - by_chance),
    ):
        assert within(count / masked.sum() * draws, draws, share)
    assert after.min() >= MASK


def test_next_sentences(corpus):
    """Half of the pairs are random; a random pair is never of one document, and the others always are."""
    epoch, original = epoch_of(corpus)
    words = np.where(original >= len(SPECIAL) + len(PIECES), original, -1)
    first, second = (np.where(epoch["token_type_ids"] == kind, words, -1).max(axis=1) for kind in (0, 1))
    known = (first >= 0) & (second >= 0)  # not a text of unknown words and pieces alone
    assert known.mean() > 0.99
    labels = epoch["next_sentence_labels"]
    assert ((first == second) == (labels == 0))[known].all()
    assert len(labels) > 8000
    assert within(labels.sum(), len(labels), 0.5)
    for kind in (0, 1):  # a segment is of one document
        of_kind = np.where((epoch["token_type_ids"] == kind) & (words >= 0), words, 10**9)
        assert (of_kind.min(axis=1) == (first, second)[kind])[known].all()


@pytest.mark.parametrize(("length", "predictions"), [(128, 20), (512, 77)])
@pytest.mark.parametrize("readers", [2, 8])
def test_readers_cover_both_lengths_without_overlap(corpus, length, predictions, readers):
    """Two and eight hosts, each its rows: together every sequence of the epoch once, at 128 and at 512."""
    shape = {"max_seq_length": length, "max_predictions": predictions, "masking": "span"}
    whole, _ = epoch_of(corpus, **shape)
    assert whole["attention_mask"].sum(axis=1).max() == length
    parts = [epoch_of(corpus, reader=reader, num_readers=readers, **shape)[0] for reader in range(readers)]
    rows = 64 // readers
    for name, array in whole.items():
        together = [part[name].reshape(-1, rows, *array.shape[1:]) for part in parts]
        np.testing.assert_array_equal(np.concatenate(together, axis=1).reshape(array.shape), array, name)
