"""What pretraining minimises: masked language model loss + next sentence loss, and the two accuracies.

Follows Devlin et al. 2018, section 3.1; the MLM loss is sum(weight · cross-entropy) / sum(weight), as in
google-research/bert `run_pretraining.py`. Everything here is float32, whatever the model computes in.
"""

from keras import ops

from bert_tf.fused import fused_with_gradient
from bert_tf.inputs import PACKED_INPUT_NAMES
from bert_tf.reductions import argmax
from bert_tf.training import Objective


def cross_entropies(logits, labels):
    """-log softmax(logits)[label]: logits (..., C), labels (...) int -> (...) float32; equal logits give log C.

    On a CPU with its gradient written out: as XLA differentiates it, it takes three times as long.
    """
    return fused_with_gradient(_cross_entropies, _forward, _backward)(logits, labels)


def _cross_entropies(logits, labels):
    return ops.sparse_categorical_crossentropy(labels, ops.cast(logits, "float32"), from_logits=True)


def _forward(logits, labels):
    """(the cross entropies, log Σ exp(logits)), both (...) float32; NaN where the label is none of the C."""
    logits = ops.cast(logits, "float32")
    largest = ops.max(logits, axis=-1, keepdims=True)
    log_sums = ops.log(ops.sum(ops.exp(logits - largest), axis=-1)) + largest[..., 0]
    is_label = ops.logical_and(labels >= 0, labels < logits.shape[-1])
    log_sums = ops.where(is_label, log_sums, float("nan"))
    return log_sums - ops.take_along_axis(logits, labels[..., None], axis=-1)[..., 0], log_sums


def _backward(upstream, log_sums, logits, labels):
    """(upstream · (softmax(logits) - one-hot label),): (..., C) as the logits."""
    probabilities = ops.exp(ops.cast(logits, "float32") - log_sums[..., None])
    is_label = ops.equal(ops.arange(logits.shape[-1], dtype=labels.dtype), labels[..., None])
    return (ops.cast((probabilities - ops.cast(is_label, "float32")) * upstream[..., None], logits.dtype),)


def hits(logits, labels):
    """1 where the largest logit is the label's, else 0, float32."""
    return ops.cast(ops.equal(argmax(logits), ops.cast(labels, "int32")), "float32")


class PretrainingObjective(Objective):
    """Figures: `mlm_loss` and `nsp_loss` in nats, `mlm_accuracy` and `nsp_accuracy` as shares.

    Args:
        next_sentence: whether the NSP loss counts and batches hold `next_sentence_labels`.
    """

    input_names = (*PACKED_INPUT_NAMES, "masked_lm_positions")

    def __init__(self, next_sentence=True):
        self.next_sentence = next_sentence
        self.loss_names = ("mlm_loss", "nsp_loss") if next_sentence else ("mlm_loss",)

    def weights(self, batch):
        weights = {"mlm_loss": ops.sum(batch["masked_lm_weights"])}
        if self.next_sentence:
            weights["nsp_loss"] = ops.sum(batch["next_sentence_weights"])
        return weights

    def figures(self, outputs, batch):
        figures = _figures("mlm", outputs["prediction_logits"], batch["masked_lm_ids"], batch["masked_lm_weights"])
        if self.next_sentence:
            figures |= _figures(
                "nsp",
                outputs["seq_relationship_logits"],
                batch["next_sentence_labels"],
                batch["next_sentence_weights"],
            )
        return figures


def _figures(name, logits, labels, weights):
    total = ops.sum(weights)
    return {
        f"{name}_loss": (ops.sum(cross_entropies(logits, labels) * weights), total),
        f"{name}_accuracy": (ops.sum(hits(logits, labels) * weights), total),
    }
