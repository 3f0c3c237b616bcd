"""The training step on JAX (see `bert_tf.training`), on one device or over a mesh of them (`bert_tf.devices`)."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from bert_tf.figures import with_update
from bert_tf.optimization import clip_by_global_norm


class JaxStep:
    """Keeps the values of the variables outside the Keras model between steps, so that each update reuses memory.

    The state is four lists: trainable variables, the model's other variables (dropout seeds), the optimizer's, and
    those of the loss scale. It is read from the variables when the first batch comes. With a distribution the state
    and the batches are laid out over its mesh, and the Keras variables hold whole values in the memory of each host.
    """

    def __init__(self, model, objective, optimizer, accumulation, clip_norm, loss_scale, distribution=None):
        self.model = model
        self.objective = objective
        self.optimizer = optimizer
        self.accumulation = accumulation
        self.clip_norm = clip_norm
        self.loss_scale = loss_scale
        self.distribution = distribution
        self._optimizer_variables = []
        if optimizer is not None:
            optimizer.build(model.trainable_variables)
            self._optimizer_variables = optimizer.variables
        self._state = None
        state = figures = None
        if distribution is not None:
            state = self._of_variables(lambda variable: self._layout(variable))
            # Every device has all figures, so that every host can read them.
            figures = jax.sharding.NamedSharding(distribution.device_mesh.backend_mesh, jax.sharding.PartitionSpec())
        self._train = jax.jit(self._update, donate_argnums=0, out_shardings=state and (state, figures))
        self._evaluate = jax.jit(self._figures, out_shardings=figures)

    def train(self, batch, rate):
        self._state, figures = self._train(self._read(), self._placed(batch), np.float32(rate))
        return figures

    def evaluate(self, batch):
        return self._evaluate(self._read()[:2], self._placed(batch))

    def gradients(self, batch):
        trainable, fixed, *_ = self._of_variables(lambda variable: jnp.asarray(variable.value))
        return jax.jit(self._mean_gradients)(trainable, fixed, batch, jnp.float32(1.0))[2]

    def compiled(self, batch):
        """The update, compiled for the mesh of the distribution; its devices need not be of this machine.

        Args:
            batch: {name: (shape, dtype)} of a whole batch. No values are needed, those of the variables neither.

        Returns a `jax.stages.Compiled`, which knows what it takes.
        """

        def abstract(shape, dtype, sharding):
            return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

        state = self._of_variables(lambda variable: abstract(variable.shape, variable.dtype, self._layout(variable)))
        arrays = {name: abstract(shape, dtype, self._rows(shape)) for name, (shape, dtype) in batch.items()}
        return self._train.lower(state, arrays, np.float32(0)).compile()

    def sync(self):
        if self._state is None:
            return
        variables = self._of_variables(lambda variable: variable)
        for variable, value in zip(jax.tree.leaves(variables), jax.tree.leaves(self._state), strict=True):
            variable.assign(value if self.distribution is None else _whole(value))
        if self.distribution is None:
            self._state = None  # its buffers are the variables' now

    # ---- Placing -------------------------------------------------------------------------------------------------

    def _of_variables(self, read):
        """The state's four lists of `read(variable)`."""
        scale = [] if self.loss_scale is None else self.loss_scale.variables
        groups = self.model.trainable_variables, self.model.non_trainable_variables, self._optimizer_variables, scale
        return tuple([read(variable) for variable in group] for group in groups)

    def _read(self):
        """The state; copies, as a donated buffer may not be one that a Keras variable still holds."""
        if self._state is None:
            self._state = self._of_variables(self._laid_out if self.distribution else _copy)
        return self._state

    def _laid_out(self, variable):
        value = np.asarray(variable.value)
        return jax.make_array_from_callback(value.shape, self._layout(variable), value.__getitem__)

    def _layout(self, variable):
        return self.distribution.get_variable_layout(variable).backend_layout

    def _rows(self, shape):
        return self.distribution.get_data_layout(shape).backend_layout

    def _placed(self, batch):
        """The rows of this host, over its devices, as its part of the whole batch."""
        if self.distribution is None:
            return batch
        return {
            name: jax.make_array_from_process_local_data(self._rows(rows.shape), rows) for name, rows in batch.items()
        }

    # ---- Computing -----------------------------------------------------------------------------------------------

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
            # Micro-batch i has the rows i, i + accumulation, …: each is spread over all devices as the batch is.
            micro = {
                name: jnp.moveaxis(value.reshape(-1, self.accumulation, *value.shape[1:]), 1, 0)
                for name, value in batch.items()
            }

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
        with self._layouts_inside():
            outputs, fixed = self.model.stateless_call(trainable, fixed, self.objective.inputs(batch), training=True)
        figures = self.objective.figures(outputs, batch)
        return self.objective.loss(figures, weights) * scale, (figures, fixed)

    def _figures(self, state, batch):
        with self._layouts_inside():
            outputs, _ = self.model.stateless_call(*state, self.objective.inputs(batch), training=False)
        return self.objective.figures(outputs, batch)

    def _layouts_inside(self):
        """In here Keras lays out the outputs of layers that the distribution names."""
        return self.distribution.scope() if self.distribution else contextlib.nullcontext()


def _copy(variable):
    return jnp.array(variable.value, copy=True)


def _whole(value):
    """A value that lies over devices, as a NumPy array; where no host has all of it, all hosts must ask together."""
    if value.is_fully_addressable or value.is_fully_replicated:
        return np.asarray(value)
    return multihost_utils.process_allgather(value, tiled=True)
