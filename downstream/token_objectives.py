"""What fine-tuning on tokens minimises: the ends of an answer, the tag of each word, the sentences of a summary.

As Hugging Face's `BertForQuestionAnswering` and `BertForTokenClassification`, and BERTSUM. Everything here is
float32, whatever the model computes in. Shapes: B batch, S sequence, C labels.
"""

from keras import ops

from bert_tf.inputs import INPUT_NAMES
from bert_tf.training import Objective
from downstream.objective import cross_entropies

IGNORED = -100  # the label of a token that has none, as in Hugging Face


class SpanObjective(Objective):
    """Figures: `loss`, the mean over both ends of -log softmax(logits)[position], the softmax over all S places.

    A batch holds `start_positions` and `end_positions`, (B,) int32, and `example_weights` (B,) float32, 0 for rows that
    only fill the batch. A position of S or more is no part of the mean.
    """

    input_names = INPUT_NAMES
    loss_names = ("loss",)
    ends = ("start", "end")

    def _weights(self, batch, end):
        inside = batch[f"{end}_positions"] < batch["input_ids"].shape[1]
        return batch["example_weights"] * ops.cast(inside, "float32")  # (B,)

    def weights(self, batch):
        return {"loss": sum(ops.sum(self._weights(batch, end)) for end in self.ends)}

    def figures(self, outputs, batch):
        total = 0.0
        for end in self.ends:
            logits, weights = ops.cast(outputs[f"{end}_logits"], "float32"), self._weights(batch, end)
            positions = ops.where(weights > 0, batch[f"{end}_positions"], 0)
            total = total + ops.sum(cross_entropies(logits, positions) * weights)
        return {"loss": (total, self.weights(batch)["loss"])}


class TagObjective(Objective):
    """Figures: `loss`, the mean over the labelled tokens of -log softmax(logits)[label], and `accuracy`, a share.

    A batch holds `labels` (B, S) int32, `IGNORED` where a token has none, and `example_weights` (B,) float32, 0 for
    rows that only fill the batch.
    """

    input_names = INPUT_NAMES
    loss_names = ("loss",)

    def _weights(self, batch):
        labelled = ops.cast(ops.not_equal(batch["labels"], IGNORED), "float32")
        return batch["example_weights"][:, None] * labelled  # (B, S)

    def weights(self, batch):
        return {"loss": ops.sum(self._weights(batch))}

    def figures(self, outputs, batch):
        logits, weights = ops.cast(outputs["logits"], "float32"), self._weights(batch)
        labels = ops.where(weights > 0, batch["labels"], 0)
        hits = ops.cast(ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32"), labels), "float32")
        total = ops.sum(weights)
        return {
            "loss": (ops.sum(cross_entropies(logits, labels) * weights), total),
            "accuracy": (ops.sum(hits * weights), total),
        }


class SentenceObjective(Objective):
    """Figures: `loss`, the mean over sentences of -log sigmoid(±logit), + for those in the summary, and `accuracy`.

    A batch holds `labels` (B, S) int32, 1 or 0 at the first token of a sentence and `IGNORED` elsewhere, and
    `example_weights` (B,) float32, 0 for rows that only fill the batch.
    """

    input_names = INPUT_NAMES
    loss_names = ("loss",)

    def _weights(self, batch):
        labelled = ops.cast(ops.not_equal(batch["labels"], IGNORED), "float32")
        return batch["example_weights"][:, None] * labelled  # (B, S)

    def weights(self, batch):
        return {"loss": ops.sum(self._weights(batch))}

    def figures(self, outputs, batch):
        logits, weights = ops.cast(outputs["logits"], "float32"), self._weights(batch)
        labels = ops.cast(batch["labels"], "float32")
        hits = ops.cast(ops.equal(ops.cast(logits > 0, "float32"), labels), "float32")
        total = ops.sum(weights)
        return {
            "loss": (ops.sum((ops.softplus(logits) - labels * logits) * weights), total),
            "accuracy": (ops.sum(hits * weights), total),
        }
