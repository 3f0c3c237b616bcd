"""The plan of an epoch: which stretches of tokens make which training sequence. Nothing is copied or masked here.

`plan_pairs` follows google-research/bert `create_pretraining_data.py`: sentences of a document are taken greedily up to
the target length, a random prefix of them is segment A, B is the rest (label 0) or text of another document (label 1,
and the rest is put back); too long pairs lose tokens of the longer segment, at random at its front or its back. All
documents are walked side by side, one sequence a step, in NumPy.

Where this differs from the original, and why: there a one-sentence chunk always gets a random B, and a B at the end of
a document is short while a random one fills the sequence, so that the lengths of A and B alone tell the label of 70 %
of the pairs of Python docstrings (54 % of Wikipedia's) at length 128; here of 51 % (50 %). So here
- the label is a fair coin for every pair: a chunk has at least two sentences, and a last sentence left alone is split
  between two words (its second part is not put back);
- a random B has the length that the next B would have had. Where that one ends with its document (a `final` pair), the
  random B is the end of another document; else it starts at a random sentence of another document, all sentences being
  equally likely;
- a random B is never of a document with the same tokens;
- a sentence longer than a sequence is first cut into pieces that fit, else most of its tokens would never be seen.

`plan_full_sentences` packs sentences across documents, without NSP: FULL-SENTENCES of Liu et al. 2019 (RoBERTa), 4.2.
"""

import dataclasses

import numpy as np

from bert_tf.errors import InputError
from pretraining.windows import word_start_before

