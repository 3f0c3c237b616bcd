"""`bert-finetune tag`: from CoNLL files and a model to a tagger of entities, with exact continuation.

The run directory is described in `bert_tf.run_directory`; `model/` holds the best model so far from the first
validation on. When the run is finished, `validation.conll` (and `test.conll`) are the files with the tags that the best
model gives as one column more, in the scheme of the files. The model itself learns IOB2 tags.
"""

import collections
import hashlib
from pathlib import Path

from bert_tf.checkpoints import read_checkpoint
from bert_tf.errors import InputError
from bert_tf.files import whole_directory
from bert_tf.run_directory import RunDirectory
from bert_tf.training import make_deterministic
from downstream.conll import read_conll, write_conll
from downstream.entities import SCHEMES, check_scheme, find_entities, find_scheme, score_entities
from downstream.features import open_tokenizer
from downstream.forward import compile_forward
from downstream.heads import BertForTokenClassification
from downstream.run_report import draw_run, print_run
from downstream.starting_model import open_starting_model
from downstream.tag_labels import encode_entities, entity_labels, usual_tags
from downstream.tag_predict import decide, tags_in
from downstream.tag_windows import make_tag_windows
from downstream.task_file import write_task_file
from downstream.token_objectives import TagObjective
from downstream.token_outputs import read_token_outputs
from downstream.train import FineTuning


