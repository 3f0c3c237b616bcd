"""What fine-tuning on texts minimises: cross-entropy, binary cross-entropies or the squared error.

As Hugging Face's `BertForSequenceClassification` (its problem types and their means). Everything here is float32,
whatever the model computes in. Shapes: B batch, C labels.
"""

from keras import ops

from bert_tf.inputs import PACKED_INPUT_NAMES
from bert_tf.training import Objective


def cross_entropies(logits, labels):
    """-log softmax(logits)[label]: (B, C), (B,) int -> (B,); equal logits give log C."""
    return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def binary_cross_entropies(logits, labels, positive_weights=1.0):
    """The mean over the labels of -log sigmoid(±logit), + for 1 and - for 0: (B, C), (B, C) -> (B,).

    `positive_weights`, (C,), multiply the terms of the labels that are 1.
    """
    positive = labels * positive_weights * ops.softplus(-logits)
    return ops.mean(positive + (1.0 - labels) * ops.softplus(logits), axis=-1)


def squared_errors(logits, values):
    """(logit - value)²: (B, 1), (B,) -> (B,)."""
    return ops.square(logits[..., 0] - values)


LOSSES = {
    "single_label_classification": cross_entropies,
    "multi_label_classification": binary_cross_entropies,
    "regression": squared_errors,
}


class SequenceObjective(Objective):
    """Figures: `loss`, the mean over the examples, and for single labels `accuracy`, a share.

    A batch holds `labels`, (B,) int32, (B, C) float32 or (B,) float32 by problem type, and `example_weights` (B,)
    float32: the part each example has in the mean, 0 for rows that only fill the batch. Class weights, (C,), are for
    the loss alone: of single labels sum(weight · loss) / sum(weight), as PyTorch's `CrossEntropyLoss` has it; of
    several, those of the labels that are 1, as its `BCEWithLogitsLoss(pos_weight=…)`. Rows that hold several sequences
    (`bert_tf.pack`) have (B, K) in the place of (B,).
    """

    input_names = PACKED_INPUT_NAMES
    loss_names = ("loss",)

    def __init__(self, problem_type, class_weights=None):
        self.problem_type = problem_type
        self.class_weights = class_weights

    def weights(self, batch):
        return {"loss": ops.sum(self._loss_weights(batch))}

    def figures(self, outputs, batch):
        logits, weights = ops.cast(outputs["logits"], "float32"), batch["example_weights"]
        total = ops.sum(weights)
        if self.problem_type == "multi_label_classification" and self.class_weights is not None:
            losses = binary_cross_entropies(logits, batch["labels"], self.class_weights)
        else:
            losses = LOSSES[self.problem_type](logits, batch["labels"])
        loss_weights = self._loss_weights(batch)
        figures = {"loss": (ops.sum(losses * loss_weights), ops.sum(loss_weights))}
        if self.problem_type == "single_label_classification":
            hits = ops.cast(ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32"), batch["labels"]), "float32")
            figures["accuracy"] = (ops.sum(hits * weights), total)
        return figures

    def _loss_weights(self, batch):
        weights = batch["example_weights"]
        if self.problem_type != "single_label_classification" or self.class_weights is None:
            return weights
        return weights * ops.take(ops.convert_to_tensor(self.class_weights), batch["labels"])
