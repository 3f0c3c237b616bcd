"""The systems that `python -m benchmarks` measures, a module each: this package and its peers.

A module has a function for each case that its system can do, with "-" as "_", such as `train_step(options)`. It
prepares everything that is not measured and returns a `Measured`. The options are those of the command, and `mode`.
"""

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Measured:
    """`run()` does the work once and waits for its result; the first call compiles.

    Attributes:
        units: of the case, in a call.
        flops_of_unit: the operations of the model's matrix products in a unit, 0 where nobody asks.
    """

    run: Callable
    units: float
    flops_of_unit: float = 0.0


def set_tensorflow_threads(options):
    """As many as the options say, before TensorFlow has begun."""
    if options["threads"]:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(options["threads"])
        tf.config.threading.set_inter_op_parallelism_threads(options["threads"])
