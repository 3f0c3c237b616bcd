"""The optimizer of BERT, and what all our optimizers share: which variables decay, and clipping by the global norm.

Follows google-research/bert `optimization.py`: AdamW (Loshchilov & Hutter, arXiv 1711.05101) with decay 0.01 decoupled
from the gradient, epsilon 1e-6, no bias correction, no decay on biases and LayerNorm, clipping by global norm 1.0.
Others: `bert_tf.lamb`, `bert_tf.muon`; by name: `bert_tf.choices`; their rates: `bert_tf.schedules`.
"""

import functools
import re

import keras
from keras import ops

from bert_tf.fused import updating
from bert_tf.reductions import sum_of_squares

# By the variable's path, the same on every backend; Keras' own `exclude_from_weight_decay` sees bare names on JAX.
_NO_DECAY = re.compile(r"(^|/)(bias|output_bias|gamma|beta)$")
_QUERY_KEY_VALUE = re.compile(r"(^|/)qkv/kernel$")


def is_decayed(variable):
    """Whether weight decay applies: to kernels and embeddings, not to biases and LayerNorm."""
    return not _NO_DECAY.search(variable.path)


def matrices_side_by_side(variable):
    """How many matrices share a kernel's columns: 3 in the fused (H, 3H) [query | key | value], else 1.

    An optimizer that treats a matrix as a whole must see three of them there: that they are one variable is our
    layout (`bert_tf.attention`), and Google's, Hugging Face's and every published recipe has three.
    """
    return 3 if _QUERY_KEY_VALUE.search(variable.path) else 1


def clip_by_global_norm(gradients, clip_norm):
    """(gradients scaled so that their joint norm is at most `clip_norm`, the joint norm before, a float32 scalar).

    If any element is inf or NaN, or the sum of squares is beyond float32, the norm is inf or NaN, always; what is
    returned as gradients is then worthless (NaN, or 0 in place of finite elements): look at `ops.isfinite(norm)`
    before they are applied.
    """
    factor, norm = clip_factor(gradients, clip_norm)
    return [gradient * ops.cast(factor, gradient.dtype) for gradient in gradients], norm


def clip_factor(gradients, clip_norm):
    """(what `clip_by_global_norm` multiplies gradients by, 1 or less, and their joint norm), float32 scalars."""
    norm = ops.sqrt(sum_of_squares(gradients))
    return clip_norm / ops.maximum(norm, clip_norm), norm


def _moments(gradient, m, v, beta_1, beta_2):
    """Both moments after a step."""
    return beta_1 * m + (1.0 - beta_1) * gradient, beta_2 * v + (1.0 - beta_2) * ops.square(gradient)


def _adam(m, v, scales, epsilon):
    """m̂ / (√v̂ + ε); `scales`: m̂ / m and v̂ / v, or nothing where both are 1."""
    if scales:
        m, v = m * scales[0], v * scales[1]
    return m / (ops.sqrt(v) + epsilon)


@functools.cache
def _adamw_step(beta_1, beta_2, epsilon, decay):
    """The function (m, v, w, gradient, factor, rate, and perhaps m̂ / m, v̂ / v) -> m, v, w after a step.

    The gradient is multiplied by the factor.
    """

    def adamw_step(m, v, w, gradient, factor, rate, *scales):
        m, v = _moments(factor * ops.cast(gradient, w.dtype), m, v, beta_1, beta_2)
        return m, v, w - rate * (_adam(m, v, scales, epsilon) + decay * w)

    return adamw_step


