"""`bert-finetune classify`: from files of labelled texts and a model to a classifier, with exact continuation.

The run directory is described in `bert_tf.run_directory`; here `model/` holds the best model so far from the first
validation on. `classify` below is the command as a function: it serves every task that a `Task` describes.
"""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
from keras import ops

from bert_tf.checkpoints import read_checkpoint
from bert_tf.config import PRECISIONS
from bert_tf.errors import InputError
from bert_tf.files import whole_directory
from bert_tf.learning_curve import draw_learning_curve
from bert_tf.run_directory import RunDirectory
from bert_tf.training import make_deterministic
from downstream.baselines import Baselines
from downstream.examples import read_examples
from downstream.features import open_tokenizer, tokenize
from downstream.forward import compile_forward
from downstream.heads import BertForSequenceClassification, labels_of
from downstream.labels import count_labels, encode, find_labels
from downstream.metrics import METRICS, measure
from downstream.objective import LOSSES, SequenceObjective
from downstream.predict import read_logits
from downstream.train import FineTuning


def classify(output, model_path, files, task, recipe, *, new_head=False):
    """Fine-tunes a classifier, or continues, and returns the content of `results.json`.

    Args:
        output: the run directory.
        model_path: the directory of a model or of a run to start from.
        files: {"train": …, "validation": …, and perhaps "test": …}, .tsv, .csv or .jsonl files.
        task: a `Task` with a label column.
        recipe: a `Recipe`.
        new_head: begin with a fresh head where the model has one already.

    Raises:
        InputError: files, model or run directory that cannot be used.
        SystemExit: status 75 after SIGTERM or SIGINT, with a checkpoint written.
    """
    # ---- What is asked for -------------------------------------------------------------------------------------
    examples = {split: read_examples(path, task) for split, path in files.items()}
    labels = task.labels or find_labels(examples["train"], task)
    targets = {split: encode(examples[split], task, labels) for split in files}
    checkpoint = read_checkpoint(model_path)
    make_deterministic(recipe.seed)
    model, fresh = _open_model(checkpoint, labels, task, recipe, new_head)
    task.check_length(model.config, str(model_path))
    tokenizer = open_tokenizer(model_path, model.config)

    settings = {"command": "classify", "model": checkpoint.sha256(), "new_head": new_head}
    settings |= {split: hashlib.sha256(Path(path).read_bytes()).hexdigest() for split, path in files.items()}
    run = RunDirectory(output, settings | dataclasses.asdict(task) | recipe.settings())
    if run.results is not None:
        print(f"{output} holds a finished run; nothing to do. Its metrics: {run.results['metrics']}")
        return run.results

    # ---- Features, the plan and the baselines ------------------------------------------------------------------
    features, truncated = {}, {}
    for split in files:
        features[split], truncated[split] = tokenize(
            examples[split], tokenizer, task.max_seq_length, model.config.pad_token_id, labels=targets[split]
        )
    objective = SequenceObjective(task.problem_type)
    longest = max(int(one.lengths.max()) for one in features.values())
    tuning = FineTuning(model, objective, features["train"], recipe, longest)
    held_out = [split for split in files if split != "train"]
    baselines = {}
    if task.problem_type == "single_label_classification":
        baseline = Baselines(features["train"], model.config.vocab_size)
        baselines = {
            f"{split}_{name}": value for split in held_out for name, value in baseline.measure(features[split]).items()
        }
    _print_plan(examples, targets, truncated, task, labels, model, fresh, tuning, baselines)

    # ---- Train -------------------------------------------------------------------------------------------------
    forward = compile_forward(model)

    def measure_split(split):
        logits = read_logits(forward, features[split], tuning.padded_lengths, recipe.batch_size)
        losses = LOSSES[task.problem_type](ops.convert_to_tensor(logits), ops.convert_to_tensor(targets[split]))
        loss = float(np.mean(ops.convert_to_numpy(losses), dtype=np.float64))
        return {"loss": loss} | measure(task.problem_type, targets[split], logits)

    def save_model():
        with whole_directory(run.model_path) as folder:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            task.save(folder)

    best = tuning.run(run, lambda: measure_split("validation"), task.chosen_by, save_model)

    # ---- What came out -----------------------------------------------------------------------------------------
    model.load_tensors(read_checkpoint(run.model_path).tensors, run.model_path)
    metrics = {f"validation_{name}": value for name, value in best["best_metrics"].items()}
    if "test" in files:
        metrics |= {f"test_{name}": value for name, value in measure_split("test").items()}
    _draw(run, task, tuning, baselines)
    results = {
        "metrics": metrics,
        "baselines": baselines,
        "labels": list(labels),
        "model": str(model_path),
        "files": {split: str(path) for split, path in files.items()},
        "examples": {split: len(examples[split]) for split in files},
        "truncated": truncated,
        "steps": tuning.steps,
        "best_step": best["best_step"],
        "learning_rate": tuning.learning_rate,
        "parameters": model.count_params(),
    }
    run.finish(results)
    _print_results(run, held_out, task, results)
    return results


