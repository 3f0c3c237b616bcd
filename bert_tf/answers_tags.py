"""The answer of an exported tagger: the words of a text with their labels, and the entities that they make up."""

import numpy as np
import tensorflow as tf

from bert_tf.characters import PUNCTUATION, REMOVED, SPACE, read_unicode_table
from bert_tf.tags import begins_entity, split_tag
from bert_tf.text_spans import by_text, code_points_of, cut_spans


class TagAnswers:
    """Words, labels and entities.

    A word is what stands between white space, without the punctuation at its ends, each mark of which is a word of
    its own; its label is that of its first piece, as in training (Devlin et al. 2018, section 5.3). A text longer than
    the model reads becomes overlapping windows, and each word is read where it has most context. An entity begins
    where `bert_tf.tags` says; a label that is no tag of entities ("NOUN") is an entity of one word, except "O".

    Args:
        labels: the C names in the order of the logits.

    Returns, for B texts of at most W words and E entities; places are code points of the text:
        words, word_labels               (B, W) string, "" where a text has fewer words
        word_starts, word_ends           (B, W) int32, 0 and 0 there
        word_probabilities               (B, W) float32, of the label; 0 there
        entities, entity_labels          (B, E) string, "" where a text has fewer entities
        entity_starts, entity_ends       (B, E) int32
        entity_probabilities             (B, E) float32, that of its least certain word
    """

    task = "tagging"
    inputs = ("text",)

    def __init__(self, labels):
        self.labels = tuple(labels)
        tags = [split_tag(label) or ("S", label) for label in self.labels]
        self._kinds = [kind or "" for _, kind in tags]
        self._outside = [prefix == "O" for prefix, _ in tags]
        # [label before, or C at the beginning of a text; label]
        self._begins = np.array([[begins_entity(before, tag) for tag in tags] for before in [*tags, ("O", None)]])
        properties = read_unicode_table().properties
        self._spaces = np.flatnonzero(properties & (SPACE | REMOVED) == SPACE).astype(np.int32)
        self._marks = np.flatnonzero(properties & PUNCTUATION).astype(np.int32)

    def card(self):
        return {"task": self.task, "labels": list(self.labels)}

    def rows(self, tokenizer, texts, max_length):
        rows = tokenizer.windows(texts[0], max_length=max_length, stride=(max_length - 1) // 2)
        return rows | {"texts": texts[0]}

    def __call__(self, outputs, rows):
        best = rows["best_here"]
        logits = tf.boolean_mask(tf.cast(outputs["logits"], tf.float32), best)  # (T, C), the tokens of all texts
        text = tf.boolean_mask(tf.broadcast_to(rows["text"][:, None], tf.shape(best)), best)  # (T,)
        offsets = tf.boolean_mask(rows["offset_mapping"], best)  # (T, 2)
        first = self._first_pieces(rows["texts"], text, offsets)  # (T,) bool

        place = tf.where(first)[:, 0]  # of each word its first piece
        last = tf.concat([place[1:], tf.shape(first, tf.int64)], 0) - 1
        last = last[: tf.size(place)]
        text = tf.gather(text, place)
        probabilities = tf.gather(tf.nn.softmax(logits), place)  # (K, C)
        label = tf.argmax(probabilities, -1, tf.int32)
        start, end = tf.gather(offsets[:, 0], place), tf.gather(offsets[:, 1], last)
        probability = tf.reduce_max(probabilities, -1)
        words = (text, tf.gather(tf.constant(self.labels), label), start, end, probability)
        names = ("words", "word_labels", "word_starts", "word_ends", "word_probabilities")
        answers = _padded(names, rows["texts"], *words)
        names = ("entities", "entity_labels", "entity_starts", "entity_ends", "entity_probabilities")
        return answers | _padded(names, rows["texts"], *self._entities(text, label, start, end, probability))

    def _first_pieces(self, texts, text, offsets):
        """(T,) bool, whether a word begins at a token: behind white space, and around the marks at the ends of what
        stands between white space. The characters of the text decide, not the tokens: between those of one word may
        stand what the tokenizer drops (a soft hyphen, an accent), and a mark may be an unknown token."""
        splits, code_points = code_points_of(texts)
        start, end = tf.unstack(tf.gather(splits, text)[:, None] + offsets, axis=1)  # of a token in all texts
        is_mark = (end - start == 1) & _among(tf.gather(code_points, start), self._marks)  # "[MASK]" is none
        spaces = tf.cumsum(tf.cast(_among(code_points, self._spaces), tf.int32))
        spaces = tf.concat([[0], spaces], 0)  # how many stand before a code point
        place = tf.range(tf.size(text))
        gap = (text[1:] != text[:-1]) | (tf.gather(spaces, start[1:]) > tf.gather(spaces, end[:-1]))
        gap = tf.concat([tf.ones([1], tf.bool), gap], 0)[: tf.size(text)]
        run = tf.cumsum(tf.cast(gap, tf.int32)) - 1  # the number of the stretch between white space
        runs = tf.reduce_sum(tf.cast(gap, tf.int32))
        # Its first and its last token that is no mark; a stretch of marks alone has its end as the first.
        first = tf.math.unsorted_segment_min(tf.where(is_mark, tf.size(text), place), run, runs)
        last = tf.math.unsorted_segment_max(tf.where(is_mark, -1, place), run, runs)
        return gap | (place <= tf.gather(first, run)) | (place > tf.gather(last, run))

    def _entities(self, text, label, start, end, probability):
        """(text, kind, start, end, probability) of the entities, by those of the words, (K,) each."""
        new_text = tf.concat([tf.ones([1], tf.bool), text[1:] != text[:-1]], 0)[: tf.size(text)]
        before = tf.where(new_text, len(self.labels), tf.roll(label, 1, 0))
        begins = tf.gather_nd(tf.constant(self._begins), tf.stack([before, label], 1))
        number = tf.cumsum(tf.cast(begins, tf.int32)) - 1  # of the entity of each word, where it is in one
        inside = ~tf.gather(tf.constant(self._outside), label)
        number, count = tf.boolean_mask(number, inside), tf.reduce_sum(tf.cast(begins, tf.int32))
        return (
            tf.boolean_mask(text, begins),
            tf.gather(tf.constant(self._kinds), tf.boolean_mask(label, begins)),
            tf.boolean_mask(start, begins),
            tf.math.unsorted_segment_max(tf.boolean_mask(end, inside), number, count),
            tf.math.unsorted_segment_min(tf.boolean_mask(probability, inside), number, count),
        )


def _among(code_points, sorted_ones):
    """Whether each code point is one of the sorted ones."""
    place = tf.minimum(tf.searchsorted(sorted_ones, code_points), len(sorted_ones) - 1)
    return tf.gather(sorted_ones, place) == code_points


def _padded(names, texts, text, label, start, end, probability):
    """The five outputs of words or of entities, a row a text."""
    count = tf.size(texts)
    values = (cut_spans(texts, text, start, end), label, start, end, probability)
    defaults = ("", "", 0, 0, 0.0)
    return {name: by_text(v, text, count, d) for name, v, d in zip(names, values, defaults, strict=True)}
