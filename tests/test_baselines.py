"""The unigram and bigram baselines against dictionaries and loops, on small texts."""

import collections
import itertools
import math
import re

import numpy as np
import pytest

from bert_tf import InputError
from pretraining.baselines import Bigrams, baselines, unigram_entropy
from pretraining.batches import PretrainingBatches
from pretraining.shards import PreparedCorpus
from tests.small_corpus import IDS, TOKENS, make_prepared, make_text


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """About 160 documents for training in about 4 shards, and 40 held out."""
    folder = tmp_path_factory.mktemp("baselines")
    return PreparedCorpus(make_prepared(folder, make_text(200, seed=5), held_out=0.2, shard_megabytes=0.007))


def documents_of(corpus):
    for entry in corpus.shards("train"):
        shard = corpus.open(entry)
        ends = shard.sentence_offsets[shard.document_offsets]
        yield from (shard.tokens[a:b].tolist() for a, b in itertools.pairwise(ends))


def kneser_ney(documents, size):
    """P(w | l) as a function, from dictionaries; for l that have a successor."""
    pairs = collections.Counter(pair for document in documents for pair in itertools.pairwise(document))
    occurrences = collections.Counter(pairs.values())
    discount = (occurrences[1] + 1) / (occurrences[1] + 2 * occurrences[2] + 2)
    total, after, before = collections.Counter(), collections.Counter(), collections.Counter()
    for (left, word), count in pairs.items():
        total[left] += count
        after[left] += 1
        before[word] += 1

    def probability(word, left):
        seen = max(pairs[left, word] - discount, 0) / total[left]
        return seen + discount * after[left] / total[left] * (before[word] + 1) / (len(pairs) + size)

    return probability, total


def test_bigrams_equal_the_formula(corpus):
    """Every P(w | l), the sum 1 over w, and the first choice; l without a successor is the unigram's."""
    size = len(TOKENS)
    probability, total = kneser_ney(list(documents_of(corpus)), size)
    bigrams = Bigrams(corpus)
    words = np.arange(size)
    unseen = [left for left in range(size) if not total[left]]
    assert {0, 2, 3, 4} <= set(unseen)  # [PAD], [CLS], [SEP], [MASK]
    assert len(total) > 30
    for left in range(size):
        found = bigrams.probabilities(np.full(size, left), words)
        expected = bigrams.unigram if left in unseen else [probability(word, left) for word in range(size)]
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert found.sum() == pytest.approx(1, rel=1e-12)
        assert found[bigrams.first_choices[left]] == found.max()
    counts = np.bincount([token for document in documents_of(corpus) for token in document], minlength=size) + 1.0
    np.testing.assert_allclose(bigrams.unigram, counts / counts.sum(), rtol=1e-12)


def test_no_pair_crosses_documents(tmp_path):
    """ "cat dog a", "cat dog b", … to f: a pair six times and six pairs once, D = (6 + 1) / (6 + 0 + 2) = 7/8, and dog
    follows one word. No letter is followed by the next document's cat: after a letter the unigram is all there is."""
    corpus = PreparedCorpus(make_prepared(tmp_path, "\n\n".join(f"cat dog {x}" for x in "abcdef") + "\n", held_out=0))
    bigrams = Bigrams(corpus)
    cat, dog, letter = (np.array([IDS[word]]) for word in ("cat", "dog", "c"))
    expected = (6 - 7 / 8) / 6 + 7 / 8 * 1 / 6 * (1 + 1) / (7 + len(TOKENS))
    assert bigrams.probabilities(cat, dog)[0] == pytest.approx(expected)
    assert bigrams.probabilities(letter, cat)[0] == pytest.approx((6 + 1) / (18 + len(TOKENS)))
    assert bigrams.first_choices[cat[0]] == dog[0]
    assert bigrams.first_choices[letter[0]] == min(cat[0], dog[0])  # of two equally frequent words the lower id


def test_first_choices_of_words_that_tell_little(tmp_path):
    """ "a the", "b the", … to t, "cat sat", "dog ran", "dog fell": 23 pairs seen once, D = 24/25. After cat, sat has
    1/25 + 24/25 · 2 / (23 + V) = 0.06, and the word that follows most others, "the", 24/25 · 21 / (23 + V) = 0.20. With
    three words after "on", each thrice, their share counts for more, and of equally likely ones the lower id is
    taken."""
    weak = [*(f"{x} the" for x in "abcdefghijklmnopqrst"), "cat sat", "dog ran", "dog fell"]
    strong = [f"{x} on {word}" for word, letters in zip(("mat", "old", "all"), ("uvw", "xyz", "uvw"), strict=True)
              for x in letters]  # fmt: skip
    for texts, left, expected in ((weak, "cat", "the"), (strong, "on", min("mat old all".split(), key=IDS.get))):
        corpus = PreparedCorpus(make_prepared(tmp_path / left, "\n\n".join(texts) + "\n", held_out=0))
        bigrams = Bigrams(corpus)
        assert TOKENS[bigrams.first_choices[IDS[left]]] == expected
        scores = bigrams.probabilities(np.full(len(TOKENS), IDS[left]), np.arange(len(TOKENS)))
        assert np.flatnonzero(scores == scores.max())[0] == IDS[expected]
        assert (scores == scores.max()).sum() == (1 if left == "cat" else 3)


