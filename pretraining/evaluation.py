"""Held-out figures of a pretraining model, and the baselines that say what they are worth.

The held-out batches are made with a fixed seed and always from epoch 0: one masked set, the same for every model.
"""

import math

import numpy as np

from bert_tf.checkpoints import model_directory
from bert_tf.config import read_json
from bert_tf.errors import InputError
from bert_tf.figures import RunningFigures
from bert_tf.training import make_step
from pretraining.batches import PretrainingBatches
from pretraining.heads import BertForMaskedLM, BertForPreTraining
from pretraining.objective import PretrainingObjective
from pretraining.settings import check_length
from pretraining.shards import PreparedCorpus

EVALUATION_SEED = 0


def evaluate(step, batches, limit=None):
    """{figure: value} of `step` (see `bert_tf.training.make_step`) on at most `limit` held-out batches."""
    figures = RunningFigures()
    for position in range(number_of_batches(batches, limit)):
        figures.add(step.evaluate(batches.batch(0, position)))
    return figures.values()


def baselines(corpus, batches, limit=None):
    """What a model that reads nothing reaches on the same held-out batches.

    Returns:
        unigram_mlm_loss: cross-entropy in nats of the masked words under the training frequencies (add-one smoothed).
        most_frequent_mlm_accuracy: the share of masked words that are the most frequent training word.
        most_frequent_nsp_accuracy: the share of the larger NSP class, where there are pairs.
    """
    counts = np.asarray(corpus.unigram_counts, np.float64) + 1.0
    surprisals = -np.log(counts / counts.sum())
    most_frequent = int(np.argmax(counts))
    loss = hits = weight = positives = rows = 0.0
    for position in range(number_of_batches(batches, limit)):
        batch = batches.batch(0, position)
        weights = batch["masked_lm_weights"]
        loss += float((surprisals[batch["masked_lm_ids"]] * weights).sum())
        hits += float(((batch["masked_lm_ids"] == most_frequent) * weights).sum())
        weight += float(weights.sum())
        positives += float((batch["next_sentence_labels"] * batch["next_sentence_weights"]).sum())
        rows += float(batch["next_sentence_weights"].sum())
    figures = {"unigram_mlm_loss": loss / weight, "most_frequent_mlm_accuracy": hits / weight}
    if rows:
        figures["most_frequent_nsp_accuracy"] = max(positives, rows - positives) / rows
    return figures


def unigram_entropy(counts):
    """The entropy of the training words in nats: the loss that a model reaches which knows their frequencies alone.

    >>> round(unigram_entropy([1, 1, 2]), 4) == round(1.5 * math.log(2), 4)
    True
    """
    shares = np.asarray(counts, np.float64)
    shares = shares[shares > 0] / shares.sum()
    return float(-(shares * np.log(shares)).sum())


def evaluate_directory(model_path, data, *, max_seq_length=128, max_predictions=20, batch_size=32, batches=None):
    """The figures of a model directory on the held-out documents of a prepared corpus, and the baselines.

    Raises:
        InputError: the model has no MLM head, too few positions, or another vocabulary than the corpus.
    """
    corpus = PreparedCorpus(data)
    architecture = (read_json(model_directory(model_path) / "config.json").get("architectures") or ["none"])[0]
    classes = {"BertForPreTraining": BertForPreTraining, "BertForMaskedLM": BertForMaskedLM}
    if architecture not in classes:
        raise InputError(f"{model_path} is a {architecture}, expected one of {', '.join(classes)}")
    model = classes[architecture].from_pretrained(model_path)
    if model.config.vocab_size != corpus.vocab_size:
        raise InputError(
            f"{model_path} has a vocabulary of {model.config.vocab_size:,} tokens and {data} was prepared with "
            f"{corpus.vocab_size:,}; prepare the corpus with the tokenizer of the model"
        )
    check_length(max_seq_length, model.config, model_path)
    nsp = architecture == "BertForPreTraining"
    held_out = PretrainingBatches(
        corpus,
        split="held_out",
        batch_size=batch_size,
        max_seq_length=max_seq_length,
        max_predictions=max_predictions,
        nsp=nsp,
        seed=EVALUATION_SEED,
    )
    step = make_step(model, PretrainingObjective(nsp))
    return evaluate(step, held_out, batches) | baselines(corpus, held_out, batches)


def number_of_batches(batches, limit):
    """All held-out batches, or the first `limit`."""
    return min(batches.batches_per_epoch(0), limit or math.inf)
