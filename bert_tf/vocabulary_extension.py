"""More words for a pretrained model: its vocabulary extended, every old id and vector left as it is.

A new word begins where its pieces stood: its vector is the mean of theirs, and so is its bias in the masked language
model head, so that at first its score is, at every place, the mean of the scores of its pieces. New words are appended.
The [unused] tokens of the published vocabularies stay as they are: to write over them would save a few rows, and give
an id that other people's files hold another meaning.
"""

from pathlib import Path

import numpy as np

from bert_tf.characters import normalized_characters, read_unicode_table
from bert_tf.checkpoint_values import canonical_name
from bert_tf.errors import InputError

_WORD_VECTORS, _BIAS = "bert.embeddings.word_embeddings.weight", "cls.predictions.bias"


def resize_token_embeddings(model, vocab_size):
    """A model of the same class with another number of word vectors; what both have is bitwise the same.

    Args:
        model: a model of this package, with any head; it is not changed.
        vocab_size: int. Rows beyond the model's own get fresh vectors and the bias 0; a smaller number drops rows.

    Raises:
        InputError: a vocab_size that no configuration can have.
    """
    config = model.config.replace(vocab_size=vocab_size)
    resized = type(model).from_config(model.get_config() | {"config": config.to_dict()})
    tensors, fresh = _tensors(model), _tensors(resized)
    for name in _with_a_row_a_token(tensors):
        kept = tensors[name][:vocab_size]
        tensors[name] = np.concatenate([kept, fresh[name][len(kept) :]])
    resized.load_tensors(tensors, model.name)
    return resized


def append_words(model, first, pieces):
    """A model with one more word for each of `pieces`, whose vector and bias are the mean of theirs.

    Args:
        model: a model of this package, with any head; it is not changed.
        first: the id of the first new word. Word vectors that the model has there already are overwritten.
        pieces: for each new word, in the order of their ids, the ids that it is made of, all below `first`.
    """
    resized = resize_token_embeddings(model, max(model.config.vocab_size, first + len(pieces)))
    tensors = _tensors(resized)
    for name in _with_a_row_a_token(tensors):
        for index, ids in enumerate(pieces, first):
            tensors[name][index] = tensors[name][ids].mean(axis=0, dtype=np.float64)
    resized.load_tensors(tensors, model.name)
    return resized


def read_words(path):
    """The words of a text file with a word a line; empty lines are passed over.

    Raises:
        InputError: no such file, or one that is not UTF-8.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}; expected a text file with a word a line") from None
    return [line.strip() for line in lines if line.strip()]


def extend_vocabulary(model, tokenizer, words):
    """Adds words, each of which becomes one token.

    A word is added as the tokenizer reads it, in lower case and without accents if its settings say so. A word that is
    a token already stays that token. A word with a character that the vocabulary lacks was read as the unknown token,
    and begins as that one does.

    Args:
        model: a model of this package, with any head; it is not changed, and neither is the tokenizer.
        tokenizer: the `BertTokenizer` with its vocabulary. Word vectors that the model has beyond it are overwritten.
        words: a list of str.

    Returns:
        (model, tokenizer): new ones, in which every old id is the same token with the same vector.

    Raises:
        InputError: a vocabulary that is larger than the model's, or a word that the tokenizer does not read as one.
    """
    first = tokenizer.vocab_size
    if first > model.config.vocab_size:
        raise InputError(
            f"the vocabulary has {first} tokens and the model {model.config.vocab_size} word vectors; take the "
            "vocabulary that the model was trained with"
        )
    spellings = _spellings(words, tokenizer.settings)
    new = {}
    for word, spelling in spellings.items():
        if spelling and tokenizer.token_to_id(spelling) is None:
            new.setdefault(spelling, word)
    extended = type(tokenizer)([*tokenizer.vocab, *new], **tokenizer.settings)
    for word, tokens in zip(spellings, extended.tokenize(list(spellings)).to_list(), strict=True):
        if tokens != [spellings[word].encode()]:
            reading = " ".join(token.decode() for token in tokens) or "nothing"
            raise InputError(f"the tokenizer reads {word!r} as {reading}, not as one word; give single words")

    batch = {key: values.numpy() for key, values in tokenizer(list(new.values())).items()}
    lengths = batch["attention_mask"].sum(axis=1)
    pieces = [row[1 : length - 1] for row, length in zip(batch["input_ids"], lengths, strict=True)]  # no [CLS], [SEP]
    return append_words(model, first, pieces), extended


def _spellings(words, settings):
    """{word: the word as it stands in a vocabulary with these settings}."""
    strip_accents = settings["do_lower_case"] if settings["strip_accents"] is None else settings["strip_accents"]
    characters = normalized_characters(
        read_unicode_table(),
        lowercase=settings["do_lower_case"],
        strip_accents=strip_accents,
        space_ideographs=settings["tokenize_chinese_chars"],
    )
    spellings = {}
    for word in words:
        codes = [ord(character) for character in word]
        begin, end = (np.searchsorted(characters.code, codes, side) for side in ("left", "right"))
        spelt = [characters.character[slice(*ends)] for ends in zip(begin, end, strict=True)]
        spellings[word] = "".join(chr(code) for part in spelt for code in part)
    return spellings


def _tensors(model):
    """{canonical name: array}, of every tensor of a model."""
    return {canonical_name(name): place.read() for name, place in model.weight_table().items()}


def _with_a_row_a_token(tensors):
    return [name for name in (_WORD_VECTORS, _BIAS) if name in tensors]
