"""Fine-tuning a classifier: from labelled texts and a model to a run directory, with exact continuation.

The run directory is described in `bert_tf.run_directory`; here `model/` holds the best model so far from the first
validation on, and the files of `downstream.report` say what it does on the validation set. `classify` below serves
every task that a `Task` describes: `bert-finetune classify` and `bert-finetune glue` call it.
"""

import dataclasses

import numpy as np
from keras import ops

from bert_tf.checkpoints import read_checkpoint
from bert_tf.errors import InputError
from bert_tf.files import whole_directory
from bert_tf.run_directory import RunDirectory
from bert_tf.training import make_deterministic
from downstream.baselines import Baselines
from downstream.features import open_tokenizer, tokenize
from downstream.forward import compile_forward
from downstream.heads import BertForSequenceClassification
from downstream.labels import class_weights, count_labels, encode, find_labels
from downstream.metrics import OF_TWO_LABELS, measure, metrics_of
from downstream.objective import LOSSES, SequenceObjective
from downstream.predict import read_logits
from downstream.report import draw_confusion_matrix, draw_reliability, write_predictions
from downstream.run_report import draw_run, print_run
from downstream.starting_model import open_starting_model
from downstream.train import FineTuning


def classify(output, model_path, examples, task, recipe, *, new_head=False):
    """Fine-tunes a classifier, or continues, and returns the content of `results.json`.

    Args:
        output: the run directory.
        model_path: the directory of a model or of a run to start from.
        examples: {"train": …, "validation": …, and any others to measure once, "test" say}, `Examples` with labels.
        task: a `Task` with a label column.
        recipe: a `Recipe`.
        new_head: whether to begin with a fresh head where the model has one; None: only if it has other labels.

    Raises:
        InputError: labels, model or run directory that cannot be used.
        SystemExit: status 75 after SIGTERM or SIGINT, with a checkpoint written.
    """
    # ---- What is asked for -------------------------------------------------------------------------------------
    labels = task.labels or find_labels(examples["train"], task)
    if task.chosen_by in OF_TWO_LABELS and len(labels) != 2:
        raise InputError(f"the metric {task.chosen_by} needs two labels, got {', '.join(labels)}; choose another")
    targets = {split: encode(one, task, labels) for split, one in examples.items()}
    weights = class_weights(targets["train"], task, labels)
    checkpoint = read_checkpoint(model_path)
    make_deterministic(recipe.seed)
    model, fresh = open_starting_model(
        BertForSequenceClassification,
        checkpoint,
        recipe,
        task.max_seq_length,
        new_head=new_head,
        labels=labels,
        problem_type=task.problem_type,
    )
    tokenizer = open_tokenizer(model_path, model.config)

    settings = {"command": "classify", "model": checkpoint.sha256(), "new_head": new_head}
    settings |= {split: one.sha256() for split, one in examples.items()}
    run = RunDirectory(output, settings | dataclasses.asdict(task) | recipe.settings())
    if run.results is not None:
        print(f"{output} holds a finished run; nothing to do. Its metrics: {run.results['metrics']}")
        return run.results

    # ---- Features, the plan and the baselines ------------------------------------------------------------------
    features, truncated = {}, {}
    for split in examples:
        features[split], truncated[split] = tokenize(
            examples[split], tokenizer, task.max_seq_length, model.config.pad_token_id, labels=targets[split]
        )
    objective = SequenceObjective(task.problem_type, weights)
    longest = max(int(one.lengths.max()) for one in features.values())
    tuning = FineTuning(model, objective, features["train"], recipe, longest)
    held_out = [split for split in examples if split != "train"]
    baselines = {}
    if task.problem_type == "single_label_classification":
        baseline = Baselines(features["train"], model.config.vocab_size, len(labels))
        baselines = {
            f"{split}_{name}": value for split in held_out for name, value in baseline.measure(features[split]).items()
        }
    _print_plan(examples, targets, truncated, task, labels, fresh, tuning, baselines, weights)

    # ---- Train -------------------------------------------------------------------------------------------------
    forward = compile_forward(model)

    def outputs_of(split):
        """The logits (N, C) and losses (N,) of a split."""
        logits = read_logits(forward, features[split], tuning.padded_lengths, recipe.batch_size)
        losses = LOSSES[task.problem_type](ops.convert_to_tensor(logits), ops.convert_to_tensor(targets[split]))
        return logits, ops.convert_to_numpy(losses)

    def measure_split(split):
        logits, losses = outputs_of(split)
        return {"loss": float(losses.mean(dtype=np.float64))} | measure(task.problem_type, targets[split], logits)

    def save_model():
        with whole_directory(run.model_path) as folder:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            task.save(folder)

    best = tuning.run(run, lambda: measure_split("validation"), task.chosen_by, save_model)

    # ---- What came out -----------------------------------------------------------------------------------------
    model.load_tensors(read_checkpoint(run.model_path).tensors, run.model_path)
    metrics = {f"validation_{name}": value for name, value in best["best_metrics"].items()}
    for split in held_out:
        if split != "validation":
            metrics |= {f"{split}_{name}": value for name, value in measure_split(split).items()}
    logits, losses = outputs_of("validation")
    write_predictions(
        run.path / "validation_predictions.jsonl",
        examples["validation"],
        task,
        labels,
        targets["validation"],
        logits,
        losses,
    )
    if task.problem_type == "single_label_classification":
        draw_confusion_matrix(run.path / "confusion_matrix.png", targets["validation"], logits, labels)
        metrics["validation_calibration_error"] = draw_reliability(
            run.path / "reliability.png", targets["validation"], logits
        )
    dashed = {
        label: baselines[f"validation_{label}_{task.chosen_by}"] for label in ("majority", "naive_bayes") if baselines
    }
    draw_run(run, f"{task.label}, {tuning.steps:,} steps", ["loss", task.chosen_by], {task.chosen_by: dashed})
    results = {
        "metrics": metrics,
        "baselines": baselines,
        "labels": list(labels),
        "model": str(model_path),
        "files": {split: str(one.path) for split, one in examples.items()},
        "examples": {split: len(one) for split, one in examples.items()},
        "truncated": truncated,
        "steps": tuning.steps_made,
        "best_step": best["best_step"],
        "learning_rate": tuning.learning_rate,
        "parameters": model.count_params(),
    }
    run.finish(results)
    _print_results(run, held_out, task, results)
    return results


