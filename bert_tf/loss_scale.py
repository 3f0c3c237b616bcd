"""Dynamic loss scaling for float16, whose gradients would vanish below 6e-8 (Micikevicius et al., arXiv 1710.03740).

The loss is multiplied by a scale before the backward pass and the gradients are divided by it afterwards. A gradient
that overflows costs one update and halves the scale; after `GROWTH_INTERVAL` good updates in a row it doubles.
"""

import keras
from keras import ops

FIRST_SCALE = 2.0**15
LARGEST_SCALE = 2.0**24
GROWTH_INTERVAL = 2000


class LossScale:
    """The scale and its counter as Keras variables, which a checkpoint holds among the others."""

    def __init__(self):
        self.scale = keras.Variable(FIRST_SCALE, dtype="float32", trainable=False, name="loss_scale")
        self.good_updates = keras.Variable(0.0, dtype="float32", trainable=False, name="good_updates")

    @property
    def variables(self):
        return [self.scale, self.good_updates]

    @staticmethod
    def following(scale, good_updates, finite):
        """(scale, good_updates) after an update; `finite`: a boolean scalar, whether its gradients were."""
        grown = good_updates + 1.0 >= GROWTH_INTERVAL
        next_scale = ops.where(grown, ops.minimum(scale * 2.0, LARGEST_SCALE), scale)
        return (
            ops.where(finite, next_scale, ops.maximum(scale / 2.0, 1.0)),
            ops.where(ops.logical_and(finite, ops.logical_not(grown)), good_updates + 1.0, 0.0),
        )
