"""SQuAD files for tests, and questions that a small model can learn to answer."""

import json

import numpy as np

from tests.downstream_toys import BAD, GOOD, PLAIN


def write_squad(path, paragraphs, *, version_2=False):
    """Writes paragraphs [(context, [(id, question, [answer, …]), …]), …]; each answer begins where it first stands."""
    entries = []
    for context, qas in paragraphs:
        questions = []
        for name, question, texts in qas:
            answers = [{"text": text, "answer_start": context.index(text)} for text in texts]
            entry = {"id": name, "question": question, "answers": answers}
            questions.append(entry | ({"is_impossible": not texts} if version_2 else {}))
        entries.append({"context": context, "qas": questions})
    path.write_text(json.dumps({"version": "toy", "data": [{"title": "toy", "paragraphs": entries}]}), encoding="utf-8")
    return path


def opinions_asked(count, seed, *, version_2=False):
    """Paragraphs of 10 to 25 plain words with "good" or "bad" words in a row; asked is for the one kind or the other.

    Without `version_2` each context has both kinds. With it, each has one, and about half of the questions no answer.
    """
    rng = np.random.default_rng(seed)
    paragraphs = []
    for index in range(count):
        kinds = {"good": GOOD, "bad": BAD}
        if version_2:
            del kinds[str(rng.choice(["good", "bad"]))]
        parts, texts = [], {}
        for kind, words in kinds.items():
            texts[kind] = " ".join(rng.choice(words, rng.integers(1, 3), replace=False))
            parts.append(texts[kind])
        plain = [" ".join(rng.choice(PLAIN, rng.integers(4, 11))) for _ in range(len(parts) + 1)]
        rng.shuffle(parts)
        context = " ".join([plain[0], *(word for pair in zip(parts, plain[1:], strict=True) for word in pair)])
        asked = str(rng.choice(["good", "bad"]))
        answers = [texts[asked]] if asked in texts else []
        paragraphs.append((context, [(f"{seed}-{index}", f"was it {asked}", answers)]))
    return paragraphs
