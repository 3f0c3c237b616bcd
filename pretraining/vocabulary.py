"""Training a WordPiece vocabulary with the Rust `tokenizers` package, so that the same text gives the same file.

Its `WordPieceTrainer` joins pairs by frequency (byte-pair encoding written with "##"). It numbers the single characters
in the order of a randomly seeded hash map and breaks ties between equal pairs by those numbers, so that two runs on the
same text give different vocabularies. Here the characters, alone and as "##" pieces, are counted and numbered before
the training; then two runs agree token for token.
"""

from collections import Counter

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from bert_tf.errors import InputError
from pretraining.corpus import document_digest, in_share
from pretraining.inputs import find_inputs
from pretraining.places import place
from pretraining.tokenizer_directory import (
    SPECIAL_TOKENS,
    VOCABULARY,
    bert_normalizer,
    read_tokenizer_directory,
    write_tokenizer_directory,
)


def train_vocabulary(make_texts, vocab_size, settings, alphabet=1000, min_frequency=2, unused=0):
    """Trains a vocabulary.

    The order of ids is: [PAD] [UNK] [CLS] [SEP] [MASK] (0 to 4), [unused0] and so on, the characters in the order of
    their code points, their "##" pieces, then the longer pieces in the order in which they were joined.

    Args:
        make_texts: a function without arguments that gives a fresh iterator of texts; it is called twice.
        vocab_size: the largest size; a small corpus may give a smaller vocabulary.
        settings: `do_lower_case`, `strip_accents`, `tokenize_chinese_chars`, as in `tokenizer_config.json`.
        alphabet: only that many characters, the most frequent, get a token; the others become [UNK].
        min_frequency: a pair of pieces is joined only if it occurs at least so often.
        unused: reserved tokens, for words added later.

    Returns:
        the list of tokens in the order of ids.

    Raises:
        InputError: no text, a value out of its range, or a `vocab_size` that does not hold the reserved tokens and the
            characters.
    """
    for name, value, least in (("alphabet", alphabet, 1), ("min_frequency", min_frequency, 1), ("unused", unused, 0)):
        if value < least:
            raise InputError(f"{name} must be at least {least}, not {value}")
    tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL_TOKENS["unk_token"]))
    tokenizer.normalizer = bert_normalizer(settings)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    characters, continuing = _alphabet(make_texts(), tokenizer, alphabet)
    reserved = [*SPECIAL_TOKENS.values(), *(f"[unused{index}]" for index in range(unused))]
    first = [*reserved, *characters, *("##" + character for character in continuing)]
    if not characters:
        raise InputError("the texts hold no word to train a vocabulary on")
    if len(first) > vocab_size:
        raise InputError(
            f"a vocabulary of {vocab_size} tokens cannot hold {len(reserved)} reserved tokens, {len(characters)} "
            f"characters and {len(continuing)} ## pieces of them: ask for at least {len(first)}, or a smaller alphabet"
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=first,  # numbered before the training, in this order
        initial_alphabet=characters,
        limit_alphabet=len(characters),
        show_progress=False,
    )
    tokenizer.train_from_iterator(make_texts(), trainer)
    vocabulary = tokenizer.get_vocab()
    return sorted(vocabulary, key=vocabulary.get)


def _alphabet(texts, tokenizer, alphabet_size):
    """The most frequent characters (equal counts by code point), and those of them that occur inside a word."""
    words = Counter()
    for text in texts:
        for line in text.split("\n"):
            words.update(line.split(" "))
    everywhere, inside = Counter(), set()
    for chunk, count in words.items():
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(chunk)):
            inside.update(word[1:])
            for character in word:
                everywhere[character] += count
    frequent = sorted(everywhere, key=lambda character: (-everywhere[character], character))[:alphabet_size]
    return sorted(frequent), sorted(inside.intersection(frequent))


def make_vocabulary(inputs, output, settings, model_max_length, share=1.0, field="text", **options):
    """Trains on `inputs` and writes the tokenizer directory; returns the tokens.

    Args:
        inputs, field: see inputs.py.
        output: a path or URL.
        share: train on this share of the documents, chosen by the hash of their text: memory and time grow with the
            number of different words, and 100 MB of text are enough for most vocabularies.
        options: `vocab_size`, `alphabet`, … of train_vocabulary.

    Raises:
        InputError: see inputs.py and train_vocabulary; `output` holds another tokenizer.
    """
    if not 0 < share <= 1:
        raise InputError(f"share must be above 0 and at most 1, not {share}")
    if model_max_length < 1:
        raise InputError(f"max_length must be at least 1, not {model_max_length}")
    found, _ = find_inputs(inputs, field)

    def texts():
        for one in found:
            for document in one.documents():
                if share == 1 or in_share(document_digest(document)[8:], share):
                    yield document

    tokens = train_vocabulary(texts, settings=settings, **options)
    if (place(output) / VOCABULARY).exists():
        there = read_tokenizer_directory(output)
        if there.tokens != tuple(tokens) or there.settings != settings:
            raise InputError(f"{output} holds another vocabulary or other settings: choose another output directory")
    write_tokenizer_directory(output, tokens, settings, model_max_length)
    return tokens
