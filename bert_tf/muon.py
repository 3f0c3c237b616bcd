"""Muon for the hidden matrices of the encoder, AdamW for everything else.

Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon/): the momentum of a matrix, made nearly orthogonal by
five Newton–Schulz iterations, is its step. Liu et al. 2025 (arXiv 2502.16982): with decoupled decay and the step scaled
by 0.2 √max(A, B) its root mean square is that of an AdamW step, about 0.2, so that AdamW's rate and decay carry over.
As in both, embeddings, biases, LayerNorm and the heads (here with the pooler) are AdamW's.
"""

import re

import keras
from keras import ops

from bert_tf.errors import InputError
from bert_tf.optimization import BertAdamW, matrices_side_by_side

# p(s) = 3.4445 s - 4.7750 s³ + 2.0315 s⁵, five times, takes singular values from 0.003 to 1 into 0.68 to 1.14: its
# slope at 0 counts more than an exact 1 (the blog post above).
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
UPDATE_RMS = 0.2

_HIDDEN = re.compile(r"(^|/)layer_\d+/(.+/)?kernel$")


def is_hidden_matrix(variable):
    """Whether Muon applies: to the matrices of the encoder's blocks, `…/layer_0/attention/qkv/kernel` and so on."""
    return len(variable.shape) == 2 and bool(_HIDDEN.search(variable.path))


def orthogonalized(matrices):
    """U p(…p(S / ‖S‖)) Vᵀ of matrices U S Vᵀ: (…, A, B) -> (…, A, B), all singular values near 1; zeros stay zeros."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = ops.swapaxes(matrices, -2, -1) if tall else matrices  # the smaller of the two Gram matrices
    x = x / (ops.sqrt(ops.sum(ops.square(x), axis=(-2, -1), keepdims=True)) + 1e-7)
    for _ in range(ITERATIONS):
        gram = ops.matmul(x, ops.swapaxes(x, -2, -1))
        x = a * x + ops.matmul(b * gram + c * ops.matmul(gram, gram), x)
    return ops.swapaxes(x, -2, -1) if tall else x


@keras.saving.register_keras_serializable(package="bert_tf")
class Muon(BertAdamW):
    """M ← μ M + g;  w ← w - rate (0.2 √max(A, B) · orthogonalized(g + μ M) + decay w) for each hidden (A, B) matrix.

    The fused (H, 3H) kernel is three matrices. As one it would have H singular values for all three, shared out by
    their gradients: those of query and key are 50 to 200 times smaller than the value's in a fresh model, so that the
    two would hardly move. The authors too found that each by itself learns better. Everything else takes AdamW's step,
    with bias correction.

    Args:
        learning_rate: a number or a schedule, of both.
        weight_decay_rate: the decay of the variables for which `is_decayed`, of both.
        momentum: μ.
        beta_1, beta_2, epsilon: AdamW's.

    Raises:
        InputError: no variable is a hidden matrix.
    """

    def __init__(
        self,
        learning_rate,
        weight_decay_rate=0.01,
        momentum=0.95,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-6,
        name="muon",
        **kwargs,
    ):
        super().__init__(
            learning_rate, weight_decay_rate, beta_1, beta_2, epsilon, bias_correction=True, name=name, **kwargs
        )
        self.momentum = momentum

    def build(self, variables):
        if self.built:
            return
        self._matrices = [matrices_side_by_side(v) if is_hidden_matrix(v) else 0 for v in variables]
        if not any(self._matrices):
            raise InputError(
                "Muon is for the matrices of encoder blocks (…/layer_0/…/kernel) and this model has none; take adamw"
            )
        super().build(variables)

    def has_velocity(self, variable):
        return not is_hidden_matrix(variable)

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        matrices = self._matrices[index]
        if not matrices:
            super().update_step(gradient, variable, learning_rate)
            return
        gradient = self.scaled(gradient, variable)
        momentum = self._momentums[index]
        self.assign(momentum, self.momentum * momentum + gradient)
        rows, columns = variable.shape[0], variable.shape[1] // matrices
        ahead = ops.reshape(gradient + self.momentum * momentum, (rows, matrices, columns))
        step = orthogonalized(ops.transpose(ahead, (1, 0, 2)))  # (matrices, A, B)
        step = ops.reshape(ops.transpose(step, (1, 0, 2)), variable.shape)
        step = self.with_decay(UPDATE_RMS * max(rows, columns) ** 0.5 * step, variable)
        self.assign_sub(variable, self.rate(variable, learning_rate) * step)

    def get_config(self):
        config = super().get_config() | {"momentum": self.momentum}
        return {name: value for name, value in config.items() if name != "bias_correction"}
