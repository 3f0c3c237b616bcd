"""The training step on JAX (see `bert_tf.training`)."""

import jax
import jax.numpy as jnp

from bert_tf.optimization import clip_by_global_norm


class JaxStep:
    """Keeps the values of the variables outside the Keras model between steps, so that each update reuses memory."""

    def __init__(self, model, objective, optimizer, accumulation, clip_norm):
        self.model = model
        self.objective = objective
        self.optimizer = optimizer
        self.accumulation = accumulation
        self.clip_norm = clip_norm
        self._optimizer_variables = []
        if optimizer is not None:
            optimizer.build(model.trainable_variables)
            self._optimizer_variables = optimizer.variables
        self._state = self._read_variables()
        self._train = jax.jit(self._update, donate_argnums=0)
        self._evaluate = jax.jit(self._figures)

    def train(self, batch):
        self._state, figures, norm = self._train(self._state, batch)
        return figures, norm

    def evaluate(self, batch):
        return self._evaluate(self._state[:2], batch)

    def sync(self):
        for variables, values in zip(self._variables(), self._state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        self._state = self._read_variables()

    def _variables(self):
        return self.model.trainable_variables, self.model.non_trainable_variables, self._optimizer_variables

    def _read_variables(self):
        """Copies: a donated buffer may not be one that a Keras variable still holds."""
        return tuple([jnp.array(variable.value, copy=True) for variable in group] for group in self._variables())

    def _update(self, state, batch):
        trainable, fixed, optimizer_values = state
        weights = self.objective.weights(batch)
        gradients_of = jax.value_and_grad(self._loss, has_aux=True)
        if self.accumulation == 1:
            (_, (figures, fixed)), gradients = gradients_of(trainable, fixed, batch, weights)
        else:
            micro = {name: value.reshape(self.accumulation, -1, *value.shape[1:]) for name, value in batch.items()}

            def add(carry, one):
                figures, fixed, gradients = carry
                (_, (new_figures, fixed)), new_gradients = gradients_of(trainable, fixed, one, weights)
                summed = jax.tree.map(jnp.add, (figures, gradients), (new_figures, new_gradients))
                return (summed[0], fixed, summed[1]), None

            first = {name: value[0] for name, value in micro.items()}
            rest = {name: value[1:] for name, value in micro.items()}
            (_, (figures, fixed)), gradients = gradients_of(trainable, fixed, first, weights)
            (figures, fixed, gradients), _ = jax.lax.scan(add, (figures, fixed, gradients), rest)
        gradients, norm = clip_by_global_norm(gradients, self.clip_norm)
        trainable, optimizer_values = self.optimizer.stateless_apply(optimizer_values, gradients, trainable)
        return (trainable, fixed, optimizer_values), figures, norm

    def _loss(self, trainable, fixed, batch, weights):
        outputs, fixed = self.model.stateless_call(trainable, fixed, self.objective.inputs(batch), training=True)
        figures = self.objective.figures(outputs, batch)
        return self.objective.loss(figures, weights), (figures, fixed)

    def _figures(self, state, batch):
        outputs, _ = self.model.stateless_call(*state, self.objective.inputs(batch), training=False)
        return self.objective.figures(outputs, batch)
