"""`bert-finetune distill`: a smaller classifier from a fine-tuned one, with exact continuation.

The run directory is described in `bert_tf.run_directory`; `model/` is the best student after any epoch. In
`without_distillation/` is the run of the same student, from the same start and with the same recipe, on the labels
alone: what the teacher is worth is the difference.
"""

import dataclasses
import statistics
import time

import numpy as np
from keras import ops

from bert_tf.checkpoints import model_directory, read_checkpoint
from bert_tf.choices import PRECISIONS
from bert_tf.errors import InputError
from bert_tf.files import whole_directory
from bert_tf.run_directory import RunDirectory
from bert_tf.training import make_deterministic
from downstream.batches import make_batch, reading_plan
from downstream.distillation_losses import DistillationObjective
from downstream.distiller import Distiller
from downstream.examples import read_examples
from downstream.features import open_tokenizer, tokenize
from downstream.forward import compile_forward
from downstream.heads import BertForSequenceClassification
from downstream.labels import encode
from downstream.metrics import measure
from downstream.objective import cross_entropies
from downstream.predict import read_logits
from downstream.run_report import draw_run, print_run
from downstream.student import open_student
from downstream.tasks import Task
from downstream.train import FineTuning

_TIMED_ROUNDS, _TIMED_BATCHES = 5, 8


