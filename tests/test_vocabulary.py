"""Vocabularies: a training by hand, the same tokens from the same text, the alphabet, and the command."""

import random
import re
import string

import pytest

from bert_tf import InputError
from pretraining.__main__ import main
from pretraining.corpus import document_digest, in_share
from pretraining.tokenizer_directory import SPECIAL_TOKENS, read_tokenizer_directory
from pretraining.vocabulary import make_vocabulary, train_vocabulary

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
UNCASED = {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}
CASED = UNCASED | {"do_lower_case": False}


def refused(text):
    return pytest.raises(InputError, match=re.escape(text))


def train(texts, vocab_size=1000, settings=UNCASED, **options):
    return train_vocabulary(lambda: iter(texts), vocab_size, settings, **{"min_frequency": 1} | options)


def test_training_by_hand():
    """ "aab" 3 times, "ab" once. Pairs: (a, ##a) 3, (##a, ##b) 3, (a, ##b) 1; the first has the smaller numbers, so
    "aa" comes first, then (aa, ##b) 3 = "aab", then (a, ##b) 1 = "ab"."""
    assert train(["aab aab", "ab aab"]) == [*SPECIAL, "a", "b", "##a", "##b", "aa", "aab", "ab"]
    assert train(["aab aab", "ab aab"], min_frequency=2) == [*SPECIAL, "a", "b", "##a", "##b", "aa", "aab"]
    assert train(["aab aab", "ab aab"], vocab_size=10) == [*SPECIAL, "a", "b", "##a", "##b", "aa"]


def test_same_text_same_tokens():
    """The library alone gives other tokens in every run: it numbers the "##" pieces in a randomly seeded order."""
    draw = random.Random(0)
    texts = [" ".join("".join(draw.choices("abcdefgh", k=draw.randint(1, 7))) for _ in range(2000)) for _ in range(5)]
    first = train(texts, 200)
    assert len(first) == 200
    for _ in range(3):
        assert train(texts, 200) == first


def test_alphabet():
    """d 3 times, b and c and e and f twice each: of equal counts the smaller code points stay. Only b is inside."""
    texts = ["f f e e c c\nd db db"]
    assert train(texts, alphabet=3, vocab_size=9) == [*SPECIAL, "b", "c", "d", "##b"]
    assert train(texts, alphabet=4, vocab_size=10) == [*SPECIAL, "b", "c", "d", "e", "##b"]


def test_settings_decide_what_a_character_is():
    text = ["Éa É 中国"]
    assert set(train(text)) - set(SPECIAL) == {"e", "##a", "ea", "中", "国", "a"}
    assert set(train(text, settings=CASED)) - set(SPECIAL) == {"É", "##a", "Éa", "中", "国", "a"}
    assert set(train(text, settings=UNCASED | {"strip_accents": False})) - set(SPECIAL) == {
        "é",
        "##a",
        "éa",
        "中",
        "国",
        "a",
    }
    assert "##国" in train(text, settings=UNCASED | {"tokenize_chinese_chars": False})


def test_reserved_tokens():
    assert train(["a b"], unused=2) == [*SPECIAL, "[unused0]", "[unused1]", "a", "b"]
    assert list(SPECIAL_TOKENS.values()) == SPECIAL


def test_what_cannot_be_trained():
    """5 special and 1 reserved token, the characters a and b and the piece ##b are 9."""
    with refused("the texts hold no word to train a vocabulary on"):
        train([" \n ", "\x00"])
    with refused(
        "a vocabulary of 8 tokens cannot hold 6 reserved tokens, 2 characters and 1 ## pieces of them: ask for at "
        "least 9, or a smaller alphabet"
    ):
        train(["ab a"], vocab_size=8, unused=1)
    assert len(train(["ab a"], vocab_size=9, unused=1)) == 9


