"""LAMB: AdamW whose step is, in each matrix, as long as the matrix itself; for batches of thousands of sequences.

You et al. 2019 (arXiv 1904.00962), algorithm 2 with φ the identity, and the exclusions of the authors' code
(`lamb_optimizer.py` in google-research/albert): biases and LayerNorm neither decay nor adapt. `keras.optimizers.Lamb`
adds the decay after the trust ratio instead of inside it, which is the same only without decay.
"""

import keras
from keras import ops

from bert_tf.optimization import BertAdamW, is_decayed, matrices_side_by_side


@keras.saving.register_keras_serializable(package="bert_tf")
class Lamb(BertAdamW):
    """u = m̂ / (√v̂ + ε) + decay w;  w ← w - rate · ‖w‖ / ‖u‖ · u, with bias-corrected moments.

    The trust ratio ‖w‖ / ‖u‖ belongs to a matrix: the fused query-key-value kernel has three. It is 1 where ‖w‖ is
    0, and for biases and LayerNorm, whose u has no decay.

    Args:
        learning_rate: a number or a schedule.
        weight_decay_rate: the decay of the variables for which `is_decayed`.
    """

    def __init__(
        self,
        learning_rate,
        weight_decay_rate=0.01,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-6,
        name="lamb",
        **kwargs,
    ):
        super().__init__(
            learning_rate, weight_decay_rate, beta_1, beta_2, epsilon, bias_correction=True, name=name, **kwargs
        )

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._matrices = [matrices_side_by_side(v) if is_decayed(v) else 0 for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        matrices = self._matrices[self._get_variable_index(variable)]
        if not matrices:
            super().update_step(gradient, variable, learning_rate)
            return
        side_by_side = (-1, matrices, variable.shape[-1] // matrices)  # (H, 3, H) for the fused kernel
        update = ops.reshape(self.direction(gradient, variable), side_by_side)
        ratio = _trust_ratio(ops.reshape(variable, side_by_side), update)
        self.assign_sub(variable, self.rate(variable, learning_rate) * ops.reshape(ratio * update, variable.shape))

    def get_config(self):
        return {name: value for name, value in super().get_config().items() if name != "bias_correction"}


def _trust_ratio(weights, update):
    """(A, matrices, B), twice -> ‖w‖ / ‖u‖ of each matrix (1, matrices, 1), and 1 where ‖w‖ is 0."""
    weight_norm = ops.sqrt(ops.sum(ops.square(weights), axis=(0, 2), keepdims=True))
    update_norm = ops.sqrt(ops.sum(ops.square(update), axis=(0, 2), keepdims=True))
    ratio = weight_norm / ops.where(update_norm > 0, update_norm, 1.0)  # where u is 0, any ratio is as good
    return ops.where(weight_norm > 0, ratio, 1.0)
