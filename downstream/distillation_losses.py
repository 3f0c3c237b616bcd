"""What a student learns from a teacher, as losses of each example; all float32, all 0 where both are equal.

Shapes: B batch, S sequence, C labels, H width, N heads, D head size. `mask` (B, S) is 1 where a token is real; means
over tokens, or over pairs of tokens, are over the real ones of each example.
"""

from keras import ops

from bert_tf.attention import MASKED_SCORE
from bert_tf.inputs import INPUT_NAMES
from bert_tf.training import Objective
from downstream.objective import cross_entropies


def soft_label_divergences(student, teacher, temperature):
    """T² KL(softmax(teacher / T) ‖ softmax(student / T)): (B, C), (B, C) -> (B,).

    T² keeps the size of the gradient at any temperature (Hinton et al. 2015, arXiv 1503.02531, section 2).
    """
    return temperature**2 * _divergences(ops.log_softmax(student / temperature), ops.log_softmax(teacher / temperature))


def hidden_errors(student, teacher, mask):
    """The mean squared difference (TinyBERT: Jiao et al. 2019, arXiv 1909.10351, eq. 8): (B, S, H) twice -> (B,)."""
    return _mean(ops.mean(ops.square(student - teacher), axis=-1), mask)


def attention_errors(student, teacher, mask):
    """The mean squared difference of scores before the softmax (TinyBERT, equation 7): (B, N, S, S) twice -> (B,)."""
    squares = ops.mean(ops.square(student - teacher), axis=1)  # (B, S, S)
    return _mean(squares, mask[:, None, :] * mask[:, :, None])


def relation_divergences(student, teacher, mask, relation_heads):
    """KL(teacher's relations ‖ student's) (MiniLMv2: Wang et al. 2020, arXiv 2012.15828, equations 3 to 6).

    The relations of vectors x (queries, keys or values) are softmax(x xᵀ / √d) over the tokens, with the heads laid
    side by side and cut anew into `relation_heads` parts of size d, so that teacher and student need not have as many
    heads. The mean is over parts and tokens: (B, N, S, D) twice, of any N and D -> (B,).
    """
    divergences = _divergences(*(_log_relations(one, mask, relation_heads) for one in (student, teacher)))
    return _mean(ops.mean(divergences, axis=1), mask)


def attention_scores(query, key):
    """Q Kᵀ / √D: (B, N, S, D) twice -> (B, N, S, S)."""
    return ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) / query.shape[-1] ** 0.5


def _log_relations(vectors, mask, relation_heads):
    """(B, N, S, D) -> log softmax (B, R, S, S)."""
    size = vectors.shape[1] * vectors.shape[3] // relation_heads
    together = ops.transpose(vectors, (0, 2, 1, 3))  # (B, S, N, D)
    parts = ops.reshape(together, (-1, ops.shape(vectors)[2], relation_heads, size))
    parts = ops.transpose(parts, (0, 2, 1, 3))  # (B, R, S, d)
    return ops.log_softmax(attention_scores(parts, parts) + (1.0 - mask)[:, None, None, :] * MASKED_SCORE)


def _divergences(student, teacher):
    """KL(teacher ‖ student) over the last axis, of log probabilities."""
    return ops.sum(ops.exp(teacher) * (teacher - student), axis=-1)


def _mean(values, weights):
    axes = tuple(range(1, len(values.shape)))
    return ops.sum(values * weights, axis=axes) / ops.sum(weights, axis=axes)


class DistillationObjective(Objective):
    """Figures: `loss`, the weighted sum of the losses asked for; each of them by its name; `accuracy`, a share.

    `labels` is the cross-entropy of the true labels; `soft`, `hidden`, `attention` and `relations` are the losses
    above, the mean over the layers, or over queries, keys and values.

    Args:
        weights_of: {name of a loss: its weight}.
        temperature: of the soft labels.
        relation_heads: the parts of relations.

    A batch holds `labels` (B,) int32 and `example_weights` (B,) float32, 0 for rows that only fill the batch. The
    outputs are those of `downstream.distiller.Distiller`.
    """

    input_names = INPUT_NAMES
    loss_names = ("loss",)

    def __init__(self, weights_of, temperature, relation_heads):
        self.weights_of = weights_of
        self.temperature = temperature
        self.relation_heads = relation_heads

    def weights(self, batch):
        return {"loss": ops.sum(batch["example_weights"])}

    def figures(self, outputs, batch):
        weights, mask = batch["example_weights"], ops.cast(batch["attention_mask"], "float32")
        logits, total = ops.cast(outputs["logits"], "float32"), ops.sum(weights)
        hits = ops.cast(ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32"), batch["labels"]), "float32")
        figures, loss = {"accuracy": (ops.sum(hits * weights), total)}, 0.0
        for name, weight in self.weights_of.items():
            if name == "labels":
                losses = cross_entropies(logits, batch["labels"])
            else:
                pairs = [[ops.cast(one, "float32") for one in pair] for pair in outputs[name]]
                losses = sum(self._losses(name, *pair, mask) for pair in pairs) / len(pairs)
            figures[name] = (ops.sum(losses * weights), total)
            loss = loss + weight * figures[name][0]
        return figures | {"loss": (loss, total)}

    def _losses(self, name, student, teacher, mask):
        if name == "soft":
            return soft_label_divergences(student, teacher, self.temperature)
        if name == "hidden":
            return hidden_errors(student, teacher, mask)
        if name == "attention":
            return attention_errors(student, teacher, mask)
        return relation_divergences(student, teacher, mask, self.relation_heads)