def tag(
    output, model_path, files, recipe, *, word_column=1, tag_column=None, scheme=None, max_seq_length=128,
    new_head=False,
):  # fmt: skip
    """Fine-tunes a tagger, or continues, and returns the content of `results.json`.

    Args:
        output: the run directory.
        model_path: the directory of a model or of a run to start from.
        files: {"train": …, "validation": …, and perhaps "test": …}, CoNLL files.
        recipe: a `Recipe`.
        word_column, tag_column: numbers of columns, from 1; tag_column None: the last.
        scheme: "IOB1", "IOB2" or "BIOES"; None: the one that the training file fits.
        max_seq_length: tokens of a window at most, [CLS] and [SEP] included.
        new_head: begin with a fresh head where the model has one already.

    Raises:
        InputError: files, model or run directory that cannot be used.
        SystemExit: status 75 after SIGTERM or SIGINT, with a checkpoint written.
    """
    # ---- What is asked for -------------------------------------------------------------------------------------
    if scheme not in (None, *SCHEMES):
        raise InputError(f"the scheme must be one of {', '.join(SCHEMES)}, got {scheme!r}")
    if max_seq_length < 3:
        raise InputError(f"max_seq_length must be at least 3 ([CLS], a token, [SEP]), got {max_seq_length}")
    sentences = {
        split: read_conll(path, word_column=word_column, tag_column=tag_column) for split, path in files.items()
    }
    scheme = scheme or find_scheme(sentences["train"])
    for one in sentences.values():
        check_scheme(one, scheme)
    entities = {split: [find_entities(tags) for tags in one.tags] for split, one in sentences.items()}
    labels = entity_labels(sentences["train"], entities["train"])
    targets = {split: encode_entities(sentences[split], entities[split], labels) for split in files}
    checkpoint = read_checkpoint(model_path)
    make_deterministic(recipe.seed)
    model, fresh = open_starting_model(
        BertForTokenClassification, checkpoint, recipe, max_seq_length, new_head=new_head, labels=labels
    )
    tokenizer = open_tokenizer(model_path, model.config)

    reading = {"word_column": word_column, "scheme": scheme, "max_seq_length": max_seq_length}
    settings = {"command": "tag", "model": checkpoint.sha256(), "new_head": new_head}
    settings |= {"tag_column": tag_column} | reading
    settings |= {split: hashlib.sha256(Path(path).read_bytes()).hexdigest() for split, path in files.items()}
    run = RunDirectory(output, settings | recipe.settings())
    if run.results is not None:
        print(f"{output} holds a finished run; nothing to do. Its metrics: {run.results['metrics']}")
        return run.results

    # ---- Windows, the plan and the baseline --------------------------------------------------------------------
    windows = {
        split: make_tag_windows(one, tokenizer, max_seq_length, model.config.pad_token_id, targets[split])
        for split, one in sentences.items()
    }
    objective = TagObjective()
    longest = max(int(one.features.lengths.max()) for one in windows.values())
    tuning = FineTuning(model, objective, windows["train"].features, recipe, longest)
    held_out = [split for split in files if split != "train"]
    baselines = {}
    for split in held_out:
        guessed = usual_tags(sentences["train"], entities["train"], sentences[split])
        rates, _ = score_entities(entities[split], [find_entities(tags) for tags in guessed])
        baselines |= {f"{split}_most_frequent_tag_{name}": value for name, value in rates.items()}
    _print_sentences(sentences, entities, windows, scheme, max_seq_length)
    print_run(tuning, fresh, "windows", "f1")
    print(f"baselines:  {', '.join(f'{name} {value:.3f}' for name, value in baselines.items() if name.endswith('f1'))}")

    # ---- Train -------------------------------------------------------------------------------------------------
    forward = compile_forward(model)

    def read_split(split):
        """(the entities found in each sentence, the figures, those of each type)."""
        one = windows[split]
        outputs, figures = read_token_outputs(
            forward, one.features, tuning.padded_lengths, recipe.batch_size, objective
        )
        found = decide(outputs["logits"], one, sentences[split], labels)
        rates, by_type = score_entities(entities[split], found)
        return found, figures | rates, by_type

    def save_model():
        with whole_directory(run.model_path) as folder:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            write_task_file(folder, "tag", reading)

    best = tuning.run(run, lambda: read_split("validation")[1], "f1", save_model)

    # ---- What came out -----------------------------------------------------------------------------------------
    model.load_tensors(read_checkpoint(run.model_path).tensors, run.model_path)
    metrics, types = {}, {}
    for split in held_out:
        found, figures, types[split] = read_split(split)
        metrics |= {f"{split}_{name}": value for name, value in figures.items()}
        write_conll(run.path / f"{split}.conll", sentences[split], tags_in(found, sentences[split], scheme))
    dashed = {"f1": {"most frequent tag": baselines["validation_most_frequent_tag_f1"]}}
    draw_run(run, f"entities, {tuning.steps:,} steps", ["loss", "accuracy", "f1"], dashed)
    results = {
        "metrics": metrics,
        "types": types,
        "baselines": baselines,
        "labels": list(labels),
        "scheme": scheme,
        "model": str(model_path),
        "files": {split: str(path) for split, path in files.items()},
        "sentences": {split: len(one) for split, one in sentences.items()},
        "long_sentences": {split: one.long_sentences for split, one in windows.items()},
        "unknown_words": {split: one.unknown_words for split, one in windows.items()},
        "steps": tuning.steps_made,
        "best_step": best["best_step"],
        "learning_rate": tuning.learning_rate,
        "parameters": model.count_params(),
    }
    run.finish(results)
    for split in held_out:
        rates = ", ".join(f"{name} {metrics[f'{split}_{name}']:.3f}" for name in ("f1", "precision", "recall"))
        baseline = baselines[f"{split}_most_frequent_tag_f1"]
        print(f"{split + ':':<12}{rates}  (the most frequent tag of each word: f1 {baseline:.3f})")
    print(f"best model: step {best['best_step']:,} of {tuning.steps_made:,}, in {run.model_path}")
    print(f"tags:       {', '.join(str(run.path / f'{split}.conll') for split in held_out)}")
    print(f"learning curve: {run.curve_path}")
    return results


def _print_sentences(sentences, entities, windows, scheme, max_seq_length):
    known = {tuple(words) for words in sentences["train"].words}
    for split, one in sentences.items():
        line = f"{split + ':':<12}{len(one):,} sentences, {one.word_count():,} words"
        if split != "train":
            line += f", {sum(tuple(words) in known for words in one.words):,} sentences also in the training file"
        counts = collections.Counter(kind for its in entities[split] for kind, _, _ in its)
        print(
            f"{line}\n{'':<12}{windows[split].long_sentences:,} sentences longer than {max_seq_length} tokens, cut "
            f"into windows; {windows[split].unknown_words:,} words of no token, read as [UNK]\n"
            f"{'':<12}{scheme}: {', '.join(f'{kind} {counts[kind]:,}' for kind in sorted(counts))}"
        )
