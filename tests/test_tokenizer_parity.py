"""BertTokenizer against the `tokenizers` package, which is the reference: ids, types and offsets are equal.

Here on a vocabulary trained on the spot and a part of Unicode; benchmarks/tokenizer_parity.py has the published
vocabularies and all of Unicode. A character outside the vocabulary hides what becomes of it, so the character table is
also compared by itself, as text.
"""

import random

import pytest
from tokenizers import BertWordPieceTokenizer

from benchmarks.tokenizer_parity import (
    ALL_SETTINGS,
    character_differences,
    differences,
    random_text,
    random_texts,
    tokenizer_pair,
)
from bert_tf import BertTokenizer
from bert_tf.characters import read_unicode_table
from bert_tf.model_inputs import truncate_longest_first

STAYING_MARKS = "\u302e\u302f\u1b44\U0001d165\U0001d16d\u08d4"  # sorted by class, then not dropped


@pytest.fixture(scope="module")
def vocab_file(tmp_path_factory):
    """A vocabulary of random texts in many scripts: all their frequent characters and many pieces."""
    path = tmp_path_factory.mktemp("vocabulary")
    trained = BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    texts = [*random_texts(3000, seed=7), *random_texts(500, seed=8)]
    texts += [text.lower() for text in texts]
    trained.train_from_iterator(texts, vocab_size=12_000, min_frequency=1, limit_alphabet=8_000, show_progress=False)
    tokens = sorted(trained.get_vocab(), key=trained.get_vocab().get)
    marks = [prefix + mark for mark in STAYING_MARKS for prefix in ("", "##")]
    pieces = [f"##{first}{second}" for first in STAYING_MARKS for second in STAYING_MARKS]
    tokens += [token for token in marks + pieces if token not in set(tokens)]
    (path / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    return path / "vocab.txt"


@pytest.mark.parametrize("settings", ALL_SETTINGS, ids=lambda settings: "-".join(map(str, settings.values())))
def test_random_texts(vocab_file, settings):
    ours, theirs = tokenizer_pair(vocab_file, settings)
    texts = random_texts(1500, seed=3)
    different, tokens = differences(ours, theirs, texts)
    assert [texts[index] for index in different] == []
    assert tokens > 10_000


def test_random_pairs(vocab_file):
    ours, theirs = tokenizer_pair(vocab_file, ALL_SETTINGS[0])
    texts, pairs = random_texts(300, seed=4), random_texts(300, seed=5)
    for max_length in (3, 4, 7, 16, 33, None):
        assert differences(ours, theirs, texts, pairs, max_length)[0] == []


def test_sorting_of_marks(vocab_file):
    """Random runs of marks that are sorted, dropped or kept; the vocabulary knows them, so the ids tell the order."""
    source = random.Random(6)
    marks = STAYING_MARKS + "\u0301\u0323\u0345\u0334\u093f\u0f39\u0344\U0001d15e\U0001d160\u00e9\u200d"
    texts = ["".join(source.choice("ab" + 3 * marks) for _ in range(source.randint(1, 12))) for _ in range(2000)]
    for settings in ({"do_lower_case": True, "strip_accents": None}, {"do_lower_case": False, "strip_accents": False}):
        ours, theirs = tokenizer_pair(vocab_file, {**settings, "tokenize_chinese_chars": True})
        assert [texts[index] for index in differences(ours, theirs, texts)[0]] == []


@pytest.mark.parametrize("settings", ALL_SETTINGS, ids=lambda settings: "-".join(map(str, settings.values())))
def test_characters(settings):
    """All characters with a property of their own (but 6 of 7 ideographs and private ones), and every 50th other."""
    table = read_unicode_table()
    special = set(table.decomposition.keys.tolist()) | set(table.lowercase.keys.tolist())
    codes = [
        code
        for code in range(0x110000)
        if not 0xD800 <= code <= 0xDFFF
        and (code % 50 == 0 or code in special or (table.properties[code] and (code < 0x3400 or code % 7 == 0)))
    ]
    assert character_differences(settings, codes) == []


def test_truncation_rule():
    """Every pair of lengths and every room up to 9, against `tokenizers`."""
    theirs = BertWordPieceTokenizer({"[UNK]": 0, "[SEP]": 1, "[CLS]": 2, "x": 3})
    for room in range(10):
        theirs.enable_truncation(room + 3)
        for first in range(10):
            for second in range(10):
                types = theirs.encode(" x" * first, " x" * second).type_ids
                # Type 0 holds [CLS], the first text and [SEP]; type 1 the second text and [SEP].
                expected = (types.count(0) - 2, types.count(1) - 1)
                assert tuple(int(n) for n in truncate_longest_first(first, second, room)) == expected


@pytest.mark.parametrize("clean", [False, True])
def test_decoding(vocab_file, clean):
    theirs = BertWordPieceTokenizer(str(vocab_file))
    ours = BertTokenizer(vocab_file)
    source = random.Random(9)
    for _ in range(300):
        ids = [source.randrange(ours.vocab_size) for _ in range(source.randint(0, 12))]
        assert ours.decode(ids, skip_special_tokens=clean) == theirs.decode(ids, skip_special_tokens=clean)
    text = "don't they're , say . do not ! we 've 's ' m"
    ids = theirs.encode(text).ids
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=False)


def test_random_texts_are_what_the_checks_need():
    texts = [random_text(random.Random(seed)) for seed in range(400)]
    words = [word for text in texts for word in text.split()]
    assert any(90 <= len(word) <= 100 for word in words)
    assert any(len(word) > 100 for word in words)
    assert any("[MASK]" in text for text in texts)
