"""From the entities of sentences to the labels that a model learns, which are IOB2 tags, and the baseline for them."""

import collections

import numpy as np

from bert_tf.errors import InputError
from downstream.entities import write_tags


def entity_labels(sentences, entities):
    """The tags that the model can give: O, then for each type in the order of code points its B- and its I-.

    Raises:
        InputError: no entity at all.
    """
    kinds = sorted({kind for its in entities for kind, _, _ in its})
    if not kinds:
        raise InputError(f"{sentences.path} has only the tag O; expected entities to learn, or another --tag-column")
    return ("O", *(f"{prefix}-{kind}" for kind in kinds for prefix in "BI"))


def encode_entities(sentences, entities, labels):
    """The label of each of the K words, (K,) int32.

    Raises:
        InputError: a type that no label has, with its file and line.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    targets = []
    for index, its in enumerate(entities):
        for kind, first, _ in its:
            if f"B-{kind}" not in numbers:
                known = ", ".join(label[2:] for label in labels if label.startswith("B-"))
                raise InputError(
                    f"{sentences.where(index, first)}: unknown type {kind!r}; the training file has {known}; correct "
                    "the tag, or train with this type"
                )
        targets += [numbers[tag] for tag in write_tags(its, len(sentences.words[index]), "IOB2")]
    return np.array(targets, np.int32)


def usual_tags(train, entities, sentences):
    """What a tagger must beat: for each word the tag that it has most often in training, O for a new word.

    Args:
        train, entities: the training sentences and what is in them.
        sentences: those to tag.

    Returns a list of tags for each sentence.
    """
    counts = collections.defaultdict(collections.Counter)
    for words, its in zip(train.words, entities, strict=True):
        for word, its_tag in zip(words, write_tags(its, len(words), "IOB2"), strict=True):
            counts[word][its_tag] += 1
    usual = {word: counter.most_common(1)[0][0] for word, counter in counts.items()}
    return [[usual.get(word, "O") for word in words] for words in sentences.words]
