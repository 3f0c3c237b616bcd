"""The devices that a run trains on: the one that the backend takes, or a mesh of several, on one or more hosts (JAX).

The mesh has two axes. Along "batch" every place holds other rows of the batch and the same weights (data parallel);
along "model" every place holds another part of the large weights and of their moments (Megatron-LM, Shoeybi et al.
2019, section 3). The layouts are `keras.distribution`'s; the collectives are put in by XLA, so that sums over the batch
(losses, weights, the global norm) are over all devices.
"""

import argparse

import keras
import numpy as np

from bert_tf.errors import InputError

# The part of each weight that a place on the "model" axis holds; what is not named here is held whole everywhere.
# The patterns see a variable's path; Keras puts that path, joined by "_", into the names of the optimizer's moments, so
# that "." for the separator finds them as well. The columns of `qkv` are [query | key | value]: a contiguous part of
# them is not a set of heads, so the compiler moves columns between the places of "model" before the scores. (Its bytes
# are in benchmarks/RESULTS.md; a kernel whose heads lie together would need other checkpoints.)
_LAYOUTS = {
    r".*word_embeddings.embeddings.*": ("model", None),  # (V, H): words
    r".*attention.qkv.kernel.*": (None, "model"),  # (H, 3H): columns
    r".*attention.qkv.bias.*": ("model",),
    r".*attention.output_dense.kernel.*": ("model", None),  # (H, H): rows, the context of some heads
    r".*feed_forward.intermediate.kernel.*": (None, "model"),  # (H, I): intermediate units
    r".*feed_forward.intermediate.bias.*": ("model",),
    r".*feed_forward.output_dense.kernel.*": ("model", None),  # (I, H): intermediate units
    r".*masked_lm.output_bias.*": ("model",),  # (V,): words
    r".*attention/dropout/output": ("batch", "model", None, None),  # the probabilities (B, N, S, S): heads
}


class Devices:
    """One device on one host, as the backend takes it; `open_devices` makes the others.

    Attributes:
        distribution: a `keras.distribution.ModelParallel`, or None.
        count: devices of all hosts.
        host, num_hosts: this process, and how many train together.
    """

    def __init__(self, distribution=None, host=0, num_hosts=1):
        self.distribution = distribution
        self.count = distribution.device_mesh.devices.size if distribution else 1
        self.host = host
        self.num_hosts = num_hosts

    @property
    def is_main(self):
        """Whether this host writes the files of the run."""
        return self.host == 0

    def check_batch(self, batch_size, accumulation):
        """Raises InputError where a micro-batch cannot be shared by the places of the "batch" axis."""
        replicas = self.distribution.num_model_replicas if self.distribution else 1
        if batch_size % (replicas * accumulation):
            raise InputError(
                f"batch_size must be a multiple of the {replicas} parts of the devices times accumulation "
                f"{accumulation}, got {batch_size}; the nearest is {_nearest_multiple(batch_size, replicas * accumulation)}"
            )

    def check_model(self, config):
        """Raises InputError where the "model" axis does not divide a `BertConfig`."""
        parts = self.distribution.device_mesh.shape[1] if self.distribution else 1
        for name in ("num_attention_heads", "intermediate_size", "vocab_size"):
            if getattr(config, name) % parts:
                raise InputError(
                    f"{name} must be a multiple of --model-parallel {parts}, got {getattr(config, name):,}; choose "
                    "another number of parts"
                )

    def stops_at(self, step, requested):
        """Whether training ends after this step; with several hosts all get the same answer, soon after a SIGTERM.

        Every host must ask after every step. JAX's preemption service carries a SIGTERM that any of the hosts got to
        the others and picks a step that none of them has passed; it uses no device, so nothing waits for it.

        Args:
            requested: whether this process was asked to stop; for several hosts the service knows better.
        """
        if self.num_hosts == 1:
            return requested
        from jax.experimental import multihost_utils

        return multihost_utils.reached_preemption_sync_point(step)

    def wait_for_all(self, name):
        """Returns when all hosts have come here."""
        if self.num_hosts > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices(name)

    def check_same(self, number, what):
        """Raises InputError unless all hosts have the same number, which they must know by their own."""
        if self.num_hosts > 1:
            from jax.experimental import multihost_utils

            numbers = multihost_utils.process_allgather(np.int32(number)).tolist()
            if len(set(numbers)) > 1:
                raise InputError(
                    f"the hosts differ in {what}: {', '.join(map(str, numbers))}; --data and --output must be the same "
                    "files on all of them"
                )


