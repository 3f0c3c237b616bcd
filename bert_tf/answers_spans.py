"""The answer of an exported model for questions: the best stretch of a context, cut from it (SQuAD)."""

import tensorflow as tf

from bert_tf.text_spans import cut_spans

_NEVER = -float("inf")  # the score of what cannot be an answer


class SpanAnswers:
    """The best answer in a context.

    A context longer than the model reads becomes overlapping windows behind its question; an answer begins where its
    first token has most context (google-research/bert, `run_squad.py`; `downstream.squad_answers` in NumPy).

    Args:
        doc_stride: tokens from the beginning of a window to that of the next.
        max_query_length: tokens of a question; longer ones are cut.
        max_answer_length: tokens of an answer at most.
        null_odds_threshold: no answer is given where (start + end logit) of [CLS] minus that of the best stretch is
            above it (SQuAD v2.0); None: there always is an answer.

    Returns, for B questions and their contexts:
        answer                  (B,) string, "" for none
        start, end              (B,) int32, code points of the context; 0 and 0 for none
        start_logit, end_logit  (B,) float32, of the best stretch, answer or not
        probability             (B,) float32, of the answer or of none, among all stretches of all windows (and none)
        null_odds               (B,) float32, where there is a threshold
    """

    task = "question-answering"
    inputs = ("question", "context")

    def __init__(self, *, doc_stride=128, max_query_length=64, max_answer_length=30, null_odds_threshold=None):
        self.doc_stride = doc_stride
        self.max_query_length = max_query_length
        self.max_answer_length = max_answer_length
        self.null_odds_threshold = null_odds_threshold

    def card(self):
        names = ("doc_stride", "max_query_length", "max_answer_length", "null_odds_threshold")
        return {"task": self.task} | {name: getattr(self, name) for name in names}

    def rows(self, tokenizer, texts, max_length):
        question, context = texts
        rows = tokenizer.windows(
            context,
            question,
            max_length=max_length,
            stride=self.doc_stride,
            max_question_length=self.max_query_length,
        )
        return rows | {"contexts": context}

    def __call__(self, outputs, rows):
        offsets, text, count = rows["offset_mapping"], rows["text"], tf.size(rows["contexts"])
        start, end = (tf.cast(outputs[f"{name}_logits"], tf.float32) for name in ("start", "end"))  # (W, S)
        null = start[:, 0] + end[:, 0]
        totals, tokens = self._totals(start, end, offsets, rows["best_here"])  # (W, S · L): by first token and length
        # The best stretch of each window, and of each text the earliest window that has its best.
        place = tf.argmax(totals, -1, tf.int32)
        best = tf.maximum(tf.gather(totals, place, batch_dims=1), tf.float32.min)  # (W,)
        best_of_text = tf.math.unsorted_segment_max(best, text, count)  # (B,)
        window = tf.range(tf.size(text))
        window = tf.where(best >= tf.gather(best_of_text, text), window, tf.size(text))
        window = tf.math.unsorted_segment_min(window, text, count)  # (B,)
        first = tf.gather(place, window) // tokens
        last = first + tf.gather(place, window) % tokens
        first, last = tf.stack([window, first], 1), tf.stack([window, last], 1)

        found = best_of_text > tf.float32.min
        null = -tf.math.unsorted_segment_max(-null, text, count)  # of the window that is least sure that there is none
        shown, odds = found, None
        if self.null_odds_threshold is not None:
            odds = tf.where(found, null - best_of_text, tf.float32.max)
            shown = found & (odds <= self.null_odds_threshold)
        begin = tf.where(shown, tf.gather_nd(offsets, first)[:, 0], 0)
        finish = tf.where(shown, tf.gather_nd(offsets, last)[:, 1], 0)
        answers = {
            "answer": cut_spans(rows["contexts"], tf.range(count), begin, finish),
            "start": begin,
            "end": finish,
            "start_logit": tf.gather_nd(start, first),
            "end_logit": tf.gather_nd(end, last),
            "probability": self._probability(totals, text, best_of_text, null, found, shown),
        }
        return answers if odds is None else answers | {"null_odds": odds}

    def _totals(self, start, end, offsets, best_here):
        """The sum of both logits for each stretch: it begins at a token that is read best here, and has up to L tokens;
        and L."""
        width = tf.shape(start)[1]
        length = tf.minimum(self.max_answer_length, width)
        start = tf.where(best_here, start, _NEVER)
        end = tf.where(offsets[:, :, 1] > offsets[:, :, 0], end, _NEVER)
        end = tf.pad(end, [[0, 0], [0, length - 1]], constant_values=_NEVER)
        ends = tf.gather(end, tf.range(width)[:, None] + tf.range(length), axis=1)  # (W, S, L)
        return tf.reshape(start[:, :, None] + ends, [tf.shape(start)[0], width * length]), length

    def _probability(self, totals, text, best, null, found, shown):
        """A softmax over all stretches of a text and, with a threshold, over that there is none."""
        highest = tf.where(found, best, 0.0)
        if self.null_odds_threshold is not None:
            highest = tf.where(found, tf.maximum(best, null), null)
        weights = tf.exp(totals - tf.gather(highest, text)[:, None])
        whole = tf.math.unsorted_segment_sum(tf.reduce_sum(weights, -1), text, tf.size(best))
        own = tf.where(found, tf.exp(best - highest), 0.0)
        if self.null_odds_threshold is not None:
            whole += tf.exp(null - highest)
            own = tf.where(shown, own, tf.exp(null - highest))
        return tf.math.divide_no_nan(own, whole)