def _print_plan(examples, targets, truncated, task, labels, fresh, tuning, baselines, weights):
    known = set(examples["train"].contents())
    for split, one in examples.items():
        line = f"{split + ':':<12}{len(one):,} examples, {truncated[split]:,} truncated to {task.max_seq_length} tokens"
        if split != "train":
            line += f", {sum(content in known for content in one.contents()):,} also in the training file"
        print(line)
        if task.problem_type != "regression":
            counts = count_labels(targets[split], task, labels)
            print(" " * 12 + ", ".join(f"{label} {count:,}" for label, count in counts.items()))
    if weights is not None:
        told = (f"{label} {weight:.3g}" for label, weight in zip(labels, weights, strict=True))
        print(f"weights:    {', '.join(told)}, in the training loss")
    print_run(tuning, fresh, "examples", task.chosen_by)
    if baselines:
        accuracies = (f"{name} {value:.3f}" for name, value in baselines.items() if name.endswith("accuracy"))
        print(f"baselines:  {', '.join(accuracies)}")


def _print_results(run, held_out, task, results):
    metrics, baselines = results["metrics"], results["baselines"]
    for split in held_out:
        for name in metrics_of(task.problem_type, len(results["labels"])):
            line = f"{split + ':':<12}{name} {metrics[f'{split}_{name}']:.3f}"
            if baselines:
                line += (
                    f"  (majority class {baselines[f'{split}_majority_{name}']:.3f}, naive Bayes "
                    f"{baselines[f'{split}_naive_bayes_{name}']:.3f})"
                )
            print(line)
    print(f"best model: step {results['best_step']:,} of {results['steps']:,}, in {run.model_path}")
    print(f"worst errors first: {run.path / 'validation_predictions.jsonl'}")
    print(f"learning curve: {run.curve_path}   TensorBoard: {run.path / 'tensorboard'}")
