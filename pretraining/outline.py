"""What a run is going to do, said before its first step: model, memory, data, budget, baselines."""

import math

import keras

from pretraining.baselines import unigram_entropy


def describe(settings, corpus, model, optimizer, batches, baseline, devices):
    """The lines to print.

    Args:
        batches: the training `PretrainingBatches` of each phase.
        baseline: {name: value} of `pretraining.baselines`.
        devices: the `Devices` to train on.
    """
    config, budget = model.config, settings.budget()
    manifest = corpus.manifest
    lines = [
        f"model:     {model.count_params():,} parameters, vocabulary {config.vocab_size:,}, Keras on "
        f"{keras.backend.backend()}, {settings.precision}",
        f"data:      {manifest['train']['documents']:,} documents of {manifest['train']['tokens']:,} tokens; held out: "
        f"{manifest['held_out']['documents']:,} documents",
        f"run:       {budget}, peak rate {settings.learning_rate:.2e} after {settings.warmup_share:.1%} of it",
    ]
    begun, largest = 0.0, 0
    for phase, its_batches in zip(settings.phases(), batches, strict=True):
        share, begun = phase.until - begun, phase.until
        per_epoch = its_batches.batches_per_epoch(0)
        line = (
            f"  {share:.0%}:".ljust(11) + f"{phase.batch_size} x {phase.max_seq_length} a batch, {per_epoch:,} batches "
            "an epoch"
        )
        if budget.steps:
            steps = share * budget.steps
            places = steps * phase.batch_size * phase.max_seq_length
            line += f"; {steps:,.0f} steps = {steps / per_epoch:.1f} epochs = at most {places:,.0f} tokens"
        lines.append(line)
        largest = max(largest, activation_bytes(config, phase, settings.precision))
    if devices.count > 1:
        lines.append(f"devices:   {devices}; the memory is that of all together")
    state = state_bytes(model, optimizer)
    lines.append(
        f"memory:    {_gib(state)} for weights, gradients and optimizer, about {_gib(largest)} for activations"
    )
    lines.append(
        f"baselines: unigram entropy {unigram_entropy(corpus.unigram_counts):.3f} nats; on the held-out words "
        + ", ".join(f"{name} {value:.3f}" for name, value in baseline.items())
    )
    return "\n".join(lines)


def state_bytes(model, optimizer):
    """Bytes of the float32 weights, of a gradient for each, and of the optimizer's variables."""
    held = [*model.trainable_variables, *model.trainable_variables, *optimizer.variables]
    return 4 * sum(math.prod(variable.shape) for variable in held)


def activation_bytes(config, phase, precision):
    """About what the forward pass keeps for the backward pass, in bytes, of one micro-batch.

    A layer keeps s·b·h·(34 + 5·a·s/h) bytes at 16 bits (Korthikanti et al., arXiv 2205.05198, equation 1), twice that
    in float32; the scores of the masked words and their gradient are float32. What a compiler recomputes or fuses is
    not known here: `bert-pretrain plan` compiles the step and says what it really takes on a TPU.
    """
    rows, length, hidden = phase.batch_size // phase.accumulation, phase.max_seq_length, config.hidden_size
    layer = length * rows * hidden * (34 + 5 * config.num_attention_heads * length / hidden)
    scores = 2 * 4 * rows * phase.max_predictions * config.vocab_size
    return config.num_hidden_layers * layer * (2 if precision == "float32" else 1) + scores


def _gib(size):
    return f"{size / 2**30:.2f} GiB"