def test_a_sample_takes_as_much_of_each_shard(corpus):
    """With a quarter of the tokens, the pairs are those of each shard's first quarter."""
    entries = corpus.shards("train")
    assert len(entries) >= 3
    total = sum(entry["tokens"] for entry in entries)
    heads = []
    for entry in entries:
        shard = corpus.open(entry)
        kept = shard.tokens[: math.ceil(entry["tokens"] * (total // 4) / total)].tolist()
        ends = [end for end in shard.sentence_offsets[shard.document_offsets].tolist() if end < len(kept)]
        heads += [kept[a:b] for a, b in itertools.pairwise([*ends, len(kept)])]
    probability, known = kneser_ney(heads, len(TOKENS))
    bigrams = Bigrams(corpus, max_tokens=total // 4)
    for left in list(known)[:20]:
        found = bigrams.probabilities(np.full(len(TOKENS), left), np.arange(len(TOKENS)))
        np.testing.assert_allclose(found, [probability(word, left) for word in range(len(TOKENS))], rtol=1e-12)


def test_a_corpus_without_pairs(tmp_path):
    """Documents of one word have no neighbours: the unigram everywhere."""
    corpus = PreparedCorpus(make_prepared(tmp_path, "cat\n\ndog\n\ncat\n", held_out=0))
    bigrams = Bigrams(corpus)
    words = np.arange(len(TOKENS))
    np.testing.assert_array_equal(bigrams.probabilities(np.full(len(TOKENS), IDS["cat"]), words), bigrams.unigram)
    assert set(bigrams.first_choices.tolist()) == {IDS["cat"]}


def test_held_out_documents_without_a_word_to_mask(corpus, monkeypatch):
    """As where none of their words is in the vocabulary."""
    batches = PretrainingBatches(corpus, "held_out", batch_size=8, max_seq_length=48, max_predictions=20)
    batch = batches.batch(0, 0)
    monkeypatch.setattr(batches, "fixed_set", lambda _limit: [batch | {"masked_lm_weights": np.zeros((8, 20))}])
    sentence = f"the held-out documents of {corpus.path} give no word to mask, only unknown ones; prepare it with a "
    with pytest.raises(InputError, match=re.escape(sentence + "larger --held-out, or with a tokenizer that knows")):
        baselines(corpus, batches)


@pytest.mark.parametrize("nsp", [True, False])
def test_figures_on_the_held_out_batches(corpus, nsp):
    """By loops over the masked words: the word to the left is the true one, also where the input shows [MASK] or a
    random word there, and [CLS] or [SEP] at the begin of a segment."""
    batches = PretrainingBatches(
        corpus, "held_out", batch_size=8, max_seq_length=48, max_predictions=20, masked_lm_prob=0.4, nsp=nsp
    )
    found = baselines(corpus, batches, 5)
    probability, total = kneser_ney(list(documents_of(corpus)), len(TOKENS))
    bigrams = Bigrams(corpus)
    loss, unigram_loss, hits, frequent_hits, labels, hidden_lefts = [], [], [], [], [], 0
    for position in range(5):
        batch = batches.batch(0, position)
        for row in range(8):
            text = batch["input_ids"][row].tolist()
            masked = [
                (place, word)
                for place, word, weight in zip(
                    batch["masked_lm_positions"][row],
                    batch["masked_lm_ids"][row],
                    batch["masked_lm_weights"][row],
                    strict=True,
                )
                if weight
            ]
            shown = list(text)
            for place, word in masked:
                text[place] = int(word)
            for place, word in masked:
                left = text[place - 1]
                hidden_lefts += shown[place - 1] != left
                loss.append(-math.log(probability(word, left) if total[left] else bigrams.unigram[word]))
                unigram_loss.append(-math.log(bigrams.unigram[word]))
                hits.append(bigrams.first_choices[left] == word)
                frequent_hits.append(word == np.argmax(bigrams.unigram))
            if batch["next_sentence_weights"][row]:
                labels.append(batch["next_sentence_labels"][row])
    assert hidden_lefts > 30
    expected = {
        "unigram_mlm_loss": np.mean(unigram_loss),
        "most_frequent_mlm_accuracy": np.mean(frequent_hits),
        "bigram_mlm_loss": np.mean(loss),
        "bigram_mlm_accuracy": np.mean(hits),
    }
    if nsp:
        expected["most_frequent_nsp_accuracy"] = max(np.mean(labels), 1 - np.mean(labels))
    assert found == pytest.approx(expected)


def test_text_that_a_bigram_model_knows(tmp_path):
    """ "cat sat on mat rain fell" over and over: the word to the left tells the next one but at a sentence's begin,
    where the full stop does; six words and the stop are equally frequent, ln 7 = 1.946 nats."""
    text = "\n\n".join("\n".join(["cat sat on mat rain fell ."] * count) for count in range(3, 60))
    corpus = PreparedCorpus(make_prepared(tmp_path, text + "\n", held_out=0.3))
    batches = PretrainingBatches(corpus, "held_out", batch_size=8, max_seq_length=48, max_predictions=7, nsp=False)
    found = baselines(corpus, batches)
    assert found["unigram_mlm_loss"] == pytest.approx(math.log(7), abs=0.05)
    assert found["bigram_mlm_loss"] < 0.15  # the first words of sequences have no word to the left
    assert found["bigram_mlm_accuracy"] > 0.95
    assert found["most_frequent_mlm_accuracy"] < 0.25


def test_unigram_entropy():
    """Shares 1/4, 1/4, 1/2: 2 · 1/4 · ln 4 + 1/2 · ln 2 = 1.5 ln 2; a word that never occurs adds nothing."""
    assert unigram_entropy([1, 1, 2, 0]) == pytest.approx(1.5 * math.log(2))
