"""Pretraining: from a prepared corpus to a model directory, with exact continuation.

Run it as `bert-pretrain train --data PREPARED --output RUN`; `pretrain` below is that command as a function. The run
directory is described in `bert_tf.run_directory`. Recipe: Devlin et al. 2018, section 3.1 and appendix A.2.
"""

import dataclasses
import functools
import hashlib
from pathlib import Path

import keras

from bert_tf.checkpoints import read_checkpoint
from bert_tf.choices import PRECISIONS, make_optimizer
from bert_tf.config import NAMED_SIZES, BertConfig
from bert_tf.devices import Devices
from bert_tf.files import whole_file
from bert_tf.flops import device_name, peak_of, pretraining_flops
from bert_tf.learning_curve import draw_learning_curve
from bert_tf.loss_scale import LossScale
from bert_tf.run_directory import RunDirectory
from bert_tf.training import make_deterministic, make_step
from bert_tf.training_loop import TrainingLoop
from pretraining import start_from_checkpoint
from pretraining.baselines import baselines
from pretraining.batches import PretrainingBatches
from pretraining.evaluation import EVALUATION_SEED, evaluate
from pretraining.heads import BertForMaskedLM, BertForPreTraining
from pretraining.objective import PretrainingObjective
from pretraining.outline import describe
from pretraining.settings import check_length, check_segments
from pretraining.shards import MANIFEST, PreparedCorpus


def pretrain(output, settings, *, dry_run=False, devices=None):
    """Trains, or continues, until the budget is used; returns the final figures.

    Args:
        output: the run directory.
        settings: a `pretraining.settings.PretrainingSettings`.
        dry_run: print the plan and return None: nothing is written.
        devices: a `bert_tf.devices.Devices`; a run can be continued on others. The first host writes.

    Raises:
        InputError: data, configuration, model or run directory that cannot be used; an update that is not finite.
        SystemExit: status 75, after SIGTERM or SIGINT, with a checkpoint written.
    """
    # ---- What is asked for -------------------------------------------------------------------------------------
    corpus = PreparedCorpus(settings.data)
    checkpoint = read_checkpoint(settings.model) if settings.model else None
    config = _configuration(settings, corpus, checkpoint)
    devices = devices or Devices()
    for phase in settings.phases():
        devices.check(config, phase.batch_size, phase.accumulation, settings.pad_vocab_size_multiple_of)
    if not dry_run:
        asked = {"command": "pretrain", **dataclasses.asdict(settings), "corpus_sha256": _sha256(corpus)}
        asked |= {"model_sha256": checkpoint.sha256() if checkpoint else None}
        finished = RunDirectory(output, asked, writes=False).results
        if finished is not None:
            print(f"{output} holds a finished run of {finished['steps']:,} steps; nothing to do.")
            return finished

    # ---- Data, model, optimizer --------------------------------------------------------------------------------
    phases = settings.phases()
    train_batches = [_batches(corpus, settings, phase, "train", settings.seed, devices) for phase in phases]
    held_out_batches = [_batches(corpus, settings, phase, "held_out", EVALUATION_SEED, devices) for phase in phases]
    limit = settings.evaluation_batches
    baseline = baselines(corpus, _batches(corpus, settings, phases[0], "held_out", EVALUATION_SEED, Devices()), limit)
    make_deterministic(settings.seed)
    keras.config.set_dtype_policy(PRECISIONS[settings.precision])
    model = open_model(settings, config, checkpoint, corpus)
    optimizer = make_optimizer(settings.optimizer, settings.learning_rate, weight_decay_rate=settings.weight_decay)
    optimizer.build(model.trainable_variables)
    loss_scale = LossScale() if settings.precision == "float16" else None
    objective = PretrainingObjective(settings.nsp)
    print(describe(settings, corpus, model, optimizer, train_batches, baseline, devices))
    if dry_run:
        return None

    # ---- Train -------------------------------------------------------------------------------------------------
    run = RunDirectory(output, asked, devices.is_main)  # from here on the directory is this run's: all is checked
    devices.wait_for_all("run directory")
    loop = TrainingLoop(
        run,
        [*model.variables, *optimizer.variables, *(loss_scale.variables if loss_scale else ())],
        settings.budget(),
        settings.rate(),
        log_every=settings.log_every,
        save_every=settings.save_every,
        evaluate_every=settings.evaluate_every,
        skip_non_finite=settings.skip_non_finite,
        peak_flops=peak_of(device_name(), settings.precision),
        devices=devices,
    )
    for number, phase in enumerate(phases):
        if loop.state.get("phase", 0) > number:
            continue
        if loop.state.get("phase", 0) < number:
            loop.state["phase"], loop.place = number, None
            print(f"Phase {number + 1}: sequences of {phase.max_seq_length} tokens.")
        step = make_step(
            model,
            objective,
            optimizer,
            accumulation=phase.accumulation,
            clip_norm=settings.clip_norm,
            loss_scale=loss_scale,
            distribution=devices.distribution,
        )

        loop.train(
            step,
            _with_places(train_batches[number], loop.place),
            functools.partial(_held_out, step, held_out_batches[0], limit),
            until=phase.until,
            flops=phase.batch_size * pretraining_flops(config, phase.max_seq_length, phase.max_predictions),
        )
        step.sync()

    # ---- What came out -----------------------------------------------------------------------------------------
    metrics = _held_out(step, held_out_batches[0], limit)
    if len(phases) > 1:
        metrics |= _held_out(step, held_out_batches[1], limit, f"held_out_{phases[1].max_seq_length}_")
    if devices.is_main:
        model.config = config  # fine-tuning begins with the configuration's own dropout, whatever pretraining took
        model.save_pretrained(run.model_path)
        copy_tokenizer(corpus, run.model_path)
        _draw(run, settings, baseline)
        results = {"metrics": metrics, "baselines": baseline, "steps": loop.done, "parameters": model.count_params()}
        run.finish(results | {"skipped_updates": loop.skipped})
    devices.wait_for_all("results")
    print(f"model: {run.model_path}   learning curve: {run.curve_path}   TensorBoard: {run.path / 'tensorboard'}")
    return run.results