def _open_model(checkpoint, labels, task, recipe, new_head):
    """(the model, the names of its tensors that the checkpoint does not have and that begin fresh)."""
    tensors = dict(checkpoint.tensors)
    if new_head:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier.")}
    elif "classifier.weight" in tensors:
        its_labels = labels_of(checkpoint.values)
        if tuple(its_labels) != tuple(labels):
            raise InputError(
                f"{checkpoint.config_path.parent} has a head for the labels {', '.join(its_labels)}, the training "
                f"file has {', '.join(labels)}; pass --new-head to begin with a fresh one, or give the labels in the "
                "order of the model with --labels"
            )
    changes, dropout = {}, checkpoint.values.get("classifier_dropout")
    if recipe.dropout is not None:
        changes = {"hidden_dropout_prob": recipe.dropout, "attention_probs_dropout_prob": recipe.dropout}
        dropout = recipe.dropout
    model = BertForSequenceClassification.from_pretrained(
        dataclasses.replace(checkpoint, tensors=tensors),
        allow_missing_head=True,
        dtype=PRECISIONS[recipe.precision],
        config_changes=changes,
        labels=labels,
        problem_type=task.problem_type,
        classifier_dropout=dropout,
    )
    return model, [name for name in model.weight_table() if name not in tensors]


def _print_plan(examples, targets, truncated, task, labels, model, fresh, tuning, baselines):
    known = set(examples["train"].contents())
    for split, one in examples.items():
        line = f"{split + ':':<12}{len(one):,} examples, {truncated[split]:,} truncated to {task.max_seq_length} tokens"
        if split != "train":
            line += f", {sum(content in known for content in one.contents()):,} also in the training file"
        print(line)
        if task.problem_type != "regression":
            counts = count_labels(targets[split], task, labels)
            print(" " * 12 + ", ".join(f"{label} {count:,}" for label, count in counts.items()))
    recipe = tuning.recipe
    print(
        f"model:      {model.count_params():,} parameters; begun fresh: {', '.join(fresh) or 'none'}\n"
        f"batches:    {tuning.batches.per_epoch:,} an epoch of {recipe.batch_size} examples, padded to "
        f"{', '.join(map(str, tuning.padded_lengths))} tokens, {tuning.batches.real_share():.1%} of them real\n"
        f"run:        {tuning.steps:,} steps = {recipe.epochs} epochs, peak rate {tuning.learning_rate:.2e} after "
        f"{tuning.warmup_steps:,} steps, {recipe.precision}; best by validation {task.chosen_by}"
    )
    if baselines:
        accuracies = (f"{name} {value:.3f}" for name, value in baselines.items() if name.endswith("accuracy"))
        print(f"baselines:  {', '.join(accuracies)}")


def _print_results(run, held_out, task, results):
    metrics, baselines = results["metrics"], results["baselines"]
    for split in held_out:
        for name in METRICS[task.problem_type]:
            line = f"{split + ':':<12}{name} {metrics[f'{split}_{name}']:.3f}"
            if baselines:
                line += (
                    f"  (majority class {baselines[f'{split}_majority_{name}']:.3f}, naive Bayes "
                    f"{baselines[f'{split}_naive_bayes_{name}']:.3f})"
                )
            print(line)
    print(f"best model: step {results['best_step']:,} of {results['steps']:,}, in {run.model_path}")
    print(f"learning curve: {run.curve_path}   TensorBoard: {run.path / 'tensorboard'}")


def _draw(run, task, tuning, baselines):
    lines = run.metrics()

    def curve(name):
        return [(line["step"], line[name]) for line in lines if name in line]

    panels = []
    for name in ("loss", task.chosen_by):
        curves = {"training": curve(name), "validation": curve(f"validation_{name}")}
        dashed = {
            label: baselines[key]
            for label in ("majority", "naive_bayes")
            if (key := f"validation_{label}_{name}") in baselines
        }
        panels.append((name, {label: points for label, points in curves.items() if points}, dashed))
    draw_learning_curve(run.curve_path, f"{task.label}, {tuning.steps:,} steps", panels)