@keras.saving.register_keras_serializable(package="bert_tf")
class BertAdamW(keras.optimizers.Optimizer):
    """m ← β1 m + (1 - β1) g;  v ← β2 v + (1 - β2) g²;  w ← w - rate (m̂ / (√v̂ + ε) + decay w).

    Args:
        learning_rate: a number or a schedule.
        weight_decay_rate: the decay of the variables for which `is_decayed`.
        bias_correction: False: m̂ = m and v̂ = v (google-research/bert); True: m̂ = m / (1 - β1ᵗ), v̂ = v / (1 - β2ᵗ)
            (PyTorch's and Keras' AdamW).
        rate_factors: {pattern: factor}: the rate of a variable is `learning_rate` times the factor of the first pattern
            (a regular expression) that is found in its path; 1 where none is.
    """

    def __init__(
        self,
        learning_rate=1e-4,
        weight_decay_rate=0.01,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-6,
        bias_correction=False,
        rate_factors=None,
        name="bert_adamw",
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.weight_decay_rate = weight_decay_rate
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.bias_correction = bias_correction
        self.rate_factors = dict(rate_factors or {})
        self._gradient_factor = 1.0

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._momentums = self.add_optimizer_variables(variables, "momentum")
        velocities = iter(self.add_optimizer_variables([v for v in variables if self.has_velocity(v)], "velocity"))
        self._velocities = [next(velocities) if self.has_velocity(v) else None for v in variables]
        # By index, as update_step may get a bare tf.Variable, which has another path.
        self._decayed = [is_decayed(variable) for variable in variables]
        self._rate_factors = [self._rate_factor(variable.path) for variable in variables]

    def has_velocity(self, variable):
        """Whether a variable is Adam's, and so has a second moment: here all are."""
        return True

    def _rate_factor(self, path):
        return next((factor for pattern, factor in self.rate_factors.items() if re.search(pattern, path)), 1.0)

    def apply(self, grads, trainable_variables=None, factor=1.0):
        """As every Keras optimizer's, on gradients times a factor: here it costs no pass over them of its own."""
        self._gradient_factor = factor
        super().apply(grads, trainable_variables)
        self._gradient_factor = 1.0

    def scaled(self, gradient, variable):
        """The gradient that counts, in the dtype of its variable."""
        return ops.cast(self._gradient_factor, variable.dtype) * ops.cast(gradient, variable.dtype)

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        decay = self.weight_decay_rate if self._decayed[index] else 0.0
        step = updating(_adamw_step(self.beta_1, self.beta_2, self.epsilon, decay))
        variables = self._momentums[index], self._velocities[index], variable
        scales = self._bias_corrections(variable.dtype)
        factor = ops.cast(self._gradient_factor, variable.dtype)
        step(variables, gradient, factor, self.rate(variable, learning_rate), *scales)

    def rate(self, variable, learning_rate):
        """That of a variable, a scalar of its dtype."""
        factor = self._rate_factors[self._get_variable_index(variable)]
        rate = ops.cast(learning_rate, variable.dtype)
        return rate if factor == 1.0 else rate * factor

    def direction(self, gradient, variable):
        """m̂ / (√v̂ + ε) + decay w, and both moments go on by a step."""
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        moments = _moments(self.scaled(gradient, variable), m, v, self.beta_1, self.beta_2)
        self.assign(m, moments[0])
        self.assign(v, moments[1])
        return self.with_decay(_adam(m, v, self._bias_corrections(variable.dtype), self.epsilon), variable)

    def _bias_corrections(self, dtype):
        """What m and v are multiplied by: m̂ / m and v̂ / v; nothing where both are 1."""
        if not self.bias_correction:
            return ()
        step = ops.cast(self.iterations + 1, dtype)
        return tuple(1.0 / (1.0 - ops.power(ops.cast(beta, dtype), step)) for beta in (self.beta_1, self.beta_2))

    def with_decay(self, update, variable):
        """update + decay w where the variable decays."""
        decayed = self._decayed[self._get_variable_index(variable)]
        return update + self.weight_decay_rate * variable if decayed else update

    def get_config(self):
        return super().get_config() | {
            "weight_decay_rate": self.weight_decay_rate,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "bias_correction": self.bias_correction,
            "rate_factors": self.rate_factors,
        }
