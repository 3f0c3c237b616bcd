"""From the outputs of a model to what a caller wants to read: the last step inside an exported graph.

An answer is called with the outputs of the model and its inputs (the tokenizer's batch) inside a `tf.function`, and
returns a dictionary of tensors whose first axis is the text. Shapes: B texts, S tokens, H hidden, C labels.
"""

import tensorflow as tf


class EmbeddingAnswers:
    """One vector a text, and the encoder's own outputs.

    Returns, all float32:
        embeddings         (B, H): the mean over the visible tokens ([CLS] and [SEP] among them), of length 1
                           (Reimers and Gurevych 2019, arXiv 1908.10084, section 3: the MEAN strategy)
        pooler_output      (B, H), where the model has a pooler
        last_hidden_state  (B, S, H), zeros at padding
    """

    task = "embeddings"

    def card(self):
        return {"task": self.task}

    def __call__(self, outputs, batch):
        visible = tf.cast(batch["attention_mask"], tf.float32)[:, :, None]  # (B, S, 1)
        hidden = tf.cast(outputs["last_hidden_state"], tf.float32) * visible
        mean = tf.reduce_sum(hidden, axis=1) / tf.maximum(tf.reduce_sum(visible, axis=1), 1.0)
        norm = tf.sqrt(tf.reduce_sum(mean**2, axis=-1, keepdims=True))
        answers = {"embeddings": mean / tf.maximum(norm, 1e-12), "last_hidden_state": hidden}
        if "pooler_output" in outputs:
            answers["pooler_output"] = tf.cast(outputs["pooler_output"], tf.float32)
        return answers


class ClassificationAnswers:
    """The labels of a text.

    Args:
        labels: the C names in the order of the logits.
        problem_type: as in Hugging Face's config.json.

    Returns, by problem type:
        single_label_classification  probabilities (B, C) float32, adding up to 1; label (B,) string, the most
                                     probable; logits (B, C) float32
        multi_label_classification   probabilities (B, C) float32, each label's own; logits (B, C) float32
        regression                   values (B, C) float32
    """

    task = "classification"

    def __init__(self, labels, problem_type="single_label_classification"):
        self.labels = tuple(labels)
        self.problem_type = problem_type

    def card(self):
        return {"task": self.task, "problem_type": self.problem_type, "labels": list(self.labels)}

    def __call__(self, outputs, batch):
        logits = tf.cast(outputs["logits"], tf.float32)
        if self.problem_type == "regression":
            return {"values": logits}
        if self.problem_type == "multi_label_classification":
            return {"probabilities": tf.sigmoid(logits), "logits": logits}
        label = tf.gather(tf.constant(self.labels), tf.argmax(logits, axis=-1))
        return {"probabilities": tf.nn.softmax(logits), "label": label, "logits": logits}
