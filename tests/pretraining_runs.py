"""A small prepared corpus and pretraining commands on it, for the tests of whole runs."""

import json
import random
import subprocess
import sys
import time

WORDS = "the a red green old new cat dog bird house tree river sees likes finds leaves near under over and but".split()
TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
}


def make_text(path, documents=40, seed=3):
    """Documents of four to nine sentences of known words, each document with its own six."""
    rng = random.Random(seed)
    texts = []
    for _ in range(documents):
        topic = rng.sample(WORDS, 6)
        sentences = [
            " ".join(rng.choices(topic, k=rng.randint(4, 9))).capitalize() + "." for _ in range(rng.randint(4, 9))
        ]
        texts.append("\n".join(sentences))
    path.write_text("\n\n".join(texts) + "\n", encoding="utf-8")


def make_corpus(folder):
    """Text, vocabulary, prepared corpus and config.json in `folder`; returns the corpus' path."""
    from pretraining.prepare import prepare
    from pretraining.vocabulary import make_vocabulary

    make_text(folder / "text.txt")
    settings = {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}
    make_vocabulary([folder / "text.txt"], folder / "tokenizer", settings, 64, vocab_size=90)
    prepare([folder / "text.txt"], folder / "tokenizer", folder / "corpus", language=None, held_out=0.2)
    (folder / "config.json").write_text(json.dumps(TINY), encoding="utf-8")
    return folder / "corpus"


def train_command(folder, output, **options):
    """`python -m pretraining train` on that corpus, 32 tokens a sequence, dropout on."""
    settings = {
        "data": folder / "corpus",
        "config": folder / "config.json",
        "output": output,
        "max-seq-length": 32,
        "max-predictions": 5,
        "batch-size": 4,
        "steps": 300,  # enough for a kill to come in between
        "warmup-share": 0.1,
        "learning-rate": 2e-3,
        "log-every": 10,
        "evaluate-every": 150,
        "save-every": 20,
    } | {name.replace("_", "-"): value for name, value in options.items()}
    words = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
    return [sys.executable, "-m", "pretraining", "train", *words]


def lines(output):
    """How many whole lines metrics.jsonl has."""
    path = output / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def run_and_kill(command, output, at_line, environment=None):
    """Starts the command and kills it with SIGKILL as soon as metrics.jsonl has `at_line` lines; False if it ended."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    while process.poll() is None:
        if lines(output) >= at_line:
            process.kill()
            process.wait()
            return True
        time.sleep(0.001)
    return False


def measured(output):
    """metrics.jsonl without the figure that depends on the machine's speed."""
    text = (output / "metrics.jsonl").read_text(encoding="utf-8")
    return [{k: v for k, v in json.loads(line).items() if k != "tokens_per_second"} for line in text.splitlines()]
