"""The official figures of SQuAD: exact match and F1, with and without answers, and the best threshold for no answer.

Written from the definitions in Rajpurkar et al. 2016, section 6.1, Rajpurkar, Jia and Liang 2018, section 5, and
in the two official scripts. All figures are per cent. Shapes: N questions.
"""

import collections
import re
import string

import numpy as np

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalize(text):
    """Lower case, without ASCII punctuation and English articles, one space between words.

    >>> normalize("The  U.S. and an 'apple'")
    'us and apple'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def f1(predicted, answer, version_2):
    """The harmonic mean of precision and recall over words: "in the old town", "old town hall" -> 2/3.

    Where one side has no word left, v2.0 counts 1 if the other has none either; v1.1 counts 0.
    """
    predicted, answer = normalize(predicted).split(), normalize(answer).split()
    if version_2 and not (predicted and answer):
        return float(predicted == answer)
    shared = sum((collections.Counter(predicted) & collections.Counter(answer)).values())
    return 2 * shared / (len(predicted) + len(answer)) if shared else 0.0


def score(questions, predictions):
    """(exact match, F1) of each question, (N,) float64 of 0 to 1: the best over its answers.

    Args:
        questions: `Questions`. One without an answer has the answer "".
        predictions: {id: text}, "" for no answer; a question that is not there scores 0.
    """
    exact, overlap = np.zeros(len(questions)), np.zeros(len(questions))
    for index, name in enumerate(questions.ids):
        if name not in predictions:
            continue
        answers = [answer.text for answer in questions.answers[index]]
        if questions.version_2:  # an answer of which nothing is left is none
            answers = [answer for answer in answers if normalize(answer)] or [""]
        predicted = predictions[name]
        exact[index] = max(normalize(predicted) == normalize(answer) for answer in answers)
        overlap[index] = max(f1(predicted, answer, questions.version_2) for answer in answers)
    return exact, overlap


def measure(questions, predictions, null_odds=None):
    """The official figures as a dictionary.

    Args:
        predictions: see `score`.
        null_odds: v2.0 only, {id: how much likelier no answer is than the predicted one}, any scale: adds the best
            threshold and what it gives.

    Returns {"exact", "f1", "total"}; in v2.0 the same as "HasAns_…" and "NoAns_…", for the questions with and without
    an answer; and "best_exact", "best_exact_thresh", "best_f1", "best_f1_thresh". A group without questions is left
    out.
    """
    scores = dict(zip(("exact", "f1"), score(questions, predictions), strict=True))
    has_answer = np.array([bool(answers) for answers in questions.answers])
    groups = {"": np.ones(len(questions), bool)}
    if questions.version_2:
        groups |= {"HasAns_": has_answer, "NoAns_": ~has_answer}
    figures = {}
    for prefix, members in groups.items():
        if members.any():
            figures |= {f"{prefix}{name}": 100.0 * float(values[members].mean()) for name, values in scores.items()}
            figures[f"{prefix}total"] = int(members.sum())
    if null_odds is not None:
        odds = np.array([null_odds[name] for name in questions.ids])
        answered = np.array([bool(predictions.get(name)) for name in questions.ids])
        for name, values in scores.items():
            best, threshold = best_threshold(values, odds, has_answer, answered)
            figures |= {f"best_{name}": best, f"best_{name}_thresh": threshold}
    return figures


def best_threshold(scores, odds, has_answer, answered):
    """(the best mean score in per cent, the threshold): a question whose odds are above it gets no answer.

    With a threshold below all odds no question is answered, and those without an answer score 1. Raising it over the
    odds of a question lets its prediction count: what it scores, where there is an answer; where there is none, the
    1 is lost if text was predicted. Of equally good thresholds the lowest is taken, as in the official script.

    Args:
        scores: (N,) of the predictions.
        odds: (N,).
        has_answer, answered: (N,) bool: whether there is an answer, whether one was predicted.
    """
    order = np.argsort(odds, kind="stable")
    gains = np.where(has_answer, scores, -1.0 * answered)[order]
    totals = np.sum(~has_answer) + np.concatenate([[0.0], np.cumsum(gains)])  # after the first 0, 1, …, N questions
    # Questions of equal odds are answered together: a total counts where the next odds are higher.
    attainable = np.concatenate([[True], np.append(np.diff(odds[order]) > 0, True)])
    best = int(np.argmax(np.where(attainable, totals, -np.inf)))
    threshold = odds[order][best - 1] if best else odds.min() - 1.0
    return 100.0 * float(totals[best]) / len(scores), float(threshold)
