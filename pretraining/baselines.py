"""What is reached on the held-out words without a model: by word frequencies, and by pairs of neighbouring words.

A learning curve is read against these: at the unigram loss nothing has been learnt but the frequencies of words, and
below the bigram loss the model sees more than the word to the left.
"""

import numpy as np

from bert_tf.errors import InputError

BIGRAM_TOKENS = 20_000_000  # of the training text that are counted: 0.5 GB of memory and some seconds


def baselines(corpus, batches, limit=None):
    """The figures of unigram, bigram and majority class on the same held-out batches as the model's.

    Returns:
        unigram_mlm_loss: cross-entropy in nats of the masked words under the training frequencies (add-one smoothed).
        most_frequent_mlm_accuracy: the share of masked words that are the most frequent training word.
        bigram_mlm_loss: the same of a `Bigrams` model that is told the true word to the left of each masked one, be it
            masked in the input or not: the least loss of a model that sees that word alone.
        bigram_mlm_accuracy: the share of masked words that are that model's first choice.
        most_frequent_nsp_accuracy: the share of the larger NSP class, where there are pairs.

    Raises:
        InputError: no held-out word can be masked.
    """
    bigrams = Bigrams(corpus)
    surprisals = -np.log(bigrams.unigram)
    most_frequent = int(np.argmax(bigrams.unigram))
    loss = hits = bigram_loss = bigram_hits = weight = positives = rows = 0.0
    for batch in batches.fixed_set(limit):
        row, slot = np.nonzero(batch["masked_lm_weights"])
        position, words = batch["masked_lm_positions"][row, slot], batch["masked_lm_ids"][row, slot]
        loss += float(surprisals[words].sum())
        hits += float((words == most_frequent).sum())
        text = batch["input_ids"].copy()
        text[row, position] = words
        left = text[row, position - 1]  # [CLS] stands before the first word
        bigram_loss -= float(np.log(bigrams.probabilities(left, words)).sum())
        bigram_hits += float((words == bigrams.first_choices[left]).sum())
        weight += len(words)
        positives += float((batch["next_sentence_labels"] * batch["next_sentence_weights"]).sum())
        rows += float(batch["next_sentence_weights"].sum())
    if not weight:
        raise InputError(
            f"the held-out documents of {corpus.path} give no word to mask, only unknown ones; prepare it with a "
            "larger --held-out, or with a tokenizer that knows their words"
        )
    figures = {
        "unigram_mlm_loss": loss / weight,
        "most_frequent_mlm_accuracy": hits / weight,
        "bigram_mlm_loss": bigram_loss / weight,
        "bigram_mlm_accuracy": bigram_hits / weight,
    }
    if rows:
        figures["most_frequent_nsp_accuracy"] = max(positives, rows - positives) / rows
    return figures


def unigram_entropy(counts):
    """The entropy of the training words in nats: the loss that a model reaches which knows their frequencies alone.

    >>> round(unigram_entropy([1, 1, 2]), 4) == round(1.5 * np.log(2), 4)
    True
    """
    shares = np.asarray(counts, np.float64)
    shares = shares[shares > 0] / shares.sum()
    return float(-(shares * np.log(shares)).sum())


class Bigrams:
    """Kneser–Ney: counts of neighbouring words, interpolated with how many different words each word follows.

        P(w | l) = max(c(l w) - D, 0) / c(l) + D n(l) / c(l) · (n(w) + 1) / (N + V)

    with c the counts of pairs inside documents, n(l) the different words after l, n(w) those before w, N all different
    pairs, V the vocabulary, and D = n₁ / (n₁ + 2 n₂) from the numbers of pairs seen once and twice (Chen & Goodman
    1999, sections 2.6 and 2.7). After a word that was not seen, [CLS] and [SEP] too: the unigram.

    Attributes:
        unigram: float64 [V], the frequencies in all training text, add-one smoothed.
        first_choices: int64 [V], argmax of P(w | l) for each l; the lower id of equals.

    Args:
        corpus: a `PreparedCorpus`.
        max_tokens: about how many tokens are counted at most: as large a share of each shard, from its beginning.
    """

    def __init__(self, corpus, max_tokens=BIGRAM_TOKENS):
        self._size = size = corpus.vocab_size
        unigram = np.asarray(corpus.unigram_counts, np.float64) + 1.0
        self.unigram = unigram / unigram.sum()
        keys, counts = np.unique(_pairs(corpus, max_tokens), return_counts=True)
        left, word = (part.astype(np.int64) for part in np.divmod(keys, keys.dtype.type(size)))

        once, twice = (counts == 1).sum(), (counts == 2).sum()
        discount = (once + 1) / (once + 2 * twice + 2)  # the ones keep it above 0 where no pair was seen once
        self._total = np.bincount(left, counts, minlength=size)  # c(l)
        seen = np.maximum(self._total, 1.0)
        self._rest = discount * np.bincount(left, minlength=size) / seen  # for all words, after l
        self._continuation = (np.bincount(word, minlength=size) + 1.0) / (len(keys) + size)
        shares = (counts - discount) / seen[left]
        # A last key that no pair has, so that every search finds a place.
        self._keys, self._shares = np.append(keys, np.iinfo(keys.dtype).max), np.append(shares, 0.0)

        # After l: the likeliest of the words seen there, or of all others the one that follows most words.
        self.first_choices = np.where(self._total > 0, np.argmax(self._continuation), np.argmax(self.unigram))
        scores = shares + self._rest[left] * self._continuation[word]
        best = self._rest * self._continuation.max()
        np.maximum.at(best, left, scores)
        chosen = np.flatnonzero(scores == best[left])[::-1]  # the first of equals is written last
        self.first_choices[left[chosen]] = word[chosen]

    def probabilities(self, left, words):
        """P(words | left), int arrays of one shape."""
        keys = _keys(left, words, self._size)
        place = np.searchsorted(self._keys, keys)
        shares = np.where(self._keys[place] == keys, self._shares[place], 0.0)
        interpolated = shares + self._rest[left] * self._continuation[words]
        return np.where(self._total[left] > 0, interpolated, self.unigram[words])


def _keys(left, words, size):
    """left · V + word: uint32 where that holds them and one more, else uint64."""
    dtype = np.uint32 if size < 2**16 else np.uint64
    return left.astype(dtype) * dtype(size) + words.astype(dtype)


def _pairs(corpus, max_tokens):
    """The keys of every two neighbours inside a document."""
    entries = corpus.shards("train")
    part = min(1.0, max_tokens / sum(entry["tokens"] for entry in entries))
    found = []
    for entry in entries:
        shard = corpus.open(entry)
        tokens = shard.tokens[: int(np.ceil(part * len(shard.tokens)))]
        keys = _keys(tokens[:-1], tokens[1:], corpus.vocab_size)
        first_tokens = shard.sentence_offsets[shard.document_offsets[1:-1]]  # of all documents but the first
        found.append(np.delete(keys, first_tokens[first_tokens < len(tokens)] - 1))
    return np.concatenate(found)
