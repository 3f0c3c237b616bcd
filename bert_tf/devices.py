"""The devices that a run trains on: the one that the backend takes, or a mesh of several, on one or more hosts (JAX).

The mesh has two axes. Along "batch" every place holds other rows of the batch and the same weights (data parallel);
along "model" every place holds another part of the large weights and of their moments (Megatron-LM, Shoeybi et al.,
arXiv 1909.08053, section 3). The layouts are those of `keras.distribution`; XLA puts in the communication, and what is
summed over the batch (losses, weights, gradients and their norm) is summed over all devices of all hosts.
"""

import contextlib
import io

import keras
import numpy as np

from bert_tf.embeddings import padded_size
from bert_tf.errors import InputError

# Which axis of the mesh divides which axis of a weight; what is not named is whole on every device. A pattern sees the
# path of a variable. Keras puts that path, with "_" for "/", into the names of the moments: "." stands for both, so
# that a moment lies as its variable does.
_LAYOUTS = {
    r".*word_embeddings.embeddings.*": ("model", None),  # (V, H), words; the MLM head reads the same matrix
    r".*masked_lm.output_bias.*": ("model",),  # (V,)
    # (H, 3H), columns [query | key | value]: a contiguous part of them is not a set of heads, so that the compiler
    # moves activations between the places of "model"; a kernel with the heads side by side would need no such moves
    # and would need other checkpoints.
    r".*attention.qkv.kernel.*": (None, "model"),
    r".*attention.qkv.bias.*": ("model",),
    r".*attention.output_dense.kernel.*": ("model", None),  # (H, H), rows: heads
    r".*feed_forward.intermediate.kernel.*": (None, "model"),  # (H, I), columns: units
    r".*feed_forward.intermediate.bias.*": ("model",),
    r".*feed_forward.output_dense.kernel.*": ("model", None),  # (I, H), rows: units
    r".*attention/dropout/output": ("batch", "model", None, None),  # not a weight: the probabilities (B, N, S, S)
}


class Devices:
    """One device of one host, as the backend takes it; `open_devices` makes others.

    Attributes:
        distribution: a `keras.distribution.ModelParallel`; None for one device.
        count: the number of devices of all hosts.
        host, num_hosts: which process this is, from 0, and how many train together.
        is_main: whether this is the host that writes the files of the run.
    """

    def __init__(self, distribution=None, host=0, num_hosts=1):
        self.distribution = distribution
        self._parts, self._places = distribution.device_mesh.shape if distribution else (1, 1)
        self.count = self._parts * self._places
        self.host, self.num_hosts = host, num_hosts
        self.is_main = host == 0

    def __str__(self):
        hosts = f" on {self.num_hosts} hosts" if self.num_hosts > 1 else ""
        return f"{self.count}{hosts}: {self._parts} parts of a batch x {self._places} of the weights"

    def check(self, config, batch_size, accumulation, pad_vocab_size_multiple_of=1):
        """Raises InputError where the axes of the mesh do not divide a `BertConfig`, with its padding, or a batch."""
        sizes = {name: getattr(config, name) for name in ("num_attention_heads", "intermediate_size")}
        sizes["vocab_size"] = padded_size(config.vocab_size, pad_vocab_size_multiple_of)
        for name, size in sizes.items():
            if size % self._places:
                way_out = "--pad-vocab-size-multiple-of pads it" if name == "vocab_size" else "choose another"
                raise InputError(
                    f"{name} must be a multiple of --model-parallel, got {size:,} and {self._places}; {way_out}"
                )
        if batch_size % (accumulation * self._parts):
            raise InputError(
                f"batch_size must be a multiple of accumulation times the {self._parts} devices that share a batch, "
                f"got {batch_size} and {accumulation} x {self._parts}"
            )

    @contextlib.contextmanager
    def speaking(self):
        """In here only the main host writes to standard output."""
        with contextlib.nullcontext() if self.is_main else contextlib.redirect_stdout(io.StringIO()):
            yield

    # What hosts do together: each of them must call it. With one host nothing happens.

    def wait_for_all(self, name):
        """Returns when all hosts have come to this name."""
        if self.num_hosts > 1:
            _multihost().sync_global_devices(name)

    def from_main(self, number):
        """The main host's number."""
        return float(_multihost().broadcast_one_to_all(np.float32(number))) if self.num_hosts > 1 else number

    def check_same(self, number, what):
        """Raises InputError, on all hosts, where their numbers differ."""
        numbers = _multihost().process_allgather(np.int32(number)).tolist() if self.num_hosts > 1 else [number]
        if len(set(numbers)) > 1:
            raise InputError(
                f"the hosts differ in {what}: {', '.join(map(str, numbers))}; --data and --output must be the same "
                "files for all of them, on a file system that they share"
            )


