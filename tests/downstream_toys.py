"""A toy for the tests of fine-tuning: a small vocabulary, a random BERT of width 32, texts that are separable."""

import keras
import numpy as np

from bert_tf import BertConfig, BertModel
from downstream import BertForSequenceClassification
from downstream.tasks import Task

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
GOOD = ["good", "great", "fine", "happy"]
BAD = ["bad", "awful", "poor", "sad"]
PLAIN = "the a film book was is very and i we saw read it this that with one two old new long short day night".split()
VOCABULARY = [*SPECIAL, *GOOD, *BAD, *PLAIN, "##s", "##y", "!"]


def toy_config(**changes):
    """One layer of width 32, 40 positions.

    The kernels are ten times as large as BERT's: at width 32 a deviation of 0.02 leaves the words hardly any effect.
    """
    sizes = {
        "vocab_size": len(VOCABULARY),
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 40,
        "initializer_range": 0.2,
    }
    return BertConfig(**(sizes | changes))


def write_toy_model(folder, **changes):
    """A random encoder with the toy vocabulary, the same one each time."""
    keras.utils.set_random_seed(0)
    BertModel(toy_config(**changes)).save_pretrained(folder)
    _write_vocabulary(folder)
    return folder


def write_toy_classifier(folder):
    """A random classifier of the column "sentence" into neg, mid and pos, the label in the column "label"."""
    model = BertForSequenceClassification(toy_config(), labels=("neg", "mid", "pos"))
    model.save_pretrained(folder)
    Task(text="sentence", label="label", max_seq_length=40).save(folder)
    _write_vocabulary(folder)
    return model


def _write_vocabulary(folder):
    (folder / "vocab.txt").write_text("".join(token + "\n" for token in VOCABULARY), encoding="utf-8")


def opinions(count, seed):
    """[(text, label)]: 3 to 15 plain words and, among them, a third as many that say the label, "pos" or "neg"."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        plain = rng.integers(3, 16)
        label = str(rng.choice(["neg", "pos"]))
        words = [*rng.choice(PLAIN, plain), *rng.choice(GOOD if label == "pos" else BAD, plain // 3)]
        rows.append((" ".join(rng.permutation(words)), label))
    return rows


def write_tsv(path, header, rows):
    """A header and rows of strings, with tabs between columns."""
    path.write_text("".join("\t".join(row) + "\n" for row in [header, *rows]), encoding="utf-8")
    return path
