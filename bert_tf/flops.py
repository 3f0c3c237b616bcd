"""Floating-point operations of a training step, and the published peaks they are compared with.

A multiplication with an addition counts as two operations; matrix products alone are counted; the backward pass costs
twice the forward pass (Chowdhery et al., arXiv 2204.02311, appendix B, which calls achieved / peak "MFU").
"""

import keras


def encoder_flops(config, length):
    """Forward operations of the encoder for one sequence of `length` positions."""
    hidden, intermediate = config.hidden_size, config.intermediate_size
    products = 2 * length * (4 * hidden * hidden + 2 * hidden * intermediate)  # q, k, v, output; feed-forward
    attention = 2 * 2 * length * length * hidden  # scores and context
    return config.num_hidden_layers * (products + attention)


def pretraining_flops(config, length, predictions):
    """Operations of a training step for one sequence: encoder, pooler, MLM head at `predictions` positions.

    For BERT-base, length 128, 20 predictions: 546 million a position.
    """
    hidden = config.hidden_size
    heads = predictions * 2 * hidden * (hidden + config.vocab_size) + 2 * hidden * hidden
    return 3 * (encoder_flops(config, length) + heads)


# Dense 16-bit peak in operations a second, by a part of the name that the driver gives; from the vendors' data sheets.
_PEAKS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "V100": 125e12,
    "L40S": 362e12,
    "L4": 121e12,
    "T4": 65e12,
    "TPU v6": 918e12,
    "TPU v5p": 459e12,
    "TPU v5 lite": 197e12,
    "TPU v5": 459e12,
    "TPU v4": 275e12,
}


def peak_of(device_name, precision):
    """The peak of a device in `precision`, None where it is not known: for other devices and for float32."""
    if precision == "float32":
        return None
    return next((peak for part, peak in _PEAKS.items() if part.lower() in device_name.lower()), None)


def device_name():
    """What the driver calls the first device of the backend: "NVIDIA H100 80GB HBM3", "TPU v5 lite", "cpu"."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.devices()[0].device_kind
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU") if gpus else "cpu"
