"""`bert-finetune summarize`: from documents with summaries to a model that picks sentences, with exact continuation.

The run directory is described in `bert_tf.run_directory`; `model/` holds the best model so far from the first
validation on. When the run is finished, `validation.jsonl` and `test.jsonl` hold for each document the summary of the
best model ({"summary": …, "sentences": their numbers from 0}), in the order of the file.
"""

import hashlib
from pathlib import Path

from bert_tf.checkpoints import read_checkpoint
from bert_tf.errors import InputError
from bert_tf.files import whole_directory
from bert_tf.run_directory import RunDirectory
from bert_tf.training import make_deterministic
from downstream.features import open_tokenizer
from downstream.forward import compile_forward
from downstream.rouge import greedy_oracle, mean_rouge
from downstream.run_report import draw_run, print_run
from downstream.starting_model import open_starting_model
from downstream.summary_documents import make_summary_rows, read_documents
from downstream.summary_model import BertForExtractiveSummarization
from downstream.summary_predict import decide, summaries_of, write_summaries
from downstream.task_file import write_task_file
from downstream.token_objectives import SentenceObjective
from downstream.token_outputs import read_token_outputs
from downstream.train import FineTuning

CHOSEN_BY = "rouge2"


def summarize(
    output, model_path, files, recipe, *, document="article", summary="summary", language="en", sentences=3,
    max_seq_length=512, num_summary_layers=2, new_head=False,
):  # fmt: skip
    """Fine-tunes an extractive summarizer, or continues, and returns the content of `results.json`.

    Args:
        output: the run directory.
        model_path: the directory of a model or of a run to start from.
        files: {"train": …, "validation": …, and perhaps "test": …}, .jsonl files (or .csv, .tsv).
        recipe: a `Recipe`.
        document, summary: names of columns.
        language: of the documents: the rules by which sentences are split and words counted.
        sentences: how many make a summary; fewer where the rest repeats a trigram.
        max_seq_length: tokens of a document that are read; sentences behind them cannot be chosen.
        num_summary_layers: layers between sentences.
        new_head: begin with fresh ones where the model has such layers.

    Raises:
        InputError: files, model or run directory that cannot be used.
        SystemExit: status 75 after SIGTERM or SIGINT, with a checkpoint written.
    """
    # ---- What is asked for -------------------------------------------------------------------------------------
    if sentences < 1:
        raise InputError(f"sentences must be at least 1, got {sentences}")
    if max_seq_length < 3:
        raise InputError(f"max_seq_length must be at least 3 ([CLS], a token, [SEP]), got {max_seq_length}")
    documents = {split: read_documents(path, document, summary, language) for split, path in files.items()}
    checkpoint = read_checkpoint(model_path)
    make_deterministic(recipe.seed)
    model, fresh = open_starting_model(
        BertForExtractiveSummarization,
        checkpoint,
        recipe,
        max_seq_length,
        new_head=new_head,
        num_summary_layers=num_summary_layers,
    )
    tokenizer = open_tokenizer(model_path, model.config)
    reading = {"document": document, "summary": summary, "language": language, "sentences": sentences}
    reading |= {"max_seq_length": max_seq_length}
    settings = {"command": "summarize", "model": checkpoint.sha256(), "new_head": new_head}
    settings |= {"num_summary_layers": num_summary_layers} | reading
    settings |= {split: hashlib.sha256(Path(path).read_bytes()).hexdigest() for split, path in files.items()}
    run = RunDirectory(output, settings | recipe.settings())
    if run.results is not None:
        print(f"{output} holds a finished run; nothing to do. Its metrics: {run.results['metrics']}")
        return run.results

    # ---- Oracles, rows, the plan and the baselines -------------------------------------------------------------
    oracles = {
        split: [greedy_oracle(*pair, language) for pair in zip(one.sentences, one.summaries, strict=True)]
        for split, one in documents.items()
    }
    rows = {
        split: make_summary_rows(one, tokenizer, max_seq_length, model.config.pad_token_id, oracles[split])
        for split, one in documents.items()
    }
    objective = SentenceObjective()
    longest = max(int(one.features.lengths.max()) for one in rows.values())
    tuning = FineTuning(model, objective, rows["train"].features, recipe, longest)
    held_out = [split for split in files if split != "train"]
    baselines, leads = {}, {f"lead_{count}": range(count) for count in sorted({3, sentences})}
    for split in held_out:
        others = {name: [first] * len(documents[split]) for name, first in leads.items()}
        for name, chosen in (others | {"oracle": oracles[split]}).items():
            scores = mean_rouge(documents[split].summaries, summaries_of(documents[split], chosen), language)
            baselines |= {f"{split}_{name}_{rouge}": value for rouge, value in scores.items()}
    _print_documents(documents, rows, oracles, max_seq_length)
    print_run(tuning, fresh + tuning.fresh, "documents", CHOSEN_BY)

    # ---- Train -------------------------------------------------------------------------------------------------
    forward = compile_forward(model)

    def read_split(split):
        """(the numbers of the sentences chosen of each document, the figures)."""
        one = rows[split]
        outputs, figures = read_token_outputs(
            forward, one.features, tuning.padded_lengths, recipe.batch_size, objective
        )
        chosen = decide(outputs["logits"], documents[split], one, sentences, language)
        made = summaries_of(documents[split], chosen)
        return chosen, figures | mean_rouge(documents[split].summaries, made, language)

    def save_model():
        with whole_directory(run.model_path) as folder:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            write_task_file(folder, "summarize", reading)

    best = tuning.run(run, lambda: read_split("validation")[1], CHOSEN_BY, save_model)

    # ---- What came out -----------------------------------------------------------------------------------------
    model.load_tensors(read_checkpoint(run.model_path).tensors, run.model_path)
    metrics = {}
    for split in held_out:
        chosen, figures = read_split(split)
        metrics |= {f"{split}_{name}": value for name, value in figures.items()}
        write_summaries(run.path / f"{split}.jsonl", documents[split], chosen)
    dashed = {name: baselines[f"validation_{name}_{CHOSEN_BY}"] for name in (f"lead_{sentences}", "oracle")}
    draw_run(run, f"summaries, {tuning.steps:,} steps", ["loss", CHOSEN_BY], {CHOSEN_BY: dashed})
    results = {
        "metrics": metrics,
        "baselines": baselines,
        "model": str(model_path),
        "files": {split: str(path) for split, path in files.items()},
        "documents": {split: len(one) for split, one in documents.items()},
        "cut_documents": {split: one.cut_documents for split, one in rows.items()},
        "unseen_sentences": {split: one.unseen_sentences for split, one in rows.items()},
        "steps": tuning.steps_made,
        "best_step": best["best_step"],
        "learning_rate": tuning.learning_rate,
        "parameters": model.count_params(),
    }
    run.finish(results)
    for split in held_out:
        for name in [*leads, "oracle"]:
            _print_rouge(split, name, {rouge: baselines[f"{split}_{name}_{rouge}"] for rouge in _ROUGE})
        _print_rouge(split, "this model", {rouge: metrics[f"{split}_{rouge}"] for rouge in _ROUGE})
    print(f"best model: step {best['best_step']:,} of {tuning.steps_made:,}, in {run.model_path}")
    print(f"summaries:  {', '.join(str(run.path / f'{split}.jsonl') for split in held_out)}")
    return results


_ROUGE = ("rouge1", "rouge2", "rougeL")


def _print_rouge(split, name, scores):
    print(f"{split + ':':<12}{name:<12}" + "  ".join(f"{rouge} {value:.4f}" for rouge, value in scores.items()))


def _print_documents(documents, rows, oracles, max_seq_length):
    known = {tuple(its) for its in documents["train"].sentences}
    for split, one in documents.items():
        count, wanted = sum(map(len, one.sentences)), sum(map(len, oracles[split]))
        read = int((rows[split].features.per_token["labels"] == 1).sum())
        line = f"{split + ':':<12}{len(one):,} documents, {count:,} sentences"
        if split != "train":
            line += f", {sum(tuple(its) in known for its in one.sentences):,} documents also in the training file"
        print(
            f"{line}\n{'':<12}{rows[split].cut_documents:,} documents cut to {max_seq_length} tokens, "
            f"{rows[split].unseen_sentences:,} sentences not read, {rows[split].shortened:,} sentences shortened\n"
            f"{'':<12}oracle: {wanted:,} sentences, {wanted / len(one):.1f} a document; {wanted - read:,} not read"
        )
