"""Sentences and hashes of documents. `sentences` is the one place that knows languages."""

import hashlib

import sentencex


def sentences(document, language):
    r"""The sentences of a document, in order.

    sentences("He came. She left.\nThe end.", "en") gives ["He came. ", "She left.", "The end."].

    Args:
        document: lines joined by "\n"; a sentence never crosses a line.
        language: an ISO 639 code for the rules of `sentencex`; None: each line is a sentence.

    Returns:
        (sentences, kept_whole): the list of sentences, with the space around them, and the number of lines that stayed
        whole because the splitter did not give back the characters that it got.
    """
    if language is None:
        return document.split("\n"), 0
    found, kept_whole = [], 0
    for line in document.split("\n"):
        parts = sentencex.segment(language, line)
        if "".join(parts) != line and "".join("".join(parts).split()) != "".join(line.split()):
            parts, kept_whole = [line], kept_whole + 1
        found += parts
    return found, kept_whole


def document_digest(document):
    """16 bytes that two documents share exactly if they are equal up to (ASCII) white space."""
    text = document.encode().translate(_SPACES)
    if b"  " in text or text[:1] == b" " or text[-1:] == b" ":
        text = b" ".join(text.split())
    return hashlib.blake2b(text, digest_size=16).digest()


_SPACES = bytes.maketrans(b"\t\n\r\x0b\x0c", b" " * 5)


def in_share(digest, share):
    """Whether a document belongs to a random share: by its text alone, so no order or number of workers matters."""
    return int.from_bytes(digest[:8], "big") < share * 2**64
