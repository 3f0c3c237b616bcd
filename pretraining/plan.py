"""`bert-pretrain plan`: what a TPU would say to a training step, without a TPU.

The step of `bert-pretrain train` is compiled by the TPU compiler of `libtpu` for the chips of a topology, which need
not be there; no weight is made and nothing is run. The compiler knows what every chip has to hold, and refuses what
does not fit.
"""

import importlib.util
import os
import re
import time

import keras

from bert_tf.choices import PRECISIONS, make_optimizer
from bert_tf.devices import Devices, distribution_over
from bert_tf.errors import InputError
from bert_tf.flops import pretraining_flops
from bert_tf.loss_scale import LossScale
from bert_tf.training import make_step
from pretraining.objective import PretrainingObjective
from pretraining.settings import PLANNED
from pretraining.train import open_model, read_configuration

GIB = 2**30
# HBM of a chip in GiB, by what libtpu calls it: cloud.google.com/tpu/docs/v4, v5e, v5p, v6e and tpu7x ("GB" there).
HBM = {"TPU v4": 32, "TPU v5 lite": 16, "TPU v5": 95, "TPU v6 lite": 32, "TPU7x": 192}

# How the compiler says that a program does not fit: its two sentences, and the sizes in them.
_DOES_NOT_FIT = re.compile(
    r"(?:HLO temporaries \(|Used )([\d.]+)([KMGT]?).*?(?:available HBM \(| of )([\d.]+)([KMGT]?)"
)


def plan(settings, topology, *, model_parallel=1, vocab_size=None, find_largest_batch=False, say=print):
    """Compiles the update of `settings` for a TPU topology.

    Args:
        settings: a `PretrainingSettings`; neither its data nor its budget matters.
        topology: a type and a shape, such as "v5e:2x4".
        model_parallel: how many chips hold one copy of the large weights together.
        vocab_size: that of the corpus; default: of the configuration.
        find_largest_batch: compile for other batches as well, until the largest that fits is known to 1/16.
        say: called with each line for the user.

    Returns a dictionary of JSON values: the lines that were said, as figures (bytes are those of one device).

    Raises:
        InputError: no libtpu here, Keras on another backend than JAX, a topology that it does not know, axes that do
            not divide the model or the batch.
    """
    chips = _tpu_devices(topology)
    devices = Devices(distribution_over(chips, model_parallel))
    config = read_configuration(settings.config)
    config = config.replace(**({"vocab_size": vocab_size} if vocab_size else {}))
    devices.check(config, settings.batch_size, settings.accumulation, settings.pad_vocab_size_multiple_of)
    keras.config.set_dtype_policy(PRECISIONS[settings.precision])
    kind, number = chips[0].device_kind, len({tuple(chip.coords) for chip in chips})
    hbm = HBM[kind] * GIB * number // len(chips)
    with keras.StatelessScope(initialize_variables=False):  # variables with shapes and without values
        model = open_model(settings, config)
    optimizer = make_optimizer(settings.optimizer, settings.learning_rate, weight_decay_rate=settings.weight_decay)
    with keras.StatelessScope(initialize_variables=False):
        optimizer.build(model.trainable_variables)
    step = make_step(
        model,
        PretrainingObjective(settings.nsp),
        optimizer,
        accumulation=settings.accumulation,
        clip_norm=settings.clip_norm,
        loss_scale=LossScale() if settings.precision == "float16" else None,
        distribution=devices.distribution,
    )
    say(f"model:     {model.count_params():,} parameters, {settings.precision}")
    say(f"devices:   {topology}, {number} chips {kind} with {HBM[kind]} GiB of HBM each; {devices}")

    def compiled(batch_size):
        figures = _compile(step, batch_shapes(batch_size, settings.max_seq_length, settings.max_predictions))
        say(f"batch {batch_size:,} x {settings.max_seq_length}: {_sentence(figures, hbm)}")
        return figures

    result = {"topology": topology, "device_kind": kind, "chips": number, "devices": len(chips), "hbm_bytes": hbm}
    result |= {name: getattr(settings, name) for name in PLANNED} | {"model_parallel": model_parallel}
    result |= {"parameters": model.count_params(), "vocab_size": config.vocab_size} | compiled(settings.batch_size)
    products = settings.batch_size * pretraining_flops(config, settings.max_seq_length, settings.max_predictions)
    result["matrix_flops_a_step"] = products
    tokens = settings.batch_size * settings.max_seq_length
    say(f"FLOPs:     {products:.3e} a step in matrix products = {products / tokens / 1e6:,.4g} million a token")
    counted = result.pop("flops_a_device", 0) * len(chips)
    if counted and settings.accumulation <= 2:  # the compiler counts one round of the loop over micro-batches 2, 3, …
        result["flops_a_step"] = counted
        say(f"           {counted:.3e} as the compiler counts = {counted / tokens / 1e6:,.4g} million a token")
    if find_largest_batch:
        unit = settings.accumulation * devices.distribution.num_model_replicas
        known = {settings.batch_size: result["fits"]}
        largest, too_large = largest_that_fits(
            lambda size: known[size] if size in known else compiled(size)["fits"], settings.batch_size, unit
        )
        result |= {"largest_batch_size": largest, "does_not_fit_batch_size": too_large}
        say(f"largest:   {largest:,} sequences fit, {too_large:,} do not")
    return result


