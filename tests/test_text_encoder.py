"""The encoder gives the ids of `tokenizers` for any text, whatever its table of words holds."""

import random

import numpy as np
import pytest
from tokenizers import BertWordPieceTokenizer

from pretraining.text_encoder import KEY_BYTES, LONG_WORD_BYTES, TextEncoder, _keys, _words, _WordTable
from pretraining.tokenizer_directory import read_tokenizer_directory
from tests.small_corpus import IDS, make_tokenizer


def ids_of_each(encoder, sentences):
    ids, lengths = encoder(sentences)
    assert ids.dtype == encoder.dtype
    assert lengths.dtype == np.int32
    return [part.tolist() for part in np.split(ids, np.cumsum(lengths))[:-1]]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return read_tokenizer_directory(make_tokenizer(tmp_path_factory.mktemp("t") / "t"))


def test_sentences_to_ids(directory):
    """ "catted" is cat ##t ##ed, "§" is unknown; control characters and a zero-width space are nothing."""
    first = ["the", "cat", "##t", "##ed", ".", "rain", "##ing", ",", "[UNK]", "z", "##o", "##o"]
    sentences = ["The  catted.RAINING, §zoo ", "", "\x00 \u200b ", "cat"]
    expected = [[IDS[token] for token in first], [], [], [IDS["cat"]]]
    encoder = TextEncoder(directory)
    assert ids_of_each(encoder, sentences) == expected
    assert ids_of_each(encoder, sentences) == expected  # now out of the table
    assert ids_of_each(encoder, []) == []
    assert ids_of_each(encoder, ["", " "]) == [[], []]


def test_special_tokens_in_the_text_are_text(directory):
    """ "[SEP]" is "[" (unknown here), "s", "##e", "##p", "]" (unknown), and "[PAD]" likewise."""
    expected = ["[UNK]", "s", "##e", "##p", "[UNK]", "[UNK]", "p", "##a", "##d", "[UNK]"]
    assert ids_of_each(TextEncoder(directory), ["[SEP][PAD]"]) == [[IDS[token] for token in expected]]


@pytest.mark.parametrize("settings", [{}, {"do_lower_case": False}, {"strip_accents": False}, {"capacity": 64}])
def test_equal_to_the_library_on_any_text(tmp_path, settings):
    """Words looked up together give the ids of each text on its own; a small table fills up and changes nothing.

    The oracle finds special tokens in the text, so that brackets are left out of the alphabet.
    """
    capacity = {"capacity": settings.pop("capacity")} if "capacity" in settings else {}
    folder = make_tokenizer(tmp_path / "t", **settings)
    oracle = BertWordPieceTokenizer(
        str(folder / "vocab.txt"),
        lowercase=settings.get("do_lower_case", True),
        strip_accents=settings.get("strip_accents"),
    )
    encoder = TextEncoder(read_tokenizer_directory(folder), **capacity)
    alphabet = [chr(code) for code in range(0x180) if chr(code) not in "[]\n"]
    alphabet += [
        *"catonmat" * 8,
        *"CATON" * 4,
        *" .,'-" * 12,
        *"\u0301\u0338\u200d\u2028\u3000\xa0\ufffdΣς中한ﬁİß≠🙂\u0345",
    ]
    draw = random.Random(0)
    texts = ["".join(draw.choice(alphabet) for _ in range(draw.randint(0, 40))) for _ in range(5000)]
    texts += ["a" * length for length in range(120)] + ["é" * length for length in range(60)]
    expected = [oracle.encode(text, add_special_tokens=False).ids for text in texts]
    for batch in (1, 7, 1000, len(texts)):
        for first in range(0, len(texts), batch):
            assert ids_of_each(encoder, texts[first : first + batch]) == expected[first : first + batch]


def test_words_of_all_lengths(directory):
    """ "a" * 100 is a word of 100 pieces, "a" * 101 is unknown; some words differ only behind the 15 bytes of a key."""
    words = ["a" * 100, "a" * 101, *("ab" * 7 + end for end in ("a", "b", "ab", "ac", "acd")), "ran", "rain"]
    encoder = TextEncoder(directory)
    for _ in range(2):
        found = ids_of_each(encoder, words)
        assert found[:2] == [[IDS["a"]] + [IDS["##a"]] * 99, [IDS["[UNK]"]]]
        for word, ids in zip(words[2:7], found[2:7], strict=True):
            assert ids == [IDS[word[0]], *(IDS["##" + letter] for letter in word[1:])]
        assert found[7:] == [[IDS["ran"]], [IDS["rain"]]]
    assert KEY_BYTES < LONG_WORD_BYTES


# The table


def test_words_and_their_keys():
    """Bytes "a" "bc" "," "d"; "a\\0" is another word than "a", and words may differ in any of their 15 bytes."""
    text = b"a bc,d"
    kinds = np.array([0, 1, 0, 0, 2, 0])
    begins, ends = _words(kinds)
    assert [text[a:b] for a, b in zip(begins, ends, strict=True)] == [b"a", b"bc", b",", b"d"]
    words = [b"a", b"a\0", b"\0a", b"", *(b"x" * place + b"y" + b"x" * (14 - place) for place in range(15))]
    text = b" ".join(words)
    ends = np.cumsum([len(word) + 1 for word in words]) - 1
    low, high = _keys(text, ends - [len(word) for word in words], ends)
    assert len(set(zip(low.tolist(), high.tolist(), strict=True))) == len(words)
    assert (high != 0).all()
    assert low[0] == ord("a")
    assert high[0] == 2 << 56


def test_table_finds_what_was_put_in():
    """Against a dictionary, filled to half, with keys that differ little; a pair that is not there has -1."""
    draw = np.random.default_rng(0)
    low = np.arange(600, dtype=np.uint64) // np.uint64(3)
    high = (np.arange(600, dtype=np.uint64) % np.uint64(3) + np.uint64(1)) << np.uint64(56)
    order = draw.permutation(600)
    table = _WordTable(1024)
    for part in np.split(order[:512], 8):
        table.insert(low[part], high[part], part)
    assert table.find(low, high)[order[:512]].tolist() == order[:512].tolist()
    assert (table.find(low, high)[order[512:]] == -1).all()
    assert table.find(low[:0], high[:0]).tolist() == []