STRETCH_SENTENCES = 1024  # a longer document is walked in stretches of at most so many sentences, to bound the steps
FITTING_DRAWS = 10  # how often a random B is drawn anew because its length does not fit


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sequences as pieces of a window's tokens: [CLS] piece [SEP] piece [SEP] …, in the order of training.

    Attributes:
        starts, lengths: int32 [pieces], a piece's place in the window's tokens.
        row_offsets: int32 [sequences + 1], pieces before each sequence.
        labels: int8 [sequences], next sentence label, 0 = the second piece follows the first, 1 = random.
        unused_tokens: tokens that are in no pair: last sentences left alone that are one word, and the second parts
            of split ones whose B is random.
    """

    starts: np.ndarray
    lengths: np.ndarray
    row_offsets: np.ndarray
    labels: np.ndarray
    unused_tokens: int

    def __len__(self):
        return len(self.labels)


# --------------------------------------------------------------------------------------------------- sentence pairs


def plan_pairs(window, max_seq_length, short_seq_prob, generator):
    """The sequence pairs of a window, shuffled.

    Args:
        window: the documents, sentences cut to at most max_seq_length - 3 tokens.
        max_seq_length: length with [CLS], [SEP], [SEP].
        short_seq_prob: share of the pairs that aim at a random shorter length, uniform from 2.
        generator: `np.random.Generator`; the plan is a function of it and of the window.

    Raises:
        InputError: fewer than two different documents.
    """
    if len(np.unique(window.fingerprints)) < 2:
        raise InputError(
            "next sentence prediction needs two different documents at least: separate documents with blank lines, add "
            "text, or train without NSP"
        )
    room = max_seq_length - 3
    walk, unused_tokens = _walk(window, room, short_seq_prob, generator)
    starts = np.stack([walk["start"], walk["cut"]], axis=1)  # [pairs, 2]: A, B
    lengths = np.stack([walk["cut"] - walk["start"], walk["end"] - walk["cut"]], axis=1)

    for final, draw in ((True, _random_ends), (False, _random_continuations)):
        rows = np.flatnonzero((walk["label"] == 1) & (walk["final"] == final))
        wanted = lengths[rows, 1] if final else walk["target"][rows] - lengths[rows, 0]
        starts[rows, 1], lengths[rows, 1] = draw(window, walk["document"][rows], wanted, walk["alone"][rows], generator)
    _truncate(starts, lengths, room, generator)

    order = generator.permutation(len(starts))
    return Plan(
        starts[order].ravel().astype(np.int32),
        lengths[order].ravel().astype(np.int32),
        np.arange(0, 2 * len(starts) + 1, 2, dtype=np.int32),
        walk["label"][order],
        unused_tokens,
    )


def _walk(window, room, short_seq_prob, generator):
    """Walks all documents side by side; returns columns, one row a pair before truncation, and the unused tokens.

    Columns: document; start, cut, end: A is tokens start to cut, the B that follows is cut to end; target: the length
    aimed at; label; final: the stretch ends at `end`; alone: the pair was one sentence.
    """
    ends = window.sentence_offsets
    document, sentence, limit = _stretches(window.document_offsets)
    steps, unused_tokens = [], 0
    while len(sentence):
        count = len(sentence)
        short = generator.random(count) < short_seq_prob
        target = np.where(short, generator.integers(2, room + 1, count), room)
        alone = limit - sentence == 1
        end_sentence = np.searchsorted(ends, ends[sentence] + target)
        end_sentence = np.clip(end_sentence, np.minimum(sentence + 2, limit), limit)
        cut_sentence = sentence + 1 + _below(generator, np.maximum(end_sentence - sentence - 1, 1))
        label = generator.integers(0, 2, count, dtype=np.int8)

        start, cut, end = ends[sentence], ends[cut_sentence], ends[end_sentence]
        cut[alone] = _split_between_words(window, start[alone], end[alone], generator)
        one_word = cut == start
        unused_tokens += int((end - start)[one_word].sum() + (end - cut)[alone & ~one_word & (label == 1)].sum())
        row = {
            "document": document,
            "start": start,
            "cut": cut,
            "end": end,
            "target": target,
            "label": label,
            "final": end_sentence == limit,
            "alone": alone,
        }
        steps.append({name: column[~one_word] for name, column in row.items()})

        sentence = np.where(label == 1, cut_sentence, end_sentence)
        going_on = sentence < limit
        document, sentence, limit = document[going_on], sentence[going_on], limit[going_on]
    return {name: np.concatenate([step[name] for step in steps]) for name in steps[0]}, unused_tokens


def _stretches(document_offsets):
    """(document, first sentence, end sentence) of each stretch: a whole document, or an even part of a long one."""
    sentences = np.diff(document_offsets)
    parts = -(-sentences // STRETCH_SENTENCES)
    document = np.repeat(np.arange(len(sentences)), parts)
    part = np.arange(len(document)) - (np.cumsum(parts) - parts)[document]
    first, share = document_offsets[document], sentences[document]
    return document, first + share * part // parts[document], first + share * (part + 1) // parts[document]


def _below(generator, limits):
    """A random integer from 0 to below each limit."""
    return (generator.random(len(limits)) * limits).astype(np.int64)


def _split_between_words(window, start, end, generator):
    """A random place between two words strictly inside each range; the range's start where it is one word."""
    drawn = start + 1 + _below(generator, np.maximum(end - start - 1, 1))
    drawn = np.minimum(drawn, end - 1)
    before = word_start_before(window.tokens, window.continuations, drawn, start)
    last = word_start_before(window.tokens, window.continuations, end - 1, start)  # the last place there is
    return np.where(before >= 0, before, np.where(last >= 0, last, start))


# --------------------------------------------------------------------------------------------------------- random B


def _random_continuations(window, document, wanted, _alone, generator):
    """Sentences of another document from a random one on, until they have `wanted` tokens or the document ends."""
    ends, offsets = window.sentence_offsets, window.document_offsets

    def draw(rows):
        own = document[rows]
        own_sentences = offsets[own + 1] - offsets[own]
        sentence = _below(generator, offsets[-1] - own_sentences)
        return sentence + np.where(sentence >= offsets[own], own_sentences, 0)  # every sentence of the others, evenly

    def other(sentence):
        return np.searchsorted(offsets, sentence, "right") - 1

    sentence = _draw_until_fit(
        window, document, draw, other, lambda drawn, rows: ends[offsets[other(drawn) + 1]] - ends[drawn] >= wanted[rows]
    )
    end_sentence = np.searchsorted(ends, ends[sentence] + wanted)
    end_sentence = np.clip(end_sentence, sentence + 1, offsets[other(sentence) + 1])
    return ends[sentence], ends[end_sentence] - ends[sentence]


