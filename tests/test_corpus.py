"""Sentences and hashes of documents."""

from pretraining import corpus
from pretraining.corpus import document_digest, in_share, sentences

# Sentences


def test_sentences_of_each_line():
    text = "He came with Dr. Smith. She left.\nThe end"
    assert sentences(text, "en") == (["He came with Dr. Smith. ", "She left.", "The end"], 0)
    assert sentences(text, None) == (["He came with Dr. Smith. She left.", "The end"], 0)
    assert sentences("我们走。你好！", "zh") == (["我们走。", "你好！"], 0)


def test_no_character_is_lost(monkeypatch):
    """A splitter that drops white space is trusted; where it loses or changes a letter the line stays whole."""
    answers = {"a b. c d.": ["a b.", "c d."], "e f. g h.": ["e f.", "g ."], "i. j.": ["j.", "i."]}
    monkeypatch.setattr(corpus.sentencex, "segment", lambda language, line: answers[line])
    assert sentences("\n".join(answers), "en") == (["a b.", "c d.", "e f. g h.", "i. j."], 2)


# Hashes


def test_equal_up_to_white_space():
    digest = document_digest("One two.\nThree.")
    assert len(digest) == 16
    assert document_digest(" One  two.\tThree.\n") == digest
    assert document_digest("One two.\nthree.") != digest
    assert document_digest("Onetwo.\nThree.") != digest


def test_share_is_random_and_grows():
    """2 % of 20,000 texts are 400, with a deviation of sqrt(20000 · 0.02 · 0.98) = 19.8. A share holds smaller ones."""
    digests = [document_digest(f"text {number}") for number in range(20_000)]
    small = {digest for digest in digests if in_share(digest, 0.02)}
    large = {digest for digest in digests if in_share(digest, 0.1)}
    assert abs(len(small) - 400) < 4 * 19.8
    assert small < large
    assert not any(in_share(digest, 0) for digest in digests)
    assert all(in_share(digest, 1) for digest in digests)
    assert in_share(bytes(16), 0.001)
    assert not in_share(b"\xff" * 16, 0.999)
