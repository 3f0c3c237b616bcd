"""From the logits of windows to answers: the best spans of each question, cut from its context.

As google-research/bert, `run_squad.py` (`write_predictions`), but the best spans of a window are found among all of
them, not among the twenty best starts and ends; and they are cut from the text by the tokenizer's offsets.
"""

import dataclasses

import numpy as np

from bert_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class AnswerSettings:
    """Which spans can be answers.

    Attributes:
        max_answer_length: tokens at most.
        n_best: how many different answers of a question are kept.

    Raises:
        InputError: a value below 1.
    """

    max_answer_length: int = 30
    n_best: int = 20

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if value < 1:
                raise InputError(f"{name} must be at least 1, got {value}")


@dataclasses.dataclass(frozen=True)
class Answers:
    """The answers to N questions.

    Attributes:
        n_best: {question id: [{"text", "probability", "start_logit", "end_logit"}, …]}, the best first. In v2.0 the
            text "" is among them, with the logits of [CLS]: no answer.
        texts: {question id: the best text that is an answer}; "" where a context has no token.
        null_odds: {question id: (start + end logit) of no answer minus that of the best answer}; None in v1.1.
    """

    n_best: dict
    texts: dict
    null_odds: dict | None

    def decide(self, threshold):
        """{question id: text}: "" for no answer where its odds are above the threshold."""
        if self.null_odds is None:
            return self.texts
        return {name: "" if self.null_odds[name] > threshold else text for name, text in self.texts.items()}


def find_answers(questions, windows, start_logits, end_logits, settings):
    """The `Answers` to all questions.

    Args:
        start_logits, end_logits: (T,) float32, one for each token of the windows.
    """
    offsets = windows.features.offsets
    n_best, texts, null_odds = {}, {}, {}
    borders = np.searchsorted(windows.question, np.arange(len(questions) + 1))
    for index, name in enumerate(questions.ids):
        context, found, nulls = questions.context(index), [], []
        for window in range(borders[index], borders[index + 1]):
            own = slice(offsets[window], offsets[window + 1])
            start, end, spans = start_logits[own], end_logits[own], windows.spans[own]
            nulls.append((float(start[0]), float(end[0])))
            for first, last in best_spans(start, end, windows.best_here[own], windows.in_context[own], settings):
                text = context[spans[first, 0] : spans[last, 1]]
                found.append((text, float(start[first]), float(end[last])))
        found.sort(key=_total, reverse=True)
        different = {}  # by text, the best first
        for one in found:
            different.setdefault(one[0], one)
        best = list(different.values())[: settings.n_best]
        texts[name] = best[0][0] if best else ""
        if questions.version_2:
            null = ("", *min(nulls, key=sum))  # the window that is least sure that there is no answer
            null_odds[name] = _total(null) - _total(best[0]) if best else np.finfo(np.float32).max.item()
            best = sorted([*best, null], key=_total, reverse=True)
        n_best[name] = _with_probabilities(best)
    return Answers(n_best, texts, null_odds if questions.version_2 else None)


def best_spans(start, end, may_start, in_context, settings):
    """The best spans of one window: pairs (first, last) of places, by falling sum of their logits.

    A span begins where `may_start`, lies in the context and has at most `max_answer_length` tokens. (S,) arrays.
    """
    length = min(settings.max_answer_length, len(start))
    start = np.where(may_start, start, -np.inf)
    end = np.concatenate([np.where(in_context, end, -np.inf), np.full(length - 1, -np.inf)])
    totals = start[:, None] + np.lib.stride_tricks.sliding_window_view(end, length)  # [first, tokens - 1]
    flat = totals.ravel()
    chosen = np.argpartition(-flat, min(settings.n_best, flat.size) - 1)[: settings.n_best]
    chosen = np.array(sorted(chosen, key=lambda place: (-flat[place], place)))  # of equal ones the first
    chosen = chosen[np.isfinite(flat[chosen])]
    first, more = np.divmod(chosen, length)
    return list(zip(first, first + more, strict=True))


def _total(candidate):
    return candidate[1] + candidate[2]


def _with_probabilities(candidates):
    """The candidates as they are written; their probabilities are a softmax of their sums over those that are kept."""
    totals = np.array([_total(one) for one in candidates])
    weights = np.exp(totals - totals.max()) if candidates else totals
    return [
        {"text": text, "probability": float(weight / weights.sum()), "start_logit": start, "end_logit": end}
        for (text, start, end), weight in zip(candidates, weights, strict=True)
    ]
