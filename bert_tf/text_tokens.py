"""Text to the tokens of a vocabulary: the graph behind `BertTokenizer`, one stage a module.

    special_tokens      finds "[MASK]" and the like in the text as it is
    characters          cleaning, ideographs, accents, lower case, punctuation: one table (vocabulary_tables)
    canonical_order     sorts marks, in the rare texts where that matters
    wordpiece           splits into words, and these into tokens

All texts of a batch are one flat array of code points, so that no op works on a text at a time.
"""

from typing import NamedTuple

import tensorflow as tf

from bert_tf.canonical_order import CanonicalOrder, staying_marks
from bert_tf.characters import normalized_characters, read_unicode_table
from bert_tf.special_tokens import SpecialTokens
from bert_tf.vocabulary_tables import build_tables
from bert_tf.wordpiece import WordPiece


class Tokens(NamedTuple):
    """Tokens of all texts end to end."""

    ids: tf.Tensor  # int32 (tokens,)
    splits: tf.Tensor  # int32 (texts + 1,): those of text i are splits[i] .. splits[i + 1] - 1
    offsets: tf.Tensor | None  # int32 (tokens, 2): begin and end in the text, in code points


class TextTokens(tf.Module):
    """Compiles a vocabulary and its settings.

    Args:
        vocabulary: Vocabulary.
        settings: mapping with do_lower_case, strip_accents, tokenize_chinese_chars and unk_token.
        special_tokens: sequence of tokens of the vocabulary that are found verbatim in a text.
    """

    def __init__(self, vocabulary, settings, special_tokens):
        super().__init__(name="text_tokens")
        lower, strip = settings["do_lower_case"], settings["strip_accents"]
        strip = lower if strip is None else strip
        table = read_unicode_table()
        characters = normalized_characters(
            table, lowercase=lower, strip_accents=strip, space_ideographs=settings["tokenize_chinese_chars"]
        )
        ids = vocabulary.ids
        special_ids = [ids[token] for token in special_tokens]
        tables = build_tables(vocabulary.tokens, special_ids, characters, table, staying_marks(table) & strip)
        self._special_tokens = SpecialTokens(special_tokens)
        self._canonical_order = CanonicalOrder(table) if strip else None
        self._wordpiece = WordPiece(tables, len(vocabulary), ids[settings["unk_token"]])

    def __call__(self, texts, with_offsets):
        """Tokenizes texts, tf.string (texts,), to Tokens."""
        # The line feed behind each text ends its last word, so no word reaches into the next text.
        splits, code_points = tf.raw_ops.UnicodeDecode(
            input=tf.strings.join([texts, "\n"]),
            input_encoding="UTF-8",
            errors="replace",
            replacement_char=0xFFFD,
            replace_control_characters=False,
            Tsplits=tf.int32,
        )
        code_points = self._special_tokens.mark(code_points)
        entries = self._wordpiece.entries(code_points)
        if self._canonical_order is None:
            text_splits, source = splits, tf.range(tf.size(code_points))
        else:
            entries, text_splits, source = self._canonical_order.reorder(
                code_points, splits, entries, self._wordpiece.entries
            )
        symbols, symbol_splits = self._wordpiece.symbols(entries)
        pieces = self._wordpiece.pieces(symbols)
        token_splits = tf.searchsorted(pieces.start, tf.gather(symbol_splits, text_splits))
        if not with_offsets:
            return Tokens(pieces.ids, token_splits, None)

        def source_of(symbol):  # place of the code point that a symbol comes from
            return tf.gather(source, tf.searchsorted(symbol_splits, symbol, side="right") - 1)

        last = source_of(pieces.end - 1)
        end = last + self._special_tokens.lengths_at(tf.gather(code_points, last))
        text = tf.searchsorted(token_splits, tf.range(tf.size(pieces.ids)), side="right") - 1
        offsets = tf.stack([source_of(pieces.start), end], 1) - tf.gather(splits, text)[:, None]
        return Tokens(pieces.ids, token_splits, offsets)
