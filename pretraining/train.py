"""Pretraining: from a prepared corpus to a model directory, with exact continuation.

Run it as `bert-pretrain train --data PREPARED --output RUN`; `pretrain` below is that command as a function. The run
directory is described in `bert_tf.run_directory`. Recipe: Devlin et al. 2018, section 3.1 and appendix A.2.
"""

import dataclasses
import hashlib
import signal
import sys
import time
from pathlib import Path

import keras
from tqdm import tqdm

from bert_tf.config import NAMED_SIZES, BertConfig
from bert_tf.errors import InputError
from bert_tf.figures import RunningFigures
from bert_tf.files import whole_file
from bert_tf.learning_curve import draw_learning_curve
from bert_tf.optimization import BertAdamW, WarmupLinearDecay
from bert_tf.run_directory import RunDirectory
from bert_tf.training import make_deterministic, make_step
from bert_tf.training_checkpoint import restore_training_checkpoint, save_training_checkpoint
from pretraining.batches import PretrainingBatches
from pretraining.evaluation import EVALUATION_SEED, baselines, evaluate, unigram_entropy
from pretraining.heads import BertForMaskedLM, BertForPreTraining
from pretraining.objective import PretrainingObjective
from pretraining.settings import PRECISIONS
from pretraining.shards import MANIFEST, PreparedCorpus

PREEMPTED = 75  # the exit status of a run that was told to stop and can be continued (EX_TEMPFAIL of sysexits.h)


def pretrain(output, settings):
    """Trains from scratch, or continues, until `settings.steps`; returns the final figures.

    Args:
        output: the run directory.
        settings: a `pretraining.settings.PretrainingSettings`.

    Raises:
        InputError: data, configuration or run directory that cannot be used.
        SystemExit: status 75, after SIGTERM or SIGINT, with a checkpoint written.
    """
    # ---- What is asked for -------------------------------------------------------------------------------------
    corpus = PreparedCorpus(settings.data)
    config = _configuration(settings, corpus)
    training_config = config
    if settings.dropout is not None:
        training_config = config.replace(
            hidden_dropout_prob=settings.dropout, attention_probs_dropout_prob=settings.dropout
        )
    run = RunDirectory(
        output, {"command": "pretrain", **dataclasses.asdict(settings), "corpus_sha256": _sha256(corpus)}
    )
    if run.results is not None:
        print(f"{output} holds a finished run of {settings.steps:,} steps; nothing to do.")
        return run.results

    # ---- Data, model, optimizer --------------------------------------------------------------------------------
    train_batches = _batches(corpus, settings, "train", settings.seed)
    held_out_batches = _batches(corpus, settings, "held_out", EVALUATION_SEED)
    make_deterministic(settings.seed)
    keras.config.set_dtype_policy(PRECISIONS[settings.precision])
    model = (BertForPreTraining if settings.nsp else BertForMaskedLM)(training_config)
    schedule = WarmupLinearDecay(settings.learning_rate, settings.warmup_steps, settings.steps)
    optimizer = BertAdamW(schedule, weight_decay_rate=settings.weight_decay)
    objective = PretrainingObjective(settings.nsp)
    step = make_step(model, objective, optimizer, accumulation=settings.accumulation)
    variables = [*model.variables, *optimizer.variables]

    # ---- The plan ----------------------------------------------------------------------------------------------
    per_epoch = train_batches.batches_per_epoch(0)
    limit = settings.evaluation_batches
    baseline = baselines(corpus, held_out_batches, limit)
    print(
        f"model:     {model.count_params():,} parameters, vocabulary {config.vocab_size:,}, Keras on "
        f"{keras.backend.backend()}, {settings.precision}\n"
        f"data:      {corpus.manifest['train']['documents']:,} documents, {per_epoch:,} batches of "
        f"{settings.batch_size} x {settings.max_seq_length} an epoch; held out: "
        f"{corpus.manifest['held_out']['documents']:,} documents\n"
        f"run:       {settings.steps:,} steps = {settings.steps / per_epoch:.1f} epochs = at most "
        f"{settings.steps * settings.batch_size * settings.max_seq_length:,} tokens\n"
        f"baselines: unigram entropy {unigram_entropy(corpus.unigram_counts):.3f} nats; on the held-out words "
        + ", ".join(f"{name} {value:.3f}" for name, value in baseline.items())
    )

    # ---- Continue or begin -------------------------------------------------------------------------------------
    done, progress = restore_training_checkpoint(run.checkpoints_path, variables) or (0, {})
    if done:
        step = make_step(model, objective, optimizer, accumulation=settings.accumulation)  # from the restored values
        print(f"Continuing after step {done:,}.")
    run.continue_from(done)
    epoch, position = progress.get("epoch", 0), progress.get("position", 0)
    figures = RunningFigures(progress.get("figures"))

    def save():
        step.sync()
        state = {"epoch": epoch, "position": position, "figures": figures.totals()}
        save_training_checkpoint(run.checkpoints_path, done, variables, state)

    # ---- Train -------------------------------------------------------------------------------------------------
    stop = _StopRequest()
    batches = train_batches.iterate(epoch, position)
    bar = tqdm(total=settings.steps, initial=done, unit="step", disable=None, dynamic_ncols=True)
    started, tokens = time.monotonic(), 0
    with stop, bar:
        while done < settings.steps:
            epoch, position, batch = next(batches)
            new_figures, norm = step.train(batch)
            figures.add(new_figures | {"gradient_norm": (norm, 1.0)})
            tokens += int(batch["attention_mask"].sum())
            done += 1
            bar.update()

            if done % settings.log_every == 0 or done == settings.steps:
                line = figures.values() | {"learning_rate": float(schedule(done - 1))}
                line["tokens_per_second"] = tokens / (time.monotonic() - started)
                run.log(done, line)
                bar.write(_log_line(done, settings.steps, line))
                figures, tokens, started = RunningFigures(), 0, time.monotonic()
            if done % settings.evaluate_every == 0 or done == settings.steps:
                pause = time.monotonic()
                held_out = {
                    f"held_out_{name}": value for name, value in evaluate(step, held_out_batches, limit).items()
                }
                run.log(done, held_out)
                bar.write(_log_line(done, settings.steps, held_out))
                started += time.monotonic() - pause
            if done % settings.save_every == 0 or done == settings.steps or stop.requested:
                save()
            if stop.requested:
                print(f"Stopped at step {done:,} as asked; the same command continues.", file=sys.stderr)
                raise SystemExit(PREEMPTED)

    # ---- What came out -----------------------------------------------------------------------------------------
    step.sync()
    model.config = config  # fine-tuning begins with the configuration's own dropout, whatever pretraining took
    model.save_pretrained(run.model_path)
    copy_tokenizer(corpus, run.model_path)
    _draw(run, settings, baseline)
    results = {"metrics": held_out, "baselines": baseline, "steps": done, "parameters": model.count_params()}
    run.finish(results)
    print(f"model: {run.model_path}   learning curve: {run.curve_path}   TensorBoard: {run.path / 'tensorboard'}")
    return results


