"""`bert-finetune squad`: from SQuAD files and a model to one that answers questions, with exact continuation.

The run directory is described in `bert_tf.run_directory`; `model/` holds the best model so far from the first
validation on. Beside it, when the run is finished, are the answers of the best model to the validation questions:

    predictions.json   {id: text}, "" for no answer: what `bert-finetune evaluate --task squad` reads
    n_best.json        {id: [{text, probability, start_logit, end_logit}, …]}, the best first
    null_odds.json     v2.0: {id: the score of no answer minus that of the best answer}
"""

import dataclasses
import hashlib
import json
from pathlib import Path

from bert_tf.checkpoints import read_checkpoint
from bert_tf.files import whole_directory, whole_file
from bert_tf.run_directory import RunDirectory
from bert_tf.training import make_deterministic
from downstream.features import open_tokenizer
from downstream.forward import compile_forward
from downstream.heads import BertForQuestionAnswering
from downstream.run_report import draw_run, print_run
from downstream.squad_answers import AnswerSettings, find_answers
from downstream.squad_metrics import measure
from downstream.squad_questions import read_questions
from downstream.squad_windows import WindowSettings, make_windows
from downstream.starting_model import open_starting_model
from downstream.task_file import write_task_file
from downstream.token_objectives import SpanObjective
from downstream.token_outputs import read_token_outputs
from downstream.train import FineTuning


def squad(output, model_path, files, recipe, *, version_2=False, windows=None, answers=None, new_head=False):
    """Fine-tunes a model for question answering, or continues, and returns the content of `results.json`.

    Args:
        output: the run directory.
        model_path: the directory of a model or of a run to start from.
        files: {"train": …, "validation": …}, SQuAD files.
        recipe: a `Recipe`.
        version_2: questions may have no answer.
        windows, answers: `WindowSettings` and `AnswerSettings`; None: the usual ones.
        new_head: begin with a fresh head where the model has one already.

    Raises:
        InputError: files, model or run directory that cannot be used.
        SystemExit: status 75 after SIGTERM or SIGINT, with a checkpoint written.
    """
    # ---- What is asked for -------------------------------------------------------------------------------------
    windows, answers = windows or WindowSettings(), answers or AnswerSettings()
    questions = {split: read_questions(path, version_2=version_2) for split, path in files.items()}
    checkpoint = read_checkpoint(model_path)
    make_deterministic(recipe.seed)
    model, fresh = open_starting_model(
        BertForQuestionAnswering, checkpoint, recipe, windows.max_seq_length, new_head=new_head
    )
    tokenizer = open_tokenizer(model_path, model.config)

    settings = {"command": "squad", "model": checkpoint.sha256(), "new_head": new_head}
    settings |= {split: hashlib.sha256(Path(path).read_bytes()).hexdigest() for split, path in files.items()}
    reading = {"version_2": version_2} | dataclasses.asdict(windows) | dataclasses.asdict(answers)
    run = RunDirectory(output, settings | reading | recipe.settings())
    if run.results is not None:
        print(f"{output} holds a finished run; nothing to do. Its metrics: {run.results['metrics']}")
        return run.results

    # ---- Windows and the plan ----------------------------------------------------------------------------------
    cut = {split: make_windows(one, tokenizer, windows, model.config.pad_token_id) for split, one in questions.items()}
    objective = SpanObjective()
    longest = max(int(one.features.lengths.max()) for one in cut.values())
    tuning = FineTuning(model, objective, cut["train"].features, recipe, longest)
    chosen_by = "best_f1" if version_2 else "f1"
    _print_questions(questions, cut, windows)
    print_run(tuning, fresh, "windows", chosen_by)

    # ---- Train -------------------------------------------------------------------------------------------------
    forward = compile_forward(model)
    threshold = 0.0  # for no answer, by the last validation

    def answer():
        """(the answers to the validation questions, their figures)."""
        logits, figures = read_token_outputs(
            forward, cut["validation"].features, tuning.padded_lengths, recipe.batch_size, objective
        )
        found = find_answers(
            questions["validation"], cut["validation"], logits["start_logits"], logits["end_logits"], answers
        )
        figures |= measure(questions["validation"], found.decide(0.0))
        if version_2:
            swept = measure(questions["validation"], found.texts, found.null_odds)
            figures |= {name: value for name, value in swept.items() if name.startswith("best_")}
        return found, figures

    def save_model():
        with whole_directory(run.model_path) as folder:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            write_task_file(folder, "squad", reading | {"null_odds_threshold": threshold})

    def validate():
        nonlocal threshold
        metrics = answer()[1]
        threshold = metrics.get("best_f1_thresh", 0.0)
        return metrics

    best = tuning.run(run, validate, chosen_by, save_model)

    # ---- What came out -----------------------------------------------------------------------------------------
    model.load_tensors(read_checkpoint(run.model_path).tensors, run.model_path)
    metrics, found = best["best_metrics"], answer()[0]
    threshold = metrics.get("best_f1_thresh", 0.0)
    _write(run.path / "predictions.json", found.decide(threshold))
    _write(run.path / "n_best.json", found.n_best)
    if version_2:
        _write(run.path / "null_odds.json", found.null_odds)
    draw_run(run, f"question answering, {tuning.steps:,} steps", ["loss", chosen_by], {})
    results = {
        "metrics": {f"validation_{name}": value for name, value in metrics.items()},
        "null_odds_threshold": threshold if version_2 else None,
        "model": str(model_path),
        "files": {split: str(path) for split, path in files.items()},
        "questions": {split: len(one) for split, one in questions.items()},
        "windows": {split: len(one.features) for split, one in cut.items()},
        "long_questions": {split: one.long_questions for split, one in cut.items()},
        "steps": tuning.steps_made,
        "best_step": best["best_step"],
        "learning_rate": tuning.learning_rate,
        "parameters": model.count_params(),
    }
    run.finish(results)
    for name in ("best_exact", "best_f1") if version_2 else ("exact", "f1"):
        print(f"{'validation:':<12}{name} {metrics[name]:.3f}")
    print(f"best model: step {best['best_step']:,} of {tuning.steps_made:,}, in {run.model_path}")
    print(f"answers:    {run.path / 'predictions.json'}   learning curve: {run.curve_path}")
    return results


def _print_questions(questions, cut, windows):
    known = set(questions["train"].contents())
    for split, one in questions.items():
        positions = cut[split].features.per_example["start_positions"]
        line = f"{split + ':':<12}{len(one):,} questions about {len(one.contexts):,} contexts"
        if one.version_2:
            line += f", {sum(not answers for answers in one.answers):,} without an answer"
        if split != "train":
            line += f", {sum(content in known for content in one.contents()):,} also in the training file"
        print(
            f"{line}\n{'':<12}{len(positions):,} windows of at most {windows.max_seq_length} tokens, "
            f"{int((positions > 0).sum()):,} with the whole answer; {cut[split].long_questions:,} questions cut to "
            f"{windows.max_query_length} tokens"
        )


def _write(path, values):
    with whole_file(path, "w") as stream:
        stream.write(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
