"""The training step on TensorFlow (see `bert_tf.training`)."""

import tensorflow as tf

from bert_tf.figures import with_update
from bert_tf.optimization import BertAdamW, clip_factor


class ByShape:
    """A function of a batch, compiled once for each set of shapes that a batch has.

    A `tf.function` that meets many shapes warns of retracing, and can begin to compile for unknown ones, after which
    the result for a batch depends on the batches before it; a concrete function for each does neither.
    """

    def __init__(self, function, jit_compile):
        self._function = tf.function(function, jit_compile=jit_compile, autograph=False)
        self._compiled = {}

    def __call__(self, batch, *rest):
        tensors = {name: tf.convert_to_tensor(value) for name, value in batch.items()}
        key = tuple((name, value.dtype, *value.shape) for name, value in sorted(tensors.items()))
        if key not in self._compiled:
            specs = {name: tf.TensorSpec(value.shape, value.dtype) for name, value in tensors.items()}
            more = [tf.TensorSpec(value.shape, value.dtype) for value in rest]
            self._compiled[key] = self._function.get_concrete_function(specs, *more)
        return self._compiled[key](tensors, *rest)


class TensorFlowStep:
    def __init__(self, model, objective, optimizer, accumulation, clip_norm, loss_scale):
        self.model = model
        self.objective = objective
        self.optimizer = optimizer
        self.accumulation = accumulation
        self.clip_norm = clip_norm
        self.loss_scale = loss_scale
        self._variables = list(model.trainable_variables)
        if optimizer is not None:
            optimizer.build(self._variables)
        # XLA pays on a GPU; on a CPU its matrix products are slower than oneDNN's.
        jit_compile = bool(tf.config.list_physical_devices("GPU"))
        # Two programs: the update sees the same shapes whatever the batch's are, and is compiled once. As on JAX, no
        # branch of Python's hangs on a tensor in them: AutoGraph has nothing to rewrite.
        self._compiled_figures_and_gradients = ByShape(self._figures_and_gradients, jit_compile)
        self._compiled_update = tf.function(self._update, jit_compile=jit_compile, autograph=False)
        self.evaluate = ByShape(self._evaluate, jit_compile)

    def train(self, batch, rate):
        scale = tf.constant(1.0) if self.loss_scale is None else tf.convert_to_tensor(self.loss_scale.scale)
        figures, gradients, factor, finite = self._compiled_figures_and_gradients(batch, scale)
        if finite:  # decided here: as a condition in the program it would double the operations of the update
            self._compiled_update(gradients, factor, tf.constant(rate, tf.float32))
        return figures

    def gradients(self, batch):
        return self._mean_gradients(batch, tf.constant(1.0))[1]

    def sync(self):
        """Nothing to do: TensorFlow updates the variables themselves."""

    def _figures_and_gradients(self, batch, scale):
        """(the figures of the update, gradients, their factor after clipping, whether they are finite).

        The loss scale goes on.
        """
        figures, gradients = self._mean_gradients(batch, scale)
        gradients = [_before_cast(gradient) for gradient in gradients]
        factor, norm = clip_factor(gradients, self.clip_norm)
        finite = tf.math.is_finite(norm)
        if self.loss_scale is not None:
            variables = self.loss_scale.variables
            following = self.loss_scale.following(*map(tf.convert_to_tensor, variables), finite)
            for variable, value in zip(variables, following, strict=True):
                variable.assign(value)
        return with_update(figures, norm, finite), gradients, factor, finite

    def _update(self, gradients, factor, rate):
        self.optimizer.learning_rate = rate
        if isinstance(self.optimizer, BertAdamW):
            self.optimizer.apply(gradients, self._variables, factor)
            return
        clipped = [
            tf.cast(gradient, variable.dtype) * tf.cast(factor, variable.dtype)
            for gradient, variable in zip(gradients, self._variables, strict=True)
        ]
        self.optimizer.apply(clipped, self._variables)

    def _mean_gradients(self, batch, scale):
        """(figures, gradients) of a batch; the loss is scaled on its way back, and the gradients are unscaled."""
        weights = self.objective.weights(batch)
        if self.accumulation == 1:
            figures, gradients = self._gradients(batch, weights, scale)
        else:
            figures, gradients = self._accumulate(batch, weights, scale)
        return figures, gradients if self.loss_scale is None else [gradient / scale for gradient in gradients]

    def _gradients(self, batch, weights, scale):
        with tf.GradientTape() as tape:
            outputs = self.model(self.objective.inputs(batch), training=True)
            figures = self.objective.figures(outputs, batch)
            loss = self.objective.loss(figures, weights) * scale
        gradients = tape.gradient(loss, self._variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return figures, [tf.convert_to_tensor(gradient) for gradient in gradients]

    def _accumulate(self, batch, weights, scale):
        """The sum over micro-batches, each already divided by the weights of the whole batch."""
        micro = {name: tf.reshape(value, (self.accumulation, -1, *value.shape[1:])) for name, value in batch.items()}
        total = self._gradients({name: value[0] for name, value in micro.items()}, weights, scale)
        flat = tf.nest.flatten(total)

        def add(index, flat):
            one = self._gradients({name: value[index] for name, value in micro.items()}, weights, scale)
            return index + 1, [a + b for a, b in zip(flat, tf.nest.flatten(one), strict=True)]

        _, flat = tf.while_loop(lambda index, _: index < self.accumulation, add, (tf.constant(1), flat))
        return tf.nest.pack_sequence_as(total, flat)

    def _evaluate(self, batch):
        return self.objective.figures(self.model(self.objective.inputs(batch), training=False), batch)


def _before_cast(gradient):
    """What was cast to be this gradient, if it was: of a kernel in bfloat16, the same values in half of the memory.

    A sum over micro-batches and a gradient that was unscaled are no casts, and stay as wide as they are.
    """
    return gradient.op.inputs[0] if gradient.op.type == "Cast" else gradient