def _random_ends(window, document, wanted, alone, generator):
    """The end of another document (of a stretch of it), as near to `wanted` tokens as its sentences allow.

    Where the pair was one sentence, split between words, this B starts between words too.
    """
    ends = window.sentence_offsets
    owner, first, limit = _stretches(window.document_offsets)

    def draw(rows):
        return _below(generator, np.full(len(rows), len(owner)))

    def start(stretch, rows):
        ideal = np.maximum(ends[limit[stretch]] - wanted[rows], ends[first[stretch]])
        after = np.clip(np.searchsorted(ends, ideal), first[stretch], limit[stretch] - 1)
        before = np.maximum(after - 1, first[stretch])
        nearest = ends[np.where(ideal - ends[before] < ends[after] - ideal, before, after)]
        between = word_start_before(window.tokens, window.continuations, ideal, ends[first[stretch]] - 1)
        return np.where(alone[rows] & (between >= 0), between, nearest)

    def fits(stretch, rows):
        return np.abs(ends[limit[stretch]] - start(stretch, rows) - wanted[rows]) <= wanted[rows] // 8

    stretch = _draw_until_fit(window, document, draw, lambda drawn: owner[drawn], fits)
    begin = start(stretch, np.arange(len(stretch)))
    return begin, ends[limit[stretch]] - begin


def _draw_until_fit(window, document, draw, other, fits):
    """Draws until no document is drawn for itself or its equal, and up to ten times for a length that fits."""
    rows = np.arange(len(document))
    drawn = draw(rows)
    redraw, attempt = rows, 0
    while len(redraw):
        attempt += 1
        equal = window.fingerprints[other(drawn[redraw])] == window.fingerprints[document[redraw]]
        unfit = equal if attempt > FITTING_DRAWS else equal | ~fits(drawn[redraw], redraw)
        redraw = redraw[unfit]
        drawn[redraw] = draw(redraw)
    return drawn


def _truncate(starts, lengths, room, generator):
    """Takes tokens from the longer piece, each from its front or its back, until the two fit `room`; in place.

    The original takes one token at a time, from B when both are equally long; the result is the same: A keeps
    min(a, max(room - b, ceil(room / 2))) tokens, and what its front loses is binomial.
    """
    over = np.flatnonzero(lengths.sum(axis=1) > room)
    a, b = lengths[over].T
    kept_a = np.minimum(a, np.maximum(room - b, (room + 1) // 2))
    kept = np.stack([kept_a, room - kept_a], axis=1)
    starts[over] += generator.binomial(lengths[over] - kept, 0.5)
    lengths[over] = kept


# ---------------------------------------------------------------------------------------------------- full sentences


def plan_full_sentences(window, max_seq_length, generator):
    """Sequences packed with whole sentences of documents in random order, each document's part closed by [SEP].

    Args: as for plan_pairs; sentences are cut to at most max_seq_length - 2 tokens.
    """
    room = max_seq_length - 2  # [CLS] and the last [SEP]
    order = generator.permutation(len(window.fingerprints))
    counts = np.diff(window.document_offsets)[order]
    first = np.cumsum(counts) - counts  # place of each document's first sentence in the new order
    sentence = np.arange(counts.sum()) + np.repeat(window.document_offsets[order] - first, counts)
    begins = window.sentence_offsets[sentence]
    cost = window.sentence_offsets[sentence + 1] - begins
    cost[first + counts - 1] += 1  # a document's [SEP]
    before = np.concatenate([[0], np.cumsum(cost)])  # tokens and [SEP]s before each sentence
    end = before.copy()
    end[first + counts] -= 1  # where the sequence ends with a document its [SEP] is the last, which room leaves out

    next_row = (np.searchsorted(end, before[:-1] + room, "right") - 1).tolist()
    rows, place = [], 0
    while place < len(sentence):
        rows.append(place)
        place = next_row[place]

    piece = np.union1d(rows, first)
    piece_end = np.append(piece[1:], len(sentence))
    starts = begins[piece]
    lengths = window.sentence_offsets[sentence[piece_end - 1] + 1] - starts
    row_offsets = np.append(np.searchsorted(piece, rows), len(piece))

    shuffled = generator.permutation(len(rows))
    pieces_of = np.diff(row_offsets)[shuffled]
    new_offsets = np.concatenate([[0], np.cumsum(pieces_of)])
    source = np.arange(len(piece)) + np.repeat(row_offsets[:-1][shuffled] - new_offsets[:-1], pieces_of)
    return Plan(
        starts[source].astype(np.int32),
        lengths[source].astype(np.int32),
        new_offsets.astype(np.int32),
        np.zeros(len(rows), np.int8),
        0,
    )
