"""From raw text to what a caller wants to read: the two ends of the graph of an exported model.

An answer, of whatever task, has

    task     its name; `card()` what `model_card.json` says of it
    inputs   the names of the string vectors that it reads, such as ("text", "text_b")
    rows     (tokenizer, texts, max_length) -> the rows of the model, {name: tensor}: what `MODEL_INPUTS` names goes
             into the model, the rest is kept for the answer
    call     (outputs of the model, rows) -> {name: tensor}, the first axis of each is the text

Here are the tasks with one row a text; `answers_masks`, `answers_tags` and `answers_spans` hold the others. Shapes:
B texts, S tokens, H hidden, C labels.
"""

import tensorflow as tf

from bert_tf.errors import InputError

MODEL_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "masked_lm_positions")
POOLINGS = ("mean", "cls", "max")


class EmbeddingAnswers:
    """One vector a text, and the encoder's own outputs.

    Args:
        pair: whether two texts are read as one row.
        pooling: how the vectors of the visible tokens, [CLS] and [SEP] among them, become one: "mean", "cls" (that of
            [CLS]) or "max" (the largest of each dimension), as in Reimers and Gurevych 2019 (arXiv 1908.10084),
            section 3.
        normalize: whether to divide by the vector's length.

    Returns, all float32:
        embeddings         (B, H)
        pooler_output      (B, H), where the model has a pooler
        last_hidden_state  (B, S, H), zeros at padding

    Raises:
        InputError: an unknown pooling.
    """

    task = "embeddings"

    def __init__(self, *, pair=False, pooling="mean", normalize=True):
        if pooling not in POOLINGS:
            raise InputError(f"pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
        self.inputs = ("text", "text_b") if pair else ("text",)
        self.pooling, self.normalize = pooling, normalize

    def card(self):
        return {"task": self.task, "pooling": self.pooling, "normalize": self.normalize}

    def rows(self, tokenizer, texts, max_length):
        return tokenizer(*texts, max_length=max_length)

    def __call__(self, outputs, rows):
        visible = tf.cast(rows["attention_mask"], tf.float32)[:, :, None]  # (B, S, 1)
        hidden = tf.cast(outputs["last_hidden_state"], tf.float32) * visible
        if self.pooling == "mean":
            pooled = tf.reduce_sum(hidden, axis=1) / tf.maximum(tf.reduce_sum(visible, axis=1), 1.0)
        elif self.pooling == "max":
            pooled = tf.reduce_max(tf.where(visible > 0, hidden, hidden.dtype.min), axis=1)
        else:
            pooled = hidden[:, 0]
        if self.normalize:
            pooled /= tf.maximum(tf.sqrt(tf.reduce_sum(pooled**2, axis=-1, keepdims=True)), 1e-12)
        answers = {"embeddings": pooled, "last_hidden_state": hidden}
        if "pooler_output" in outputs:
            answers["pooler_output"] = tf.cast(outputs["pooler_output"], tf.float32)
        return answers


class ClassificationAnswers:
    """The labels of a text.

    Args:
        labels: the C names in the order of the logits.
        problem_type: as in Hugging Face's config.json.
        pair: whether the task is on pairs of texts.

    Returns, by problem type:
        single_label_classification  probabilities (B, C) float32, adding up to 1; label (B,) string, the most
                                     probable; logits (B, C) float32
        multi_label_classification   probabilities (B, C) float32, each label's own; logits (B, C) float32
        regression                   values (B, C) float32
    """

    task = "classification"

    def __init__(self, labels, problem_type="single_label_classification", *, pair=False):
        self.labels = tuple(labels)
        self.problem_type = problem_type
        self.inputs = ("text", "text_b") if pair else ("text",)

    def card(self):
        return {"task": self.task, "problem_type": self.problem_type, "labels": list(self.labels)}

    def rows(self, tokenizer, texts, max_length):
        return tokenizer(*texts, max_length=max_length)

    def __call__(self, outputs, rows):
        logits = tf.cast(outputs["logits"], tf.float32)
        if self.problem_type == "regression":
            return {"values": logits}
        if self.problem_type == "multi_label_classification":
            return {"probabilities": tf.sigmoid(logits), "logits": logits}
        label = tf.gather(tf.constant(self.labels), tf.argmax(logits, axis=-1))
        return {"probabilities": tf.nn.softmax(logits), "label": label, "logits": logits}
