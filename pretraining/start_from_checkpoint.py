"""Pretraining that goes on from a checkpoint, on a corpus whose vocabulary may have grown.

A corpus that was prepared with the tokenizer of the checkpoint fits as it is. One prepared with a tokenizer that has
more tokens behind the same ones (`bert-tf extend-vocabulary` makes it) gives the model as many more word vectors.
"""

from tokenizers.models import WordPiece

from bert_tf.config import BertConfig
from bert_tf.errors import InputError
from bert_tf.foreign_tokenizers import has_vocabulary, read_tokenizer
from bert_tf.vocabulary_extension import append_words
from pretraining.tokenizer_directory import MAX_WORD_CHARACTERS


def configuration(checkpoint, corpus):
    """The `BertConfig` of a checkpoint, with room for every token of the corpus.

    Raises:
        InputError: a corpus that was prepared with another vocabulary.
    """
    config = BertConfig.from_dict(checkpoint.values, source=str(checkpoint.config_path))
    shared_tokens(checkpoint.config_path.parent, config, corpus)
    return config.replace(vocab_size=max(config.vocab_size, corpus.vocab_size))


def open_model(model_class, checkpoint, corpus, **options):
    """The model of a checkpoint, a fresh head where it has none; added tokens begin as the mean of their pieces.

    Args:
        options: as for `from_pretrained`.
    """
    model = model_class.from_pretrained(checkpoint, allow_missing_head=True, **options)
    tokens = shared_tokens(checkpoint.config_path.parent, model.config, corpus)
    added = corpus.tokenizer.tokens[len(tokens) :]
    if not added:
        return model
    unknown = corpus.tokenizer.tokens[corpus.tokenizer.unk_id]
    ids = {token: index for index, token in enumerate(tokens)}
    wordpiece = WordPiece(ids, unk_token=unknown, max_input_chars_per_word=MAX_WORD_CHARACTERS)
    return append_words(model, len(tokens), [[piece.id for piece in wordpiece.tokenize(word)] for word in added])


def shared_tokens(folder, config, corpus):
    """The tokens of the model in `folder`, which are the first of the corpus.

    Raises:
        InputError: a corpus that was prepared with another vocabulary.
    """
    tokens = corpus.tokenizer.tokens
    if not has_vocabulary(folder):  # then only the numbers can be compared
        if config.vocab_size != corpus.vocab_size:
            raise InputError(
                f"{folder} has a vocabulary of {config.vocab_size:,} tokens and {corpus.path} was prepared with "
                f"{corpus.vocab_size:,}; prepare the corpus with the tokenizer of the model"
            )
        return tokens
    old = read_tokenizer(folder).vocabulary.tokens
    if tokens[: len(old)] != old:
        place = next((index for index, pair in enumerate(zip(old, tokens, strict=False)) if len(set(pair)) > 1), None)
        difference = (
            f"{corpus.path} has only the first {len(tokens):,} tokens of {folder}"
            if place is None
            else f"token {place} is {old[place]!r} in {folder} and {tokens[place]!r} in {corpus.path}"
        )
        raise InputError(
            f"{difference}; prepare the corpus with the tokenizer of the model, or with one that adds words behind it"
        )
    return old