def device_count(text):
    """The argument of `--devices`: a number, or "all"."""
    if text != "all" and not (text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"expected a number of at least 1 or all, got {text!r}")
    return text if text == "all" else int(text)


def open_devices(devices=1, model_parallel=1, coordinator=None, num_processes=None, process_id=None):
    """The `Devices` of a run; to be called before anything is computed.

    Args:
        devices: how many to use, of all hosts together, or "all".
        model_parallel: how many of them share one copy of the weights.
        coordinator: for several hosts: host:port of process 0, or "auto" where the cluster says it (Cloud TPU, SLURM,
            Kubernetes, Open MPI; see jax.distributed.initialize).
        num_processes, process_id: how many processes train together, and which one this is; not with "auto".

    Raises:
        InputError: several devices on a backend other than JAX, or numbers that do not fit each other or the machine.
    """
    if coordinator is None and (num_processes is not None or process_id is not None):
        raise InputError("--num-processes and --process-id need --coordinator HOST:PORT, the address of process 0")
    if (devices, model_parallel, coordinator) == (1, 1, None):
        return Devices()
    if keras.backend.backend() != "jax":
        raise InputError(
            f"the {keras.backend.backend()} backend trains on one device, and {devices} were asked for; several need "
            f"JAX: KERAS_BACKEND=jax bert-pretrain train … --devices {devices}"
        )
    import jax

    if coordinator is not None:
        _join_hosts(jax, coordinator, num_processes, process_id)
    found = jax.devices()
    if devices != "all" and (devices > len(found) or jax.process_count() > 1 and devices != len(found)):
        raise InputError(
            f"--devices {devices} was asked for and {len(found)} are there, on {jax.process_count()} hosts; take all"
        )
    used = found if devices == "all" else found[:devices]
    if model_parallel < 1 or len(used) // jax.process_count() % model_parallel:
        raise InputError(
            f"--model-parallel must divide the {len(used) // jax.process_count()} devices of a host, got {model_parallel}"
        )
    # Values that are not laid out over the mesh (those of the Keras variables) stay in the memory of the host.
    jax.config.update("jax_default_device", jax.local_devices(backend="cpu")[0])
    return Devices(distribution_over(used, model_parallel), jax.process_index(), jax.process_count())


def distribution_over(devices, model_parallel):
    """The layouts of BERT over JAX devices, which need not be of this machine.

    The devices of a host come one after the other, so that those that share a copy of the weights are neighbours.
    """
    ordered = sorted(devices, key=lambda device: (device.process_index, device.id))
    shape = (len(ordered) // model_parallel, model_parallel)
    layout_map = keras.distribution.LayoutMap(keras.distribution.DeviceMesh(shape, ("batch", "model"), ordered))
    for pattern, axes in _LAYOUTS.items():
        layout_map[pattern] = axes
    return keras.distribution.ModelParallel(layout_map=layout_map, batch_dim_name="batch", auto_shard_dataset=False)


def _join_hosts(jax, coordinator, num_processes, process_id):
    if coordinator != "auto" and None in (num_processes, process_id):
        raise InputError(f"--coordinator {coordinator} needs --num-processes and --process-id as well")
    address = None if coordinator == "auto" else coordinator
    try:
        jax.distributed.initialize(address, num_processes, process_id)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"--coordinator {coordinator}: the hosts cannot be joined: {error}") from error


def _nearest_multiple(number, factor):
    return max(factor, round(number / factor) * factor)