@pytest.mark.parametrize(
    ("option", "least", "value"),
    [("alphabet", 1, -5), ("alphabet", 1, 0), ("min_frequency", 1, -1), ("unused", 0, -3), ("max_length", 1, -5)],
)
def test_values_out_of_their_range(tmp_path, capsys, option, least, value):
    (tmp_path / "a.txt").write_text("a b")
    flag = f"--{option.replace('_', '-')}={value}"
    assert main(["vocab", str(tmp_path / "a.txt"), "--output", str(tmp_path / "out"), flag]) == 2
    assert capsys.readouterr().err == f"bert-pretrain: error: {option} must be at least {least}, not {value}\n"
    assert not (tmp_path / "out").exists()


def test_share_trains_on_whole_documents(tmp_path):
    """Each of 100 documents is a word of two letters; those of the documents chosen come into the vocabulary."""
    words = [a + b for a in string.ascii_lowercase[:10] for b in string.ascii_lowercase[:10]]
    (tmp_path / "a.txt").write_text("\n\n".join(words))
    options = {"vocab_size": 200, "min_frequency": 1}
    assert set(words) <= set(make_vocabulary([tmp_path / "a.txt"], tmp_path / "all", UNCASED, 512, **options))
    tokens = make_vocabulary([tmp_path / "a.txt"], tmp_path / "half", UNCASED, 512, share=0.5, **options)
    chosen = {word for word in words if in_share(document_digest(word)[8:], 0.5)}
    assert 20 < len(chosen) < 80
    assert {token for token in tokens if len(token) == 2} == chosen
    for share in (0, 1.5):
        with refused(f"share must be above 0 and at most 1, not {share}"):
            make_vocabulary([tmp_path / "a.txt"], tmp_path / "none", UNCASED, 512, share=share, **options)


def test_command(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("Été et été.\n\nHiver.")
    command = ["vocab", str(tmp_path / "a.txt"), "--min-frequency", "1", "--vocab-size"]
    assert main([*command, "100", "--output", str(tmp_path / "uncased"), "--max-length", "64"]) == 0
    uncased = read_tokenizer_directory(tmp_path / "uncased")
    assert "ete" in uncased.tokens
    assert uncased.settings == UNCASED
    assert capsys.readouterr().out == f"{tmp_path}/uncased: {uncased.vocab_size} tokens\n"
    assert '"model_max_length": 64' in (tmp_path / "uncased" / "tokenizer_config.json").read_text()

    assert main([*command, "100", "--output", str(tmp_path / "cased"), "--cased"]) == 0
    cased = read_tokenizer_directory(tmp_path / "cased")
    assert {"Été", "été", "Hiver"} <= set(cased.tokens)
    assert cased.settings == CASED

    assert main([*command, "100", "--output", str(tmp_path / "accents"), "--keep-accents"]) == 0
    accents = read_tokenizer_directory(tmp_path / "accents")
    assert {"été", "hiver"} <= set(accents.tokens)
    assert accents.settings == UNCASED | {"strip_accents": False}

    capsys.readouterr()
    assert main([*command, "7", "--output", str(tmp_path / "small")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("bert-pretrain: error: a vocabulary of 7 tokens cannot hold 5 reserved tokens")
    assert error.count("\n") == 1
    assert not (tmp_path / "small").exists()


def test_another_vocabulary_is_not_overwritten(tmp_path):
    (tmp_path / "a.txt").write_text("one two")
    (tmp_path / "b.txt").write_text("three")
    options = {"vocab_size": 50, "min_frequency": 1}
    tokens = make_vocabulary([tmp_path / "a.txt"], tmp_path / "out", UNCASED, 512, **options)
    assert make_vocabulary([tmp_path / "a.txt"], tmp_path / "out", UNCASED, 512, **options) == tokens
    with refused(f"{tmp_path}/out holds another vocabulary or other settings: choose another output directory"):
        make_vocabulary([tmp_path / "b.txt"], tmp_path / "out", UNCASED, 512, **options)
    with refused(f"{tmp_path}/out holds another vocabulary or other settings: choose another output directory"):
        make_vocabulary([tmp_path / "a.txt"], tmp_path / "out", CASED, 512, **options)
    assert read_tokenizer_directory(tmp_path / "out").tokens == tuple(tokens)