class _StopRequest:
    """Notes SIGTERM and SIGINT while it is entered, so that the loop can end between two steps."""

    def __init__(self):
        self.requested = False

    def __enter__(self):
        self._earlier = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}

    def __exit__(self, *exception):
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def _note(self, number, frame):
        self.requested = True


def _configuration(settings, corpus):
    """The model's configuration: a named size or a file, with the corpus' vocabulary."""
    if settings.config in NAMED_SIZES:
        config = BertConfig.from_name(settings.config)
    elif Path(settings.config).exists():
        config = BertConfig.from_json_file(settings.config)
    else:
        config = BertConfig.from_name(settings.config)  # names the nearest size
    changes = {"vocab_size": corpus.vocab_size, "pad_token_id": corpus.tokenizer.pad_id}
    if settings.initializer_range is not None:
        changes["initializer_range"] = settings.initializer_range
    config = config.replace(**changes)
    if config.position_embedding_type != "relative" and settings.max_seq_length > config.max_position_embeddings:
        raise InputError(
            f"max_seq_length {settings.max_seq_length} is beyond max_position_embeddings "
            f"{config.max_position_embeddings} of {settings.config}; choose a shorter length or more positions"
        )
    return config


def _sha256(corpus):
    """The hash of the manifest, which holds the hashes of all shards."""
    return hashlib.sha256((corpus.path / MANIFEST).read_bytes()).hexdigest()


def copy_tokenizer(corpus, path):
    """Puts the tokenizer that the corpus was made with beside the model."""
    for file in corpus.tokenizer_dir.iterdir():
        with whole_file(path / file.name) as stream:
            stream.write(file.read_bytes())


def _batches(corpus, settings, split, seed):
    return PretrainingBatches(
        corpus,
        split=split,
        batch_size=settings.batch_size,
        max_seq_length=settings.max_seq_length,
        max_predictions=settings.max_predictions,
        masked_lm_prob=settings.masked_lm_prob,
        whole_word=settings.whole_word_masking,
        nsp=settings.nsp,
        short_seq_prob=settings.short_seq_prob,
        seed=seed,
    )


def _log_line(done, steps, figures):
    """`step 100/1,000  mlm_loss 6.214  …`; rates without decimals, small numbers in powers of ten."""
    return f"step {done:,}/{steps:,}  " + "  ".join(f"{name} {_shown(value)}" for name, value in figures.items())


def _shown(value):
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2e}"


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
    draw_learning_curve(run.curve_path, f"{settings.config}, {settings.steps:,} steps", panels)
