"""The main job from end to end: from text on this machine to a BERT that answers out of a SavedModel.

    make demo          or: python docs/demo/run.py --output demo [--short]

Each step is a command that you could type; it is printed before it runs. A step that was finished is not repeated, and
the long ones continue where they stopped: interrupt this anywhere and run it again. After the package is installed
nothing is downloaded. `--short` takes less text and fewer steps: it shows that everything works, not what it reaches.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent

# A tiny BERT (2 layers of width 128) learns most a minute with short sequences, a small vocabulary, no dropout, a rate
# far above the 1e-4 of BERT-base, and initial weights of about 1/sqrt(128): with BERT's 0.02 it stays on the unigram
# plateau for millions of tokens.
VOCABULARY = 4000
LENGTH = 64
FULL = {"steps": 4000, "epochs": 3, "evaluate": 500, "save": 200, "gather": []}
SHORT = {"steps": 60, "epochs": 1, "evaluate": 30, "save": 20, "gather": ["--limit", "600"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("demo"), help="the folder for everything it makes")
    parser.add_argument("--short", action="store_true", help="a small version, for continuous integration")
    arguments = parser.parse_args()
    try:
        demo(arguments.output, SHORT if arguments.short else FULL)
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; the same command goes on from here.")
    except subprocess.CalledProcessError as error:
        sys.exit(f"\nThe step above ended with status {error.returncode}; the same command goes on from here.")


def demo(output, size):
    started = time.monotonic()
    text, tokenizer, corpus = output / "text", output / "tokenizer", output / "corpus"
    pretrained, finetuned, served = output / "pretrained", output / "finetuned", output / "saved_model"

    step("1. Text: the documentation of Python and its packages")
    run(HERE / "gather.py", "--output", text, *size["gather"], unless=text / "test.tsv")

    step("2. Vocabulary: WordPiece")
    run("-m", "pretraining", "vocab", text / "corpus.txt", "--output", tokenizer, "--vocab-size", VOCABULARY,
        unless=tokenizer / "vocab.txt")  # fmt: skip

    step("3. Corpus: sentences of token ids, 4 % of the documents held out")
    run("-m", "pretraining", "prepare", text / "corpus.txt", "--tokenizer", tokenizer, "--output", corpus,
        "--held-out", 0.04, "--workers", 2)  # fmt: skip

    step("4. Pretraining: masked language model and next sentence")
    run("-m", "pretraining", "train", "--data", corpus, "--output", pretrained, "--config", "bert-tiny",
        "--max-seq-length", LENGTH, "--max-predictions", 10, "--batch-size", 32, "--steps", size["steps"],
        "--warmup-share", 0.05, "--learning-rate", 1e-3, "--initializer-range", 0.08, "--dropout", 0.0,
        "--evaluate-every", size["evaluate"], "--save-every", size["save"])  # fmt: skip

    step("5. Fill a mask")
    run("-m", "bert_tf", "fill-mask", "--model", pretrained, "Returns [MASK] if the file does not exist.")

    step("6. Fine-tuning: which package does this text come from?")
    run("-m", "downstream", "classify", "--model", pretrained / "model", "--train", text / "train.tsv",
        "--validation", text / "validation.tsv", "--test", text / "test.tsv", "--text", "text", "--label", "package",
        "--output", finetuned, "--epochs", size["epochs"], "--learning-rate", 5e-4,
        "--max-seq-length", 128, "--save-every", size["save"])  # fmt: skip

    step("7. Export: one SavedModel that takes raw text")
    run("-m", "bert_tf", "export", "--model", finetuned, "--output", served, unless=served / "saved_model.pb")

    step("8. A question to it, from a process that imports tensorflow alone")
    run(HERE / "ask.py", served, "Draws a line between two points of the figure, in the given colour.")

    step("What came out")
    report(pretrained, finetuned)
    minutes = (time.monotonic() - started) / 60
    print(f"\nLearning curves: {pretrained / 'learning_curve.png'} and {finetuned / 'learning_curve.png'}")
    print(f"TensorBoard:     tensorboard --logdir {output}   (pip install tensorboard)")
    print(f"SavedModel:      {served}\nThe demo took {minutes:.1f} minutes.")


def report(pretrained, finetuned):
    """The figures that matter, each beside what a model that reads nothing reaches."""
    results = json.loads((pretrained / "results.json").read_text(encoding="utf-8"))
    reached, guess = results["metrics"], results["baselines"]
    rows = [
        ("held-out MLM accuracy", reached["held_out_mlm_accuracy"], "always the most frequent word",
         guess["most_frequent_mlm_accuracy"]),
        ("held-out MLM loss, nats", reached["held_out_mlm_loss"], "word frequencies alone (unigram)",
         guess["unigram_mlm_loss"]),
        ("held-out NSP accuracy", reached["held_out_nsp_accuracy"], "always the same answer",
         guess["most_frequent_nsp_accuracy"]),
    ]  # fmt: skip
    task = json.loads((finetuned / "results.json").read_text(encoding="utf-8"))
    reached, guess = task["metrics"], task["baselines"]
    for other, name in (("always the largest class", "test_majority"), ("naive Bayes", "test_naive_bayes")):
        rows.append(("test accuracy of the classifier", reached["test_accuracy"], other, guess[f"{name}_accuracy"]))
    for name, value, other, baseline in rows:
        print(f"{name:32} {value:6.3f}   {other:34} {baseline:6.3f}")


def step(title):
    print(f"\n=== {title}", flush=True)


def run(*words, unless=None):
    """Runs `python WORDS…`, showing it first; not again where the file `unless` shows that it was finished."""
    words = [str(word) for word in words]
    if unless is not None and unless.exists():
        print(f"(done before: {unless} exists)", flush=True)
        return
    print(f"$ python {shlex.join(words)}", flush=True)
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}  # without TensorFlow's notes on the missing GPU
    process = subprocess.Popen([sys.executable, *words], env=quiet)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.wait()  # Ctrl-C reached the step as well: it may be writing a checkpoint
        raise
    if status:
        raise subprocess.CalledProcessError(status, process.args)


if __name__ == "__main__":
    main()