def open_devices(devices=1, model_parallel=1, coordinator=None, num_processes=None, process_id=None):
    """The `Devices` of a run; to be called before anything is computed.

    Args:
        devices: how many of all hosts together, or "all".
        model_parallel: how many of them hold one copy of the large weights together; they are on one host.
        coordinator: for several hosts: the host:port of process 0, or "auto" where the cluster tells (Cloud TPU, SLURM,
            Open MPI, Kubernetes: see jax.distributed.initialize).
        num_processes, process_id: how many processes train together, and which of them this is; not with "auto".

    Raises:
        InputError: several devices on another backend than JAX; numbers that do not fit each other or the machine.
    """
    if coordinator != "auto" and len({coordinator is None, num_processes is None, process_id is None}) > 1:
        raise InputError(
            "several hosts need --coordinator HOST:PORT, --num-processes and --process-id together (or --coordinator "
            f"auto alone), got {coordinator}, {num_processes} and {process_id}"
        )
    if (devices, model_parallel, coordinator) == (1, 1, None):
        return Devices()
    if keras.backend.backend() != "jax":
        raise InputError(
            f"Keras on {keras.backend.backend()} trains on one device here; several need JAX: "
            f"KERAS_BACKEND=jax bert-pretrain train … --devices {devices}"
        )
    import jax

    if coordinator is not None:
        _join(coordinator, num_processes, process_id)
    found, hosts = jax.devices(), jax.process_count()
    if hosts > 1 and coordinator is None:
        raise InputError(f"this machine is one of {hosts} hosts; start all of them with --coordinator auto")
    if hosts > 1 and devices not in ("all", len(found)):
        raise InputError(f"several hosts train on all of their {len(found)} devices, got --devices {devices}")
    if devices != "all" and devices > len(found):
        raise InputError(f"--devices {devices} is more than the {len(found)} that JAX finds here")
    used = found if devices == "all" else found[:devices]
    if model_parallel < 1 or len(used) // hosts % model_parallel:
        raise InputError(
            f"--model-parallel must divide the {len(used) // hosts} devices of a host, got {model_parallel}"
        )
    # What is not laid out over the mesh, as the values of the Keras variables, is in the memory of the host.
    jax.config.update("jax_default_device", jax.local_devices(backend="cpu")[0])
    return Devices(distribution_over(used, model_parallel), jax.process_index(), hosts)


def distribution_over(devices, model_parallel):
    """BERT's layouts over JAX devices, which need not be of this machine; those of a host come side by side."""
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    mesh = keras.distribution.DeviceMesh(
        (len(ordered) // model_parallel, model_parallel), ("batch", "model"), devices=ordered
    )
    layouts = keras.distribution.LayoutMap(mesh)
    for pattern, axes in _LAYOUTS.items():
        layouts[pattern] = axes
    return keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch", auto_shard_dataset=False)


def _join(coordinator, num_processes, process_id):
    import jax

    address = None if coordinator == "auto" else coordinator
    try:
        jax.distributed.initialize(address, num_processes, process_id)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"--coordinator {coordinator}: the hosts cannot be joined ({error})") from None


def _multihost():
    from jax.experimental import multihost_utils

    return multihost_utils
