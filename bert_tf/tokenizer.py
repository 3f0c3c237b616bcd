"""BERT's tokenizer as a graph of core TensorFlow ops: eager, in `tf.data`, in a `tf.function`, in a SavedModel.

It gives the ids of Hugging Face's `BertTokenizerFast` (package `tokenizers`), which follow Google's tokenization.py.
Text becomes tokens in `text_tokens`, tokens become rows with [CLS] and [SEP] in `model_inputs`, and text again in
`detokenizer`. Files: `tokenizer_files`.
"""

import functools
import os
import types

import numpy as np
import tensorflow as tf

from bert_tf.detokenizer import detokenize
from bert_tf.errors import InputError
from bert_tf.foreign_tokenizers import read_tokenizer
from bert_tf.model_inputs import model_inputs
from bert_tf.text_tokens import TextTokens
from bert_tf.text_windows import cut_tokens, text_windows
from bert_tf.tokenizer_files import DEFAULTS, SPECIAL_TOKENS, checked_settings, write_tokenizer_files
from bert_tf.vocabulary import Vocabulary


class BertTokenizer(tf.Module):
    """Text to token ids and back.

    Args:
        vocab: list of tokens in the order of their ids, or the path of a vocab.txt.
        do_lower_case: bool, lower-case the text.
        strip_accents: bool, decompose the text and drop accents; None means: if do_lower_case.
        tokenize_chinese_chars: bool, make each CJK ideograph a word.
        unk_token, sep_token, pad_token, cls_token, mask_token: str, the special tokens; all must be in the vocabulary.
        additional_special_tokens: further tokens of the vocabulary to be found verbatim in a text.
        model_max_length: int, the longest row the model reads: the width of `padding="max_length"` without max_length.
        clean_up_tokenization_spaces: bool, let `decode` take out spaces before punctuation, as `transformers` does.

    Raises:
        InputError: an unusable vocabulary (`bert_tf.vocabulary`), one without a special token.

    Attributes:
        vocab: tuple of tokens; vocab_size, their number.
        unk_token, sep_token, pad_token, cls_token, mask_token, and the same with `_id`: each special token and its id.
        all_special_tokens, all_special_ids: tuples, the five and the additional ones.
        settings: read-only mapping of the arguments above but vocab.
    """

    def __init__(
        self,
        vocab,
        *,
        do_lower_case=True,
        strip_accents=None,
        tokenize_chinese_chars=True,
        unk_token="[UNK]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        mask_token="[MASK]",
        additional_special_tokens=(),
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    ):
        super().__init__(name="bert_tokenizer")
        settings = {
            "do_lower_case": do_lower_case,
            "strip_accents": strip_accents,
            "tokenize_chinese_chars": tokenize_chinese_chars,
            "unk_token": unk_token,
            "sep_token": sep_token,
            "pad_token": pad_token,
            "cls_token": cls_token,
            "mask_token": mask_token,
            "additional_special_tokens": additional_special_tokens,
            "model_max_length": model_max_length,
            "clean_up_tokenization_spaces": clean_up_tokenization_spaces,
        }
        settings = DEFAULTS | checked_settings(settings, "BertTokenizer")
        self._vocabulary = vocab if isinstance(vocab, Vocabulary) else _read_vocabulary(vocab)
        self.settings = types.MappingProxyType(settings)  # a dict would become a part of a SavedModel
        self.model_max_length = settings["model_max_length"]
        special_ids = {}
        for role in SPECIAL_TOKENS:
            setattr(self, role, settings[role])
            setattr(self, f"{role}_id", self._vocabulary.id_of(settings[role], role))
            special_ids[settings[role]] = getattr(self, f"{role}_id")
        for token in settings["additional_special_tokens"]:
            special_ids[token] = self._vocabulary.id_of(token, "additional special token")
        self.all_special_tokens, self.all_special_ids = tuple(special_ids), tuple(special_ids.values())

        self._text_tokens = TextTokens(self._vocabulary, settings, self.all_special_tokens)
        self._token_strings = tf.constant(self.vocab)
        # In a namespace, where a SavedModel does not find them: it keeps the graphs that it calls, no others.
        compiled = functools.partial(tf.function, autograph=False, reduce_retracing=True)
        self._graphs = types.SimpleNamespace(encode=compiled(self._encode), tokenize=compiled(self._tokenize))

    @classmethod
    def from_pretrained(cls, path, **settings):
        """Reads the tokenizer of a model: a directory of Hugging Face's, or what else `bert_tf.checkpoints` can find.

        Args:
            path: the directory; `bert_tf.tokenizer_files` says which files and keys are read.
            **settings: settings that take the place of the ones read.

        Raises:
            InputError: no vocabulary, a file that is not JSON, or a setting that this tokenizer cannot honour.
        """
        files = read_tokenizer(path)
        return cls(files.vocabulary, **{**files.settings, **settings})

    def save_pretrained(self, path):
        """Writes vocab.txt and tokenizer_config.json in the folder `path`, as `transformers` reads them."""
        write_tokenizer_files(path, self._vocabulary, self.settings)

    @property
    def vocab(self):
        return self._vocabulary.tokens

    @property
    def vocab_size(self):
        return len(self._vocabulary)

    def token_to_id(self, token):
        """The id of a token, or None if the vocabulary has no such token."""
        return self._vocabulary.ids.get(token)

    @tf.autograph.experimental.do_not_convert
    def __call__(self, texts, text_pairs=None, *, max_length=None, padding="longest", return_offsets=False):
        """Encodes texts as [CLS] A [SEP], or pairs as [CLS] A [SEP] B [SEP].

        Special tokens that are written in a text ("[MASK]") are recognised. Bytes that are not UTF-8 are skipped: each
        faulty sequence reads as U+FFFD, which the cleaning removes.

        Args:
            texts: (batch,) str, a list or a tf.string tensor; a single str, or a scalar tensor, is a batch of one.
            text_pairs: the second texts, as many as the first ones, or None.
            max_length: int, cut rows to this many tokens, special tokens included, taking from the longer text of a
                pair first; None cuts nothing.
            padding: "longest" pads to the longest row of the batch; "max_length" to max_length, or, if that is None,
                cuts and pads to model_max_length.
            return_offsets: add `offset_mapping`.

        Returns:
            dict of int32 tensors (batch, length): `input_ids`; `token_type_ids`, 0 for [CLS] A [SEP] and padding, 1 for
            B [SEP]; `attention_mask`, 1 for tokens and 0 for padding; and `offset_mapping` (batch, length, 2): where
            the token begins and ends in its text, in code points, (0, 0) for added special tokens and padding.

        Raises:
            InputError: texts that are no strings, another number of pairs than of texts, an unknown padding, a
                max_length that leaves no room for the special tokens, or one to pad to that is beyond int32. In a graph
                whose shapes are not known, another number of pairs raises tf.errors.InvalidArgumentError when it runs.
        """
        texts = [_string_vector(texts, "texts")]
        if text_pairs is not None:
            texts.append(_string_vector(text_pairs, "text_pairs"))
            if not texts[0].shape.is_compatible_with(texts[1].shape):
                raise InputError(f"expected as many text_pairs as texts ({texts[0].shape[0]}), got {texts[1].shape[0]}")
        max_length, width = self._lengths(max_length, padding, added=len(texts) + 1)
        # Tensors, so that one graph serves all lengths.
        limits = tf.constant(max_length or tf.int32.max, tf.int32), tf.constant(width or 0, tf.int32)
        batch = self._graphs.encode(texts, *limits, return_offsets)
        for values in batch.values():
            values.set_shape([texts[0].shape[0], width, 2][: values.shape.rank])
        return batch

    def windows(self, texts, questions=None, *, max_length, stride, max_question_length=64):
        """Encodes texts of any length as overlapping rows: [CLS] window [SEP], or [CLS] question [SEP] window [SEP].

        Args:
            texts: (batch,) str, as `__call__` takes them.
            questions: (batch,) str, one to each text, or None.
            max_length: int, tokens of a row, special tokens included.
            stride: int, tokens from the beginning of a window to that of the next.
            max_question_length: int, tokens of a question; longer ones are cut.

        Returns:
            dict of tensors, what `bert_tf.text_windows.text_windows` returns.

        Raises:
            InputError: texts or questions that are no strings, no room for a token of a text, a stride below 1.
        """
        texts = _string_vector(texts, "texts")
        least = 3 if questions is None else 4 + max_question_length
        if max_length < least:
            raise InputError(f"max_length {max_length} leaves no room for the text; give at least {least}")
        if stride < 1:
            raise InputError(f"stride must be at least 1, got {stride}")
        asked = None
        if questions is not None:
            asked = cut_tokens(self._text_tokens(_string_vector(questions, "questions"), False), max_question_length)
        return text_windows(
            self._text_tokens(texts, True),
            asked,
            max_length,
            stride,
            cls_id=self.cls_token_id,
            sep_id=self.sep_token_id,
            pad_id=self.pad_token_id,
        )

    @tf.autograph.experimental.do_not_convert
    def tokenize(self, texts):
        """Tokens of each text as strings, without [CLS] and [SEP]: a tf.RaggedTensor (batch, tokens) of tf.string.

        An unknown word is one `unk_token`. Takes what `__call__` takes.
        """
        return self._graphs.tokenize(_string_vector(texts, "texts"))

    def decode(self, ids, *, skip_special_tokens=False):
        """Text of token ids, as Hugging Face's `decode` puts it together.

        Args:
            ids: (tokens,) or (batch, tokens) int: lists, an array or a tensor.
            skip_special_tokens: leave out all special tokens.

        Returns:
            str, or a list of str for a batch.

        Raises:
            InputError: an id beyond the vocabulary.
        """
        ids = ids.to_list() if isinstance(ids, tf.RaggedTensor) else ids
        ids = ids.numpy() if isinstance(ids, tf.Tensor) else ids
        ids = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
        if ids and not isinstance(ids[0], int | np.integer):
            return [self.decode(row, skip_special_tokens=skip_special_tokens) for row in ids]
        beyond = [index for index in ids if not 0 <= index < self.vocab_size]
        if beyond:
            raise InputError(f"id {beyond[0]} is not in the vocabulary: ids are 0 to {self.vocab_size - 1}")
        skipped = set(self.all_special_ids) if skip_special_tokens else ()
        tokens = [self.vocab[index] for index in ids if index not in skipped]
        return detokenize(tokens, clean_up_spaces=self.settings["clean_up_tokenization_spaces"])

    def _lengths(self, max_length, padding, added):
        """The longest row (None: any) and the shortest (None: any), checked."""
        if padding not in ("longest", "max_length"):
            raise InputError(f'padding must be "longest" or "max_length", got {padding!r}')
        if padding == "max_length" and max_length is None:
            max_length = self.model_max_length
        if max_length is None:
            return None, None
        if isinstance(max_length, bool) or not isinstance(max_length, int | np.integer):
            raise InputError(f"max_length must be an int or None, got {max_length!r}")
        if max_length < added:
            raise InputError(f"max_length {max_length} leaves no room for the {added} special tokens of a row")
        if padding == "longest":
            return min(int(max_length), tf.int32.max), None  # no row is longer
        if max_length > tf.int32.max:
            raise InputError(
                f'padding="max_length" needs a max_length of at most {tf.int32.max}, got {max_length}; give one, or a '
                "tokenizer with a smaller model_max_length"
            )
        return int(max_length), int(max_length)

    def _encode(self, texts, max_length, width, return_offsets):
        """The graph of `__call__`: one or two string vectors, and the arguments of `model_inputs`."""
        if len(texts) == 2:
            same = tf.debugging.assert_equal(*map(tf.size, texts), "expected as many text_pairs as texts")
            with tf.control_dependencies([same]):
                texts = [tf.identity(vector) for vector in texts]
        return model_inputs(
            self._text_tokens(tf.concat(texts, 0), return_offsets),
            len(texts) == 2,
            max_length,
            width,
            cls_id=self.cls_token_id,
            sep_id=self.sep_token_id,
            pad_id=self.pad_token_id,
        )

    def _tokenize(self, texts):
        """The graph of `tokenize`."""
        tokens = self._text_tokens(texts, False)
        strings = tf.gather(self._token_strings, tokens.ids)
        return tf.RaggedTensor.from_row_splits(strings, tokens.splits, validate=False)


def _read_vocabulary(vocab):
    return Vocabulary.read(vocab) if isinstance(vocab, str | os.PathLike) else Vocabulary(vocab)


def _string_vector(texts, name):
    """The texts as a tf.string tensor (batch,)."""
    if isinstance(texts, str | bytes):
        texts = [texts]
    if isinstance(texts, np.ndarray):
        texts = texts.tolist()
    if isinstance(texts, tf.Tensor):
        if texts.dtype != tf.string or texts.shape.rank not in (0, 1):
            raise InputError(f"{name} must be a scalar or a vector of tf.string, got {texts.dtype.name} {texts.shape}")
        return texts[None] if texts.shape.rank == 0 else texts
    if not isinstance(texts, list | tuple):
        raise InputError(f"{name} must be a str, a list of str or a tf.string tensor, got {type(texts).__name__}")
    return tf.constant([_utf8(text, f"{name}[{index}]") for index, text in enumerate(texts)], tf.string, [len(texts)])


def _utf8(text, place):
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise InputError(f"{place} is {text!r}, of type {type(text).__name__}: expected a str")
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"{place} holds a lone surrogate, U+{ord(text[error.start]):04X} at character {error.start}, which is no "
            "character: repair the text where it was decoded"
        ) from None
