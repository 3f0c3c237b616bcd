"""Questions and contexts as rows of a BERT, [CLS] question [SEP] window of the context [SEP], and what to learn there.

As google-research/bert, `run_squad.py`, with the tokenizer's offsets in place of words split at white space.
"""

import dataclasses

import numpy as np

from bert_tf.errors import InputError
from downstream.features import Features
from downstream.pieces import split_into_pieces
from downstream.windows import best_windows, cut


@dataclasses.dataclass(frozen=True)
class WindowSettings:
    """How contexts are cut.

    Attributes:
        max_seq_length: tokens of a row at most, [CLS] and two [SEP] included.
        doc_stride: tokens from the beginning of a window to that of the next.
        max_query_length: tokens of a question at most; longer ones are cut and counted.

    Raises:
        InputError: a length below its least, or no room for the context beside the longest question.
    """

    max_seq_length: int = 384
    doc_stride: int = 128
    max_query_length: int = 64

    def __post_init__(self):
        for name in ("doc_stride", "max_query_length"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.max_seq_length < self.max_query_length + 4:
            raise InputError(
                f"max_seq_length must be at least max_query_length + 4 ([CLS], two [SEP], a token of the context), got "
                f"{self.max_seq_length} and {self.max_query_length}"
            )


@dataclasses.dataclass(frozen=True)
class Windows:
    """The W windows of N questions, T tokens in all.

    Attributes:
        features: their `Features`; `start_positions` and `end_positions` (W,) int32 per example: the first and the last
            token of the first answer, 0 ([CLS]) where the window does not hold all of it.
        question: (W,) int64, rising, the number of the question.
        spans: (T, 2) int32, where each token of a context begins and ends in it, in characters; (0, 0) for the others.
        in_context: (T,) bool.
        best_here: (T,) bool, whether this is the window of the token with most context.
        long_questions: how many questions lost tokens.
    """

    features: Features
    question: np.ndarray
    spans: np.ndarray
    in_context: np.ndarray
    best_here: np.ndarray
    long_questions: int


def make_windows(questions, tokenizer, settings, pad_token_id):
    """The `Windows` of `Questions`.

    Raises:
        InputError: an answer of which the tokenizer leaves nothing.
    """
    contexts = split_into_pieces(questions.contexts, tokenizer)
    texts = split_into_pieces(questions.texts, tokenizer)
    ids, types, spans, in_context, best_here = [], [], [], [], []
    question, lengths, positions = [], [], []
    for index in range(len(questions)):
        query = texts.of(index)[0][: settings.max_query_length]
        context_ids, context_spans = contexts.of(questions.context_of[index])
        first, last = _answer_tokens(questions, index, context_spans)
        before, behind = len(query) + 2, 1  # [CLS] question [SEP], [SEP]
        starts, counts = cut(len(context_ids), settings.max_seq_length - before - behind, settings.doc_stride)
        best = best_windows(starts, counts)
        for window, (start, count) in enumerate(zip(starts, counts, strict=True)):
            own = slice(start, start + count)
            ids += [[tokenizer.cls_token_id], query, [tokenizer.sep_token_id], context_ids[own]]
            ids.append([tokenizer.sep_token_id])
            types.append(np.repeat([0, 1], [before, count + behind]))
            spans.append(np.pad(context_spans[own], [(before, behind), (0, 0)]))
            in_context.append(np.repeat([False, True, False], [before, count, behind]))
            best_here.append(np.pad(best[own] == window, (before, behind)))
            question.append(index)
            lengths.append(before + count + behind)
            whole = start <= first and last < start + count
            positions.append((first - start + before, last - start + before) if whole else (0, 0))
    positions = np.array(positions, np.int32)
    features = Features(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        per_token={
            "input_ids": np.concatenate(ids).astype(np.int32),
            "token_type_ids": np.concatenate(types).astype(np.int32),
        },
        per_example={"start_positions": positions[:, 0], "end_positions": positions[:, 1]},
        padding={"input_ids": pad_token_id},
    )
    return Windows(
        features,
        np.array(question),
        np.concatenate(spans),
        np.concatenate(in_context),
        np.concatenate(best_here),
        int((np.diff(texts.splits) > settings.max_query_length).sum()),
    )


def _answer_tokens(questions, index, context_spans):
    """The first and the last token that the first answer touches; (-1, -1) without an answer, a place in no window."""
    if not questions.answers[index]:
        return -1, -1
    answer = questions.answers[index][0]
    touched = (context_spans[:, 0] < answer.start + len(answer.text)) & (context_spans[:, 1] > answer.start)
    if not touched.any():
        raise InputError(
            f"{questions.where(index)}: the tokenizer leaves nothing of the answer {answer.text!r}; correct the "
            "answer, or remove the question"
        )
    tokens = np.flatnonzero(touched)
    return int(tokens[0]), int(tokens[-1])
