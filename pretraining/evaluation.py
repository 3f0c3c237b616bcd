"""Held-out figures of a pretraining model; `pretraining.baselines` says what they are worth.

The held-out batches are made with a fixed seed and always from epoch 0: one masked set, the same for every model.
"""

from bert_tf.checkpoints import model_directory
from bert_tf.config import read_json
from bert_tf.errors import InputError
from bert_tf.figures import RunningFigures
from bert_tf.training import make_step
from pretraining.baselines import baselines
from pretraining.batches import PretrainingBatches
from pretraining.heads import BertForMaskedLM, BertForPreTraining
from pretraining.objective import PretrainingObjective
from pretraining.settings import check_length, check_segments
from pretraining.shards import PreparedCorpus
from pretraining.start_from_checkpoint import shared_tokens

EVALUATION_SEED = 0


def evaluate(step, batches, limit=None):
    """{figure: value} of `step` (see `bert_tf.training.make_step`) on at most `limit` held-out batches."""
    figures = RunningFigures()
    for batch in batches.fixed_set(limit):
        figures.add(step.evaluate(batch))
    return figures.values()


def evaluate_directory(model_path, data, *, max_seq_length=128, max_predictions=20, batch_size=32, batches=None):
    """The figures of a model directory on the held-out documents of a prepared corpus, and the baselines.

    Raises:
        InputError: the model has no MLM head, too few positions, or another vocabulary than the corpus.
    """
    if batches is not None and batches < 1:
        raise InputError(f"batches must be at least 1, got {batches}; leave it out to measure all")
    corpus = PreparedCorpus(data)
    folder = model_directory(model_path)
    architecture = (read_json(folder / "config.json").get("architectures") or ["none"])[0]
    classes = {"BertForPreTraining": BertForPreTraining, "BertForMaskedLM": BertForMaskedLM}
    if architecture not in classes:
        raise InputError(f"{model_path} is a {architecture}, expected one of {', '.join(classes)}")
    model = classes[architecture].from_pretrained(model_path)
    known = min(len(shared_tokens(folder, model.config, corpus)), model.config.vocab_size)
    if known < corpus.vocab_size:
        raise InputError(
            f"{model_path} has a vocabulary of {known:,} tokens and {data} was prepared with {corpus.vocab_size:,}; "
            "prepare the corpus with the tokenizer of the model"
        )
    check_length(max_seq_length, model.config, model_path)
    nsp = architecture == "BertForPreTraining"
    if nsp:
        check_segments(model.config, model_path)
    held_out = PretrainingBatches(
        corpus,
        split="held_out",
        batch_size=batch_size,
        max_seq_length=max_seq_length,
        max_predictions=max_predictions,
        nsp=nsp,
        seed=EVALUATION_SEED,
    )
    baseline = baselines(corpus, held_out, batches)
    return evaluate(make_step(model, PretrainingObjective(nsp)), held_out, batches) | baseline
