"""The optimizer and the learning rate of BERT.

Follows google-research/bert `optimization.py`: AdamW (Loshchilov & Hutter, arXiv 1711.05101) with decay 0.01 decoupled
from the gradient, epsilon 1e-6, no bias correction, no decay on biases and LayerNorm, clipping by global norm 1.0, and
a rate that warms up linearly and then falls linearly to 0.
"""

import re

import keras
from keras import ops

from bert_tf.errors import InputError

# By the variable's path, the same on every backend; Keras' own `exclude_from_weight_decay` sees bare names on JAX.
_NO_DECAY = re.compile(r"(^|/)(bias|output_bias|gamma|beta)$")


def is_decayed(variable):
    """Whether weight decay applies: to kernels and embeddings, not to biases and LayerNorm."""
    return not _NO_DECAY.search(variable.path)


def clip_by_global_norm(gradients, clip_norm):
    """(gradients scaled so that their joint norm is at most `clip_norm`, the joint norm before, a float32 scalar)."""
    squares = [ops.sum(ops.square(ops.cast(gradient, "float32"))) for gradient in gradients]
    norm = ops.sqrt(sum(squares))
    scale = clip_norm / ops.maximum(norm, clip_norm)
    return [gradient * ops.cast(scale, gradient.dtype) for gradient in gradients], norm


@keras.saving.register_keras_serializable(package="bert_tf")
class BertAdamW(keras.optimizers.Optimizer):
    """m ← β1 m + (1 - β1) g;  v ← β2 v + (1 - β2) g²;  w ← w - rate (m̂ / (√v̂ + ε) + decay w).

    Args:
        learning_rate: a number or a schedule.
        weight_decay_rate: the decay of the variables for which `is_decayed`.
        bias_correction: False: m̂ = m and v̂ = v (google-research/bert); True: m̂ = m / (1 - β1ᵗ), v̂ = v / (1 - β2ᵗ)
            (PyTorch's and Keras' AdamW).
    """

    def __init__(
        self,
        learning_rate=1e-4,
        weight_decay_rate=0.01,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-6,
        bias_correction=False,
        name="bert_adamw",
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.weight_decay_rate = weight_decay_rate
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.bias_correction = bias_correction

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._momentums = self.add_optimizer_variables(variables, "momentum")
        self._velocities = self.add_optimizer_variables(variables, "velocity")
        self._decayed = [is_decayed(variable) for variable in variables]  # update_step may get a bare tf.Variable

    def update_step(self, gradient, variable, learning_rate):
        dtype = variable.dtype
        gradient = ops.cast(gradient, dtype)
        rate = ops.cast(learning_rate, dtype)
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        self.assign(m, self.beta_1 * m + (1.0 - self.beta_1) * gradient)
        self.assign(v, self.beta_2 * v + (1.0 - self.beta_2) * ops.square(gradient))
        if self.bias_correction:
            step = ops.cast(self.iterations + 1, dtype)
            m_scale = 1.0 / (1.0 - ops.power(ops.cast(self.beta_1, dtype), step))
            v_scale = 1.0 / (1.0 - ops.power(ops.cast(self.beta_2, dtype), step))
            update = m * m_scale / (ops.sqrt(v * v_scale) + self.epsilon)
        else:
            update = m / (ops.sqrt(v) + self.epsilon)
        if self._decayed[index]:
            update = update + self.weight_decay_rate * variable
        self.assign_sub(variable, rate * update)

    def get_config(self):
        return super().get_config() | {
            "weight_decay_rate": self.weight_decay_rate,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "bias_correction": self.bias_correction,
        }


@keras.saving.register_keras_serializable(package="bert_tf")
class WarmupLinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    """The rate of update `step` (the first is 0): up linearly to `peak` over the warm-up, then down to 0 at the end.

    rate(step) = peak · step / warmup_steps                                  for step < warmup_steps
                 peak · (total_steps - step) / (total_steps - warmup_steps)  from there on

    google-research/bert lets the decay run from step 0, so that its rate drops by warmup_steps / total_steps when the
    warm-up ends; like Hugging Face's `get_linear_schedule_with_warmup`, this one has no such step.
    """

    def __init__(self, peak, warmup_steps, total_steps):
        super().__init__()
        if not 0 <= warmup_steps < total_steps:
            raise InputError(f"the warm-up must be shorter than the {total_steps} steps, got {warmup_steps} steps")
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rising = step / max(self.warmup_steps, 1)
        falling = (self.total_steps - step) / (self.total_steps - self.warmup_steps)
        return self.peak * ops.maximum(0.0, ops.minimum(rising, falling) if self.warmup_steps else falling)

    def get_config(self):
        return {"peak": self.peak, "warmup_steps": self.warmup_steps, "total_steps": self.total_steps}