def batch_shapes(batch_size, max_seq_length, max_predictions):
    """{name: (shape, dtype)} of the batches of `pretraining.batches.PretrainingBatches`."""
    places, masked, rows = (batch_size, max_seq_length), (batch_size, max_predictions), (batch_size,)
    return {
        "input_ids": (places, "int32"),
        "attention_mask": (places, "int32"),
        "token_type_ids": (places, "int32"),
        "masked_lm_positions": (masked, "int32"),
        "masked_lm_ids": (masked, "int32"),
        "masked_lm_weights": (masked, "float32"),
        "next_sentence_labels": (rows, "int32"),
        "next_sentence_weights": (rows, "float32"),
    }


def largest_that_fits(fits, start, unit):
    """(the largest number found that fits, a larger one that does not), at most 1/16 or one `unit` apart; by bisection.

    Args:
        fits: a function of a multiple of `unit`; what fits a number fits every smaller one.
        start: where to begin, a multiple of `unit`.

    Returns (0, unit) where nothing fits.
    """
    low, high = 0, start
    while fits(high):
        low, high = high, 2 * high
    while high - low > max(unit, low // 16):
        middle = (low + high) // 2 // unit * unit
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low, high


def _sentence(figures, hbm):
    if not figures["fits"]:
        verdict = f"does not fit: {_gib(figures['needed_bytes'])} of {_gib(figures['available_bytes'])} GiB a device"
    else:
        parts = ", ".join(
            f"{name} {_gib(figures[f'{name}_bytes'])}" for name in ("arguments", "outputs", "temporaries", "program")
        )
        verdict = f"fits: {_gib(figures['needed_bytes'])} of {_gib(hbm)} GiB a device ({parts})"
    return f"{verdict}; compiled in {figures['compile_seconds']:.0f} s"


def _gib(size):
    return f"{size / GIB:.2f}"


def does_not_fit(message):
    """{"needed_bytes", "available_bytes"} of the compiler's sentence, None where it is about something else."""
    found = _DOES_NOT_FIT.search(message)
    if not found:
        return None
    needed, needed_unit, available, available_unit = found.groups()
    return {
        "needed_bytes": _bytes(needed, needed_unit),
        "available_bytes": _bytes(available, available_unit),
    }


def _bytes(number, unit):
    return round(float(number) * 1024 ** " KMGT".index(unit or " "))


def _tpu_devices(topology):
    if keras.backend.backend() != "jax":
        raise InputError(
            f"the step for TPUs is that on JAX, and Keras is on {keras.backend.backend()} here; set KERAS_BACKEND=jax"
        )
    if importlib.util.find_spec("libtpu") is None:
        raise InputError("bert-pretrain plan needs the TPU compiler; install it with pip install 'bert-tf[tpu]'")
    # Read by libtpu when it is loaded: that this machine has no TPU to be asked about, and that others may compile too.
    for name, value in (
        ("TPU_SKIP_MDS_QUERY", "1"),
        ("TPU_ACCELERATOR_TYPE", "v5litepod-8"),
        ("TPU_WORKER_HOSTNAMES", "localhost"),
        ("ALLOW_MULTIPLE_LIBTPU_LOAD", "1"),
    ):
        os.environ.setdefault(name, value)
    import jax
    from jax.experimental import topologies

    jax.config.update("jax_platforms", "cpu")
    shape = topology.partition(":")[2].split("x")
    options = {"chips_per_host_bounds": [1, 1, 1]} if set(shape) == {"1"} else {}  # the default wants four a host
    try:
        devices = topologies.get_topology_desc(topology, platform="tpu", **options).devices
    except jax.errors.JaxRuntimeError as error:
        raise InputError(
            f"--topology {topology}: {error}; expected a type and a shape, such as v5e:2x4, v5p:2x2x2, v6e:4x4"
        ) from None
    if devices[0].device_kind not in HBM:
        raise InputError(f"--topology {topology}: the HBM of a {devices[0].device_kind} is not known here")
    return devices


def _compile(step, shapes):
    """What the compiler says: {"fits", "compile_seconds", …}, bytes of one device."""
    import jax

    started = time.monotonic()
    try:
        compiled = step.compiled(shapes)
    except jax.errors.JaxRuntimeError as error:
        refusal = does_not_fit(str(error))
        if refusal is None:
            raise
        return {"fits": False, "compile_seconds": time.monotonic() - started} | refusal
    memory = compiled.memory_analysis()
    figures = {
        "arguments_bytes": memory.argument_size_in_bytes,
        "outputs_bytes": memory.output_size_in_bytes - memory.alias_size_in_bytes,  # beyond the arguments they replace
        "temporaries_bytes": memory.temp_size_in_bytes,
        "program_bytes": memory.generated_code_size_in_bytes,
    }
    return {
        "fits": True,
        "compile_seconds": time.monotonic() - started,
        "needed_bytes": sum(figures.values()),
        **figures,
        "flops_a_device": compiled.cost_analysis()["flops"],
    }
