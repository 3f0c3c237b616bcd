"""The training step on TensorFlow (see `bert_tf.training`)."""

import tensorflow as tf

from bert_tf.optimization import clip_by_global_norm


class TensorFlowStep:
    def __init__(self, model, objective, optimizer, accumulation, clip_norm):
        self.model = model
        self.objective = objective
        self.optimizer = optimizer
        self.accumulation = accumulation
        self.clip_norm = clip_norm
        self._variables = list(model.trainable_variables)
        if optimizer is not None:
            optimizer.build(self._variables)
        # XLA pays on a GPU; on a CPU its matrix products are slower than oneDNN's.
        jit_compile = bool(tf.config.list_physical_devices("GPU"))
        self.train = tf.function(self._train, jit_compile=jit_compile)
        self.evaluate = tf.function(self._evaluate, jit_compile=jit_compile)

    def sync(self):
        """Nothing to do: TensorFlow updates the variables themselves."""

    def _train(self, batch):
        weights = self.objective.weights(batch)
        if self.accumulation == 1:
            figures, gradients = self._gradients(batch, weights)
        else:
            figures, gradients = self._accumulate(batch, weights)
        gradients, norm = clip_by_global_norm(gradients, self.clip_norm)
        self.optimizer.apply(gradients, self._variables)
        return figures, norm

    def _gradients(self, batch, weights):
        with tf.GradientTape() as tape:
            outputs = self.model(self.objective.inputs(batch), training=True)
            figures = self.objective.figures(outputs, batch)
            loss = self.objective.loss(figures, weights)
        gradients = tape.gradient(loss, self._variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return figures, [tf.convert_to_tensor(gradient) for gradient in gradients]

    def _accumulate(self, batch, weights):
        """The sum over micro-batches, each already divided by the weights of the whole batch."""
        micro = {name: tf.reshape(value, (self.accumulation, -1, *value.shape[1:])) for name, value in batch.items()}
        total = self._gradients({name: value[0] for name, value in micro.items()}, weights)
        flat = tf.nest.flatten(total)

        def add(index, flat):
            one = self._gradients({name: value[index] for name, value in micro.items()}, weights)
            return index + 1, [a + b for a, b in zip(flat, tf.nest.flatten(one), strict=True)]

        _, flat = tf.while_loop(lambda index, _: index < self.accumulation, add, (tf.constant(1), flat))
        return tf.nest.pack_sequence_as(total, flat)

    def _evaluate(self, batch):
        return self.objective.figures(self.model(self.objective.inputs(batch), training=False), batch)
