"""Batches for pretraining, each a pure function of (seed, epoch, position): any batch can be made on its own.

An epoch puts the shards in a random order, makes windows of about `WINDOW_TOKENS` tokens out of them, plans the
sequences of each window (segments.py) and shuffles them inside it; so memory is bounded whatever the corpus. Random
numbers come from Philox counters keyed by (seed, epoch, purpose, window), and for masking by the place of the sequence
in the epoch (NumPy's Generator methods may change between its feature releases: a resumed run keeps its NumPy).
"""

import collections
import threading

import numpy as np

from bert_tf.errors import InputError
from pretraining.masking import MASKINGS, bits_per_row, mask_batch
from pretraining.prefetch import prefetch
from pretraining.segments import plan_full_sentences, plan_pairs
from pretraining.windows import make_window

WINDOW_TOKENS = 2**25
ORDER, PLAN, MASKS = range(3)  # purposes of random numbers


class PretrainingBatches:
    """The sequences of a prepared corpus, paired and masked anew in every epoch.

    A batch is a dictionary of NumPy arrays (B = batch_size / num_readers, S = max_seq_length, P = max_predictions):

        input_ids               int32 (B, S)    [CLS] A [SEP] B [SEP] [PAD] …, masked
        attention_mask          int32 (B, S)    1 for tokens, 0 for [PAD]
        token_type_ids          int32 (B, S)    0 for [CLS] A [SEP] and [PAD], 1 for B [SEP]
        masked_lm_positions     int32 (B, P)    ascending; 0 in unused slots
        masked_lm_ids           int32 (B, P)    what stood there; 0 in unused slots
        masked_lm_weights       float32 (B, P)  1; 0 in unused slots
        next_sentence_labels    int32 (B,)      0 = B follows A, 1 = random
        next_sentence_weights   float32 (B,)    1; 0 in rows that fill up the last batch, and everywhere without NSP

    An epoch of the training split drops its last, incomplete batch (another epoch leaves out others); an epoch of the
    held-out split fills it up with rows of padding and weights 0. Epoch 0 of one seed is a fixed masked set.

    Args:
        corpus: `PreparedCorpus`.
        split: "train" or "held_out".
        batch_size: sequences in a batch, of all readers together.
        max_seq_length, max_predictions: the fixed shapes S and P.
        masked_lm_prob: share of the tokens to predict.
        masking: what is masked together: "token", "whole_word", "ngram" or "span" (masking.py).
        nsp: sentence pairs; False packs full sentences.
        short_seq_prob: share of shorter pairs (ignored without NSP).
        seed: a non-negative integer.
        reader, num_readers: this reader makes rows reader · B to (reader + 1) · B of each batch.
        window_tokens: about how many tokens are shuffled together in memory.

    Raises:
        InputError: a value out of its range, a split without documents, an epoch without a whole batch.
    """

    def __init__(
        self,
        corpus,
        split="train",
        *,
        batch_size,
        max_seq_length=128,
        max_predictions=20,
        masked_lm_prob=0.15,
        masking="token",
        nsp=True,
        short_seq_prob=0.1,
        seed=0,
        reader=0,
        num_readers=1,
        window_tokens=WINDOW_TOKENS,
    ):
        if not 8 <= max_seq_length < 2**15:
            raise InputError(f"max_seq_length must be from 8 to {2**15 - 1}, not {max_seq_length}")
        if not 1 <= max_predictions <= max_seq_length - 3:
            raise InputError(
                f"max_predictions must be from 1 to max_seq_length - 3 = {max_seq_length - 3}, not {max_predictions}"
            )
        if not 0 < masked_lm_prob < 1 or not 0 <= short_seq_prob <= 1:
            raise InputError(
                "masked_lm_prob must lie between 0 and 1 and short_seq_prob from 0 to 1, not "
                f"{masked_lm_prob} and {short_seq_prob}"
            )
        if batch_size < 1 or num_readers < 1 or batch_size % num_readers or not 0 <= reader < num_readers:
            raise InputError(
                f"batch_size {batch_size} must be a multiple of num_readers {num_readers}, and reader {reader} below it"
            )
        if masking not in MASKINGS:
            raise InputError(f"masking must be one of {', '.join(MASKINGS)}, not {masking!r}")
        if seed < 0:
            raise InputError(f"seed must be 0 or more, not {seed}")
        if split not in ("train", "held_out"):
            raise InputError(f"split must be train or held_out, not {split!r}")
        self._entries = corpus.shards(split)
        if not self._entries:
            raise InputError(f"{corpus.path} has no document in its split {split}: prepare it with a larger --held-out")
        self._corpus, self._split = corpus, split
        self._needed = batch_size if split == "train" else 1  # sequences that make a batch
        self._batch_size, self._length, self._predictions = batch_size, max_seq_length, max_predictions
        self._masked_lm_prob, self._masking, self._nsp = masked_lm_prob, masking, nsp
        self._short_seq_prob, self._seed = short_seq_prob, seed
        self._reader, self._reader_rows = reader, batch_size // num_readers
        self._tokenizer = corpus.tokenizer
        self._continuations = self._tokenizer.continuations()
        special = self._tokenizer.special_ids
        self._ordinary_ids = np.setdiff1d(np.arange(corpus.vocab_size, dtype=np.int32), special)
        tokens = sum(entry["tokens"] for entry in self._entries)
        self._num_windows = min(max(1, -(-tokens // window_tokens)), len(self._entries))
        self._windows = collections.OrderedDict()  # (epoch, index) -> (window, plan): the last two in use
        self._sequences = {}  # (epoch, index) -> number of sequences
        self._lock = threading.Lock()

    # ------------------------------------------------------------------------------------------------------- access

    def batches_per_epoch(self, epoch=0):
        """How many batches epoch `epoch` has. In a corpus of several windows this plans each of them once."""
        sequences = sum(self._count(epoch, index) for index in range(self._num_windows))
        if sequences < self._needed:
            raise InputError(
                f"{self._corpus.path} gives {sequences} sequences an epoch in its split {self._split}, fewer than the "
                f"{self._needed} of a batch: add text or make batches smaller"
            )
        return (sequences - self._needed) // self._batch_size + 1

    def batch(self, epoch, position):
        """Batch `position` of epoch `epoch`: a dictionary of arrays, see the class.

        Raises:
            IndexError: the epoch has fewer batches.
        """
        if not self._has_batch(epoch, position):
            raise IndexError(f"epoch {epoch} has {self.batches_per_epoch(epoch)} batches, and no batch {position}")
        first = position * self._batch_size + self._reader * self._reader_rows
        return self._make(epoch, first, self._reader_rows)

    def fixed_set(self, limit=None):
        """Yields the batches of epoch 0, at most `limit`: one masked set for every model, and for its baselines."""
        count = self.batches_per_epoch(0)
        for position in range(min(limit or count, count)):
            yield self.batch(0, position)

    def iterate(self, epoch=0, position=0, ahead=2):
        """Yields (epoch, position, batch) without end: a batch, and the place of the batch that comes after it.

        Starting again from that place goes on as if there had been no stop. A thread makes `ahead` batches ahead.
        """
        return prefetch(self._in_order(epoch, position), ahead)

    def _in_order(self, epoch, position):
        while True:
            if self._has_batch(epoch, position):
                batch = self.batch(epoch, position)
                position += 1
                yield (*((epoch, position) if self._has_batch(epoch, position) else (epoch + 1, 0)), batch)
            else:
                if position == 0:
                    self.batches_per_epoch(epoch)  # raises: the epoch has no batch
                epoch, position = epoch + 1, 0

    def _has_batch(self, epoch, position):
        return self._locate(epoch, position * self._batch_size + self._needed - 1) is not None

    # ------------------------------------------------------------------------------------------------------ windows

    def _locate(self, epoch, row):
        """(window, row in it) of a row of the epoch, None past its end; plans no window that comes after it."""
        for index in range(self._num_windows):
            count = self._count(epoch, index)
            if row < count:
                return index, row
            row -= count
        return None

    def _count(self, epoch, index):
        if (epoch, index) not in self._sequences:
            self._window(epoch, index)
        return self._sequences[epoch, index]

    def _window(self, epoch, index):
        """The window and its plan."""
        with self._lock:
            key = (epoch, index)
            if key in self._windows:
                self._windows.move_to_end(key)
                return self._windows[key]
            while len(self._windows) > 1:
                self._windows.popitem(last=False)
            order = np.random.Generator(self._philox(epoch, ORDER, 0)).permutation(len(self._entries))
            mine = np.array_split(order, self._num_windows)[index]
            shards = [self._corpus.open(self._entries[shard]) for shard in mine]
            generator = np.random.Generator(self._philox(epoch, PLAN, index))
            if self._nsp:
                window = make_window(shards, self._length - 3, self._continuations)
                plan = plan_pairs(window, self._length, self._short_seq_prob, generator)
            else:
                window = make_window(shards, self._length - 2, self._continuations)
                plan = plan_full_sentences(window, self._length, generator)
            self._sequences[key] = len(plan)
            self._windows[key] = window, plan
            return window, plan

    def _philox(self, epoch, purpose, index):
        return np.random.Philox(np.random.SeedSequence((self._seed, epoch, purpose, index)))

    # ------------------------------------------------------------------------------------------------------- arrays

    def _make(self, epoch, first, count):
        """Rows `first` to `first + count` of an epoch; rows past its end are padding."""
        batch = {
            "input_ids": np.full((count, self._length), self._tokenizer.pad_id, np.int32),
            "attention_mask": np.zeros((count, self._length), np.int32),
            "token_type_ids": np.zeros((count, self._length), np.int32),
            "next_sentence_labels": np.zeros(count, np.int32),
            "next_sentence_weights": np.zeros(count, np.float32),
        }
        text = np.zeros((count, self._length), bool)
        done = 0
        while done < count and (located := self._locate(epoch, first + done)):
            index, row = located
            window, plan = self._window(epoch, index)
            taken = min(count - done, len(plan) - row)
            rows = slice(done, done + taken)
            self._assemble(
                window, plan, slice(row, row + taken), {name: a[rows] for name, a in batch.items()}, text[rows]
            )
            done += taken

        ids = batch["input_ids"]
        maskable = text & (ids != self._tokenizer.unk_id)
        words = bits_per_row(self._length, self._predictions)
        bits = self._philox(epoch, MASKS, 0).advance(first * words // 4).random_raw(count * words).reshape(count, words)
        positions, labels, weights = mask_batch(
            ids,
            maskable,
            self._continuations[ids],
            bits,
            masking=self._masking,
            masked_lm_prob=self._masked_lm_prob,
            max_predictions=self._predictions,
            mask_id=self._tokenizer.mask_id,
            ordinary_ids=self._ordinary_ids,
        )
        return batch | {"masked_lm_positions": positions, "masked_lm_ids": labels, "masked_lm_weights": weights}

    def _assemble(self, window, plan, rows, batch, text):
        """Writes sequences `rows` of a plan into the (views of) arrays, all tokens at once."""
        first, last = plan.row_offsets[rows.start], plan.row_offsets[rows.stop]
        lengths = plan.lengths[first:last].astype(np.int64)
        pieces = np.diff(plan.row_offsets[rows.start : rows.stop + 1])
        row = np.repeat(np.arange(len(pieces)), pieces)
        row_first = np.cumsum(pieces) - pieces  # each row's first piece
        before = np.cumsum(lengths + 1) - (lengths + 1)  # tokens and [SEP]s before each piece
        column = 1 + before - before[row_first][row]
        place = row * self._length + column  # of each piece, in the flat batch

        tokens_before = np.cumsum(lengths) - lengths
        token = np.arange(lengths.sum())
        source = token + np.repeat(plan.starts[first:last] - tokens_before, lengths)
        target = token + np.repeat(place - tokens_before, lengths)
        ids = batch["input_ids"].reshape(-1)  # a view: these arrays are contiguous rows
        ids[target] = window.tokens[source]
        ids[place + lengths] = self._tokenizer.sep_id
        batch["input_ids"][:, 0] = self._tokenizer.cls_id
        text.reshape(-1)[target] = True

        used = (column + lengths)[row_first + pieces - 1] + 1
        columns = np.arange(self._length)
        batch["attention_mask"][:] = columns < used[:, None]
        if self._nsp:
            batch["token_type_ids"][:] = (columns >= column[row_first + 1][:, None]) & (columns < used[:, None])
            batch["next_sentence_labels"][:] = plan.labels[rows]
            batch["next_sentence_weights"][:] = 1.0
