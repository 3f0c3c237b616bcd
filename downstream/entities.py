"""Entities and their tags in the schemes IOB1, IOB2 and BIOES; precision, recall and F1 of entities.

    words   Ann   Lee   Bo    of   York
    IOB1    I-PER I-PER B-PER O    I-LOC     B- only where an entity follows one of its own type
    IOB2    B-PER I-PER B-PER O    B-LOC     B- at every beginning
    BIOES   B-PER E-PER S-PER O    S-LOC     and E- at every end, S- for an entity of one word

(Ramshaw and Marcus 1995; Tjong Kim Sang and Veenstra 1999.) An entity is (type, first word, last word).
"""

import collections

from bert_tf.errors import InputError
from bert_tf.tags import begins_entity, split_tag


def find_entities(tags):
    """The entities that the tags of one sentence name, in their order, also where they fit no scheme.

    `bert_tf.tags` says where one begins.
    """
    found, before = [], ("O", None)
    for place, tag in enumerate(tags):
        now = split_tag(tag)
        if now[0] != "O":
            found.append((now[1], place if begins_entity(before, now) else found.pop()[1], place))
        before = now
    return found


def write_tags(entities, length, scheme):
    """The tags of a sentence of `length` words with these entities, in their order."""
    tags, before = ["O"] * length, None
    for kind, first, last in entities:
        if scheme == "IOB1":
            begin = "B" if before and before[0] == kind and before[2] == first - 1 else "I"
        else:
            begin = "S" if scheme == "BIOES" and first == last else "B"
        for place in range(first + 1, last + 1):
            tags[place] = f"E-{kind}" if scheme == "BIOES" and place == last else f"I-{kind}"
        tags[first] = f"{begin}-{kind}"
        before = kind, first, last
    return tags


SCHEMES = ("IOB2", "IOB1", "BIOES")  # in this order they are tried


def find_scheme(sentences):
    """The first scheme that all tags of `downstream.conll.Sentences` fit.

    Raises:
        InputError: what `check_scheme` refuses for the scheme that the fewest sentences contradict.
    """
    _check_tags(sentences)
    wrong = {scheme: sum(_expected(tags, scheme) != tags for tags in sentences.tags) for scheme in SCHEMES}
    scheme = min(SCHEMES, key=wrong.get)
    check_scheme(sentences, scheme)
    return scheme


def check_scheme(sentences, scheme):
    """Raises an InputError with file and line at the first word whose tag is none, or is another in the scheme."""
    _check_tags(sentences)
    for sentence, tags in enumerate(sentences.tags):
        for word, (tag, expected) in enumerate(zip(tags, _expected(tags, scheme), strict=True)):
            if tag != expected:
                before = f"after {tags[word - 1]!r}" if word else "at the beginning of a sentence"
                raise InputError(
                    f"{sentences.where(sentence, word)}: the tag {tag!r} {before} does not fit {scheme}, in which it "
                    f"would be {expected!r}; correct the tag, or give the scheme of the file with --scheme"
                )


def _check_tags(sentences):
    for sentence, tags in enumerate(sentences.tags):
        for word, tag in enumerate(tags):
            if split_tag(tag) is None:
                raise InputError(
                    f"{sentences.where(sentence, word)}: {tag!r} is no tag; expected O, or B-, I-, E- or S- and a "
                    "type; correct it, or choose another --tag-column"
                )


def _expected(tags, scheme):
    return write_tags(find_entities(tags), len(tags), scheme)


def score_entities(true, predicted):
    """{"precision", "recall", "f1"} over all entities and {type: {the same, "entities"}}, shares of 1.

    An entity is right where type, first and last word are. What has nothing to divide by is 0.

    Args:
        true, predicted: lists of sentences, each a list of entities.
    """
    right, guessed, there = (collections.Counter() for _ in range(3))
    for its_true, its_predicted in zip(true, predicted, strict=True):
        there.update(kind for kind, _, _ in its_true)
        guessed.update(kind for kind, _, _ in its_predicted)
        right.update(kind for kind, _, _ in set(its_true) & set(its_predicted))
    kinds = sorted(there | guessed)
    by_type = {kind: _rates(right[kind], guessed[kind], there[kind]) | {"entities": there[kind]} for kind in kinds}
    return _rates(right.total(), guessed.total(), there.total()), by_type


def _rates(right, guessed, there):
    return {
        "precision": right / guessed if guessed else 0.0,
        "recall": right / there if there else 0.0,
        "f1": 2 * right / (guessed + there) if right else 0.0,
    }