def distill(output, teacher_path, student_name, files, recipe, settings, *, new_head=False, **changes):
    """Trains the student twice, on the labels alone and with its teacher; returns the content of `results.json`.

    Args:
        output: the run directory.
        teacher_path: the directory of a fine-tuned classifier, or of its run.
        student_name: see `downstream.student.open_student`.
        files: {"train": …, "validation": …, and perhaps "test": …}, files with labels.
        recipe: a `Recipe`, for both runs.
        settings: `DistillationSettings`.
        new_head: begin with a fresh head where the student has one.
        changes: `text`, `text_pair`, `label` and `max_seq_length` in place of those in the teacher's `task.json`.

    Raises:
        InputError: files, models or run directory that cannot be used.
        SystemExit: status 75 after SIGTERM or SIGINT, with a checkpoint written.
    """
    # ---- What is asked for -------------------------------------------------------------------------------------
    folder = model_directory(teacher_path)
    teacher = BertForSequenceClassification.from_pretrained(folder, dtype=PRECISIONS[recipe.precision], name="teacher")
    task = Task.of_model(folder, teacher, **changes)
    if task.problem_type != "single_label_classification":
        raise InputError(f"{teacher_path} is a model of {task.problem_type}; distill takes single_label_classification")
    if task.label is None:
        raise InputError(f"the task of {teacher_path} names no column of labels; name it with --label")
    task.check_length(teacher.config, str(folder))
    tokenizer = open_tokenizer(folder, teacher.config)
    examples = {split: read_examples(path, task) for split, path in files.items()}
    targets = {split: encode(one, task, teacher.labels) for split, one in examples.items()}

    def begin():
        make_deterministic(recipe.seed)
        return open_student(student_name, teacher_path, task, recipe, teacher.labels, new_head=new_head)

    student, _, student_is = begin()
    settings = settings.of(student.config, teacher.config)
    asked = {"command": "distill", "teacher": read_checkpoint(folder).sha256(), "student": student_is}
    asked |= {split: one.sha256() for split, one in examples.items()} | {"new_head": new_head}
    asked |= dataclasses.asdict(task) | recipe.settings()
    run = RunDirectory(output, asked | dataclasses.asdict(settings))
    if run.results is not None:
        print(f"{output} holds a finished run; nothing to do. Its metrics: {run.results['metrics']}")
        return run.results

    # ---- Features ----------------------------------------------------------------------------------------------
    features, truncated = {}, {}
    for split, one in examples.items():
        features[split], truncated[split] = tokenize(
            one, tokenizer, task.max_seq_length, teacher.config.pad_token_id, labels=targets[split]
        )
        cut = f"{truncated[split]:,} truncated to {task.max_seq_length} tokens"
        print(f"{split + ':':<12}{len(one):,} examples, {cut}")
    longest = max(int(one.lengths.max()) for one in features.values())
    held_out = [split for split in files if split != "train"]

    def measure_split(forward, split, padded_lengths):
        logits = read_logits(forward, features[split], padded_lengths, recipe.batch_size)
        losses = cross_entropies(ops.convert_to_tensor(logits), ops.convert_to_tensor(targets[split]))
        loss = float(np.mean(ops.convert_to_numpy(losses), dtype=np.float64))
        return {"loss": loss} | measure(task.problem_type, targets[split], logits)

    # ---- The student, trained with some losses -----------------------------------------------------------------

    def train(run, losses):
        """(the plan of the run, its best student, the metrics of each file)."""
        student, fresh, _ = begin()
        model = Distiller(student, teacher, losses, settings.layers, settings.relation_layer)
        objective = DistillationObjective(losses, settings.temperature, settings.relation_heads)
        tuning = FineTuning(model, objective, features["train"], recipe, longest)
        print_run(tuning, fresh + tuning.fresh, "examples", task.chosen_by)
        forward = compile_forward(student)

        def save_model():
            with whole_directory(run.model_path) as folder:
                student.save_pretrained(folder)
                tokenizer.save_pretrained(folder)
                task.save(folder)

        tuning.run(run, lambda: measure_split(forward, "validation", tuning.padded_lengths), task.chosen_by, save_model)
        student.load_tensors(read_checkpoint(run.model_path).tensors, run.model_path)
        metrics = {}
        for split in held_out:
            measured = measure_split(forward, split, tuning.padded_lengths)
            metrics |= {f"{split}_{name}": value for name, value in measured.items()}
        draw_run(run, f"{task.label}, {', '.join(losses)}", ["loss", "accuracy"], {})
        return tuning, student, metrics

    # ---- Without the teacher, then with it ---------------------------------------------------------------------
    alone = RunDirectory(run.path / "without_distillation", asked | {"losses": {"labels": 1.0}})
    if alone.results is None:
        print("without distillation: the labels alone")
        alone.finish({"metrics": train(alone, {"labels": 1.0})[2]})
    print(f"with distillation: {', '.join(f'{weight:g} {name}' for name, weight in settings.losses.items())}")
    layers = ", ".join(f"{ours} from {theirs}" for ours, theirs in enumerate(settings.layers, start=1))
    print(f"layers:     {layers}; relations of layer {settings.relation_layer} in {settings.relation_heads} parts")
    tuning, student, metrics = train(run, settings.losses)

    # ---- What came out -----------------------------------------------------------------------------------------
    of_teacher = {}
    for split in held_out:
        measured = measure_split(compile_forward(teacher), split, tuning.padded_lengths)
        of_teacher |= {f"{split}_{name}": value for name, value in measured.items()}
    speeds = _sentences_per_second(
        {"teacher": teacher, "student": student}, features["validation"], tuning.padded_lengths, recipe.batch_size
    )
    results = {
        "metrics": metrics,
        "without_distillation": alone.results["metrics"],
        "teacher": of_teacher,
        "parameters": {"teacher": teacher.count_params(), "student": student.count_params()},
        "sentences_per_second": speeds,
        "labels": list(teacher.labels),
        "examples": {split: len(one) for split, one in examples.items()},
        "truncated": truncated,
        "steps": tuning.steps_made,
        "learning_rate": tuning.learning_rate,
    }
    run.finish(results)
    for split in held_out:
        key = f"{split}_{task.chosen_by}"
        print(
            f"{split + ':':<12}{task.chosen_by} of the teacher {of_teacher[key]:.4f}, of the student without "
            f"distillation {results['without_distillation'][key]:.4f}, with it {metrics[key]:.4f}"
        )
    for name in speeds:
        print(f"{name + ':':<12}{results['parameters'][name]:,} parameters, {speeds[name]:,.0f} sentences/s")
    print(f"best model: {run.model_path}")
    return results


def _sentences_per_second(models, features, padded_lengths, batch_size):
    """{name: rate} over the same batches, the models by turns; the median of the rounds, after one that compiles."""
    chosen = reading_plan(features.lengths, batch_size)
    chosen = chosen[:: max(1, len(chosen) // _TIMED_BATCHES)]
    batches = [make_batch(features, rows, padded_lengths, batch_size) for rows in chosen]
    forwards = {name: compile_forward(model) for name, model in models.items()}
    seconds = {name: [] for name in models}
    for _ in range(1 + _TIMED_ROUNDS):
        for name, forward in forwards.items():
            began = time.perf_counter()
            for batch in batches:
                np.asarray(forward(batch)["logits"])
            seconds[name].append(time.perf_counter() - began)
    return {name: batch_size * len(batches) / statistics.median(its[1:]) for name, its in seconds.items()}