def _held_out(step, batches, limit, prefix="held_out_"):
    return {f"{prefix}{name}": value for name, value in evaluate(step, batches, limit).items()}


def _with_places(batches, place):
    """(the place of the batch after it, a batch) without end, from `place` on; None: from the start."""
    for epoch, position, batch in batches.iterate(*(place or (0, 0))):
        yield (epoch, position), batch


def _configuration(settings, corpus, checkpoint):
    """The model's configuration: the checkpoint's, a named size or a file, with the corpus' vocabulary."""
    if checkpoint is not None:
        config, changes = start_from_checkpoint.configuration(checkpoint, corpus), {}
    else:
        config = read_configuration(settings.config)
        changes = {"vocab_size": corpus.vocab_size, "pad_token_id": corpus.tokenizer.pad_id}
        if settings.initializer_range is not None:
            changes["initializer_range"] = settings.initializer_range
    config = config.replace(**changes)
    longest = max(phase.max_seq_length for phase in settings.phases())
    check_length(longest, config, settings.model or settings.config)
    if settings.nsp:
        check_segments(config, settings.model or settings.config)
    return config


def read_configuration(name):
    """The `BertConfig` of a named size or of a file; None is the default."""
    name = name or "bert-base-uncased"
    if name not in NAMED_SIZES and Path(name).exists():
        return BertConfig.from_json_file(name)
    return BertConfig.from_name(name)  # an unknown name stops with the nearest size


def open_model(settings, config, checkpoint=None, corpus=None):
    """The model with the dropout of the pretraining, from random weights, or from a checkpoint for a corpus."""
    model_class = BertForPreTraining if settings.nsp else BertForMaskedLM
    padding, dropout = {"pad_vocab_size_multiple_of": settings.pad_vocab_size_multiple_of}, {}
    if settings.dropout is not None:
        dropout = {"hidden_dropout_prob": settings.dropout, "attention_probs_dropout_prob": settings.dropout}
    if checkpoint is None:
        return model_class(config.replace(**dropout), **padding)
    model = start_from_checkpoint.open_model(model_class, checkpoint, corpus, config_changes=dropout, **padding)
    fresh = [name for name in model.weight_table() if name not in checkpoint.tensors]
    print(f"start:     {settings.model}; begun fresh: {', '.join(fresh) or 'none'}")
    return model


def _sha256(corpus):
    """The hash of the manifest, which holds the hashes of all shards."""
    return hashlib.sha256((corpus.path / MANIFEST).read_bytes()).hexdigest()


def copy_tokenizer(corpus, path):
    """Puts the tokenizer that the corpus was made with beside the model."""
    for file in corpus.tokenizer_dir.iterdir():
        with whole_file(path / file.name) as stream:
            stream.write(file.read_bytes())


def _batches(corpus, settings, phase, split, seed, devices):
    """The rows of this host."""
    return PretrainingBatches(
        corpus,
        split=split,
        batch_size=phase.batch_size,
        max_seq_length=phase.max_seq_length,
        max_predictions=phase.max_predictions,
        masked_lm_prob=settings.masked_lm_prob,
        masking=settings.masking,
        nsp=settings.nsp,
        short_seq_prob=settings.short_seq_prob,
        seed=seed,
        reader=devices.host,
        num_readers=devices.num_hosts,
    )


def _draw(run, settings, baseline):
    lines = run.metrics()

    def curve(name):
        return [(line["step"], line[name]) for line in lines if name in line]

    panels = []
    for task, title in (("mlm", "Masked language model"), ("nsp", "Next sentence"))[: 1 + settings.nsp]:
        for figure in ("loss", "accuracy"):
            name = f"{task}_{figure}"
            panels.append(
                (
                    f"{title}: {figure}" + (" (nats)" if figure == "loss" else ""),
                    {"training": curve(name), "held out": curve(f"held_out_{name}")},
                    {key.removesuffix(f"_{name}"): value for key, value in baseline.items() if key.endswith(name)},
                )
            )
    draw_learning_curve(run.curve_path, f"{settings.model or settings.config}, {settings.budget()}", panels)
