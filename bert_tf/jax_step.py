"""The training step on JAX (see `bert_tf.training`)."""

import jax
import jax.numpy as jnp

from bert_tf.figures import with_update
from bert_tf.optimization import clip_by_global_norm


class JaxStep:
    """Keeps the values of the variables outside the Keras model between steps, so that each update reuses memory.

    The state is four lists: trainable variables, the model's other variables (dropout seeds), the optimizer's, and
    those of the loss scale.
    """

    def __init__(self, model, objective, optimizer, accumulation, clip_norm, loss_scale):
        self.model = model
        self.objective = objective
        self.optimizer = optimizer
        self.accumulation = accumulation
        self.clip_norm = clip_norm
        self.loss_scale = loss_scale
        self._optimizer_variables = []
        if optimizer is not None:
            optimizer.build(model.trainable_variables)
            self._optimizer_variables = optimizer.variables
        self._state = self._read_variables()
        self._train = jax.jit(self._update, donate_argnums=0)
        self._evaluate = jax.jit(self._figures)

    def train(self, batch, rate):
        self._state, figures = self._train(self._state, batch, jnp.float32(rate))
        return figures

    def evaluate(self, batch):
        return self._evaluate(self._state[:2], batch)

    def gradients(self, batch):
        trainable, fixed, *_ = self._state
        return jax.jit(self._mean_gradients)(trainable, fixed, batch, jnp.float32(1.0))[2]

    def sync(self):
        for variables, values in zip(self._variables(), self._state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        self._state = self._read_variables()

    def _variables(self):
        scale = [] if self.loss_scale is None else self.loss_scale.variables
        return self.model.trainable_variables, self.model.non_trainable_variables, self._optimizer_variables, scale

    def _read_variables(self):
        """Copies: a donated buffer may not be one that a Keras variable still holds."""
        return tuple([jnp.array(variable.value, copy=True) for variable in group] for group in self._variables())

    def _update(self, state, batch, rate):
        trainable, fixed, optimizer_values, scale_values = state
        scale = scale_values[0] if scale_values else jnp.float32(1.0)
        figures, fixed, gradients = self._mean_gradients(trainable, fixed, batch, scale)
        gradients, norm = clip_by_global_norm(gradients, self.clip_norm)
        finite = jnp.isfinite(norm)
        with_rate = [
            rate if variable is self.optimizer.learning_rate else value
            for variable, value in zip(self._optimizer_variables, optimizer_values, strict=True)
        ]
        updated = self.optimizer.stateless_apply(with_rate, gradients, trainable)
        # A select beside each update costs nothing: its old value is read anyway.
        trainable, optimizer_values = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old), updated, (trainable, optimizer_values)
        )
        if scale_values:
            scale_values = list(self.loss_scale.following(*scale_values, finite))
        return (trainable, fixed, optimizer_values, scale_values), with_update(figures, norm, finite)

    def _mean_gradients(self, trainable, fixed, batch, scale):
        """(figures, the other variables, gradients) of a batch, scaled and unscaled."""
        weights = self.objective.weights(batch)
        gradients_of = jax.value_and_grad(self._loss, has_aux=True)
        if self.accumulation == 1:
            (_, (figures, fixed)), gradients = gradients_of(trainable, fixed, batch, weights, scale)
        else:
            micro = {name: value.reshape(self.accumulation, -1, *value.shape[1:]) for name, value in batch.items()}

            def add(carry, one):
                figures, fixed, gradients = carry
                (_, (new_figures, fixed)), new_gradients = gradients_of(trainable, fixed, one, weights, scale)
                summed = jax.tree.map(jnp.add, (figures, gradients), (new_figures, new_gradients))
                return (summed[0], fixed, summed[1]), None

            first = {name: value[0] for name, value in micro.items()}
            rest = {name: value[1:] for name, value in micro.items()}
            (_, (figures, fixed)), gradients = gradients_of(trainable, fixed, first, weights, scale)
            (figures, fixed, gradients), _ = jax.lax.scan(add, (figures, fixed, gradients), rest)
        return figures, fixed, gradients if self.loss_scale is None else [one / scale for one in gradients]

    def _loss(self, trainable, fixed, batch, weights, scale):
        outputs, fixed = self.model.stateless_call(trainable, fixed, self.objective.inputs(batch), training=True)
        figures = self.objective.figures(outputs, batch)
        return self.objective.loss(figures, weights) * scale, (figures, fixed)

    def _figures(self, state, batch):
        outputs, _ = self.model.stateless_call(*state, self.objective.inputs(batch), training=False)
        return self.objective.figures(outputs, batch)
