"""Inference of exported models beside their peers, in turns in one process each: latency, throughput, int8.

    python -m benchmarks.inference --sentences FILE [--config bert-base] [--length 128] [--rounds 7] [--threads 2]
    python -m benchmarks.inference --accuracy EXPORT… --labelled dev.tsv

The first measures a model of random weights: our SavedModel, `transformers` on PyTorch (eager), KerasHub's BERT as
Keras exports it, our ONNX in float32 and int8 on ONNX Runtime. One row of --length tokens at a time; then all sentences
of FILE (a line each, tokenized before the clock starts) in batches of 32, sorted by length and as they come, padded to
the longest of each. The second asks exports (ONNX folders) for the labels of a TSV with the columns sentence and label.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from bert_tf import BertConfig, BertModel, BertTokenizer
from bert_tf.inputs import INPUT_NAMES
from bert_tf.onnx_format import load, write


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=Path)
    parser.add_argument("--vocabulary", type=Path, help="a vocab.txt of 30,522 tokens, for the sentences")
    parser.add_argument("--config", default="bert-base-uncased")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--accuracy", type=Path, nargs="+")
    parser.add_argument("--labelled", type=Path)
    arguments = parser.parse_args()
    if arguments.accuracy:
        for export in arguments.accuracy:
            print(f"{export}: accuracy {accuracy(export, arguments.labelled):.4f}", flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        systems = make_systems(Path(folder), arguments)
        row = batch_of([list(range(1000, 1000 + arguments.length))])
        report(f"one row of {arguments.length} tokens, ms", systems, [row], arguments.rounds * 3, lambda s: s * 1000)
        tokenizer = BertTokenizer(arguments.vocabulary)
        lines = [line for line in arguments.sentences.read_text(encoding="utf-8").splitlines() if line]
        rows = [[int(i) for i in tokenizer([line], max_length=128)["input_ids"][0]] for line in lines]
        as_they_come = [batch_of(rows[start : start + 32]) for start in range(0, len(rows), 32)]
        rows.sort(key=len)
        by_length = [batch_of(rows[start : start + 32]) for start in range(0, len(rows), 32)]
        title, count = f"{len(rows)} sentences in batches of 32, sentences/s", len(rows)
        report(f"{title}, by length", systems, by_length, arguments.rounds, lambda s: count / s)
        report(f"{title}, as they come", systems, as_they_come, arguments.rounds, lambda s: count / s)


def batch_of(rows):
    width = max(map(len, rows))
    ids = np.zeros((len(rows), width), np.int32)
    mask = np.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)], mask[number, : len(row)] = row, 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def make_systems(folder, arguments):
    """{name: a function from a batch to its last hidden states}."""
    import onnxruntime  # noqa: F401 - fail now if it is missing
    import tensorflow as tf
    import torch
    import transformers

    from bert_tf.answers import EmbeddingAnswers
    from bert_tf.export import export_saved_model

    torch.set_num_threads(arguments.threads)
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    config = BertConfig.from_name(arguments.config)
    model = BertModel(config)
    model.save_pretrained(folder / "model")
    export_saved_model(folder / "ours", model, BertTokenizer(arguments.vocabulary), EmbeddingAnswers())
    for name, int8 in (("float32", False), ("int8", True)):
        write(model, folder / f"{name}.onnx", int8=int8, max_length=512)
    ids = tf.saved_model.load(str(folder / "ours")).signatures["ids"]
    reference = transformers.BertModel.from_pretrained(folder / "model").eval()
    hub = keras_hub_export(folder / "hub", config)

    def ours(batch):
        return ids(**{name: tf.constant(batch[name]) for name in INPUT_NAMES})["last_hidden_state"].numpy()

    def pytorch(batch):
        with torch.inference_mode():
            inputs = {name: torch.from_numpy(batch[name]).long() for name in INPUT_NAMES}
            return reference(**inputs).last_hidden_state.numpy()

    systems = {"bert_tf SavedModel": ours, "transformers, PyTorch eager": pytorch, "KerasHub SavedModel": hub}
    for name in ("float32", "int8"):
        run = load(folder / f"{name}.onnx")
        systems[f"bert_tf ONNX {name}"] = lambda batch, run=run: run(batch)["last_hidden_state"]
    batch = batch_of([[101, 2009, 2003, 102], [101, 102]])
    expected = pytorch(batch)[batch["attention_mask"] == 1]
    for name in ("bert_tf SavedModel", "bert_tf ONNX float32"):
        np.testing.assert_allclose(systems[name](batch)[batch["attention_mask"] == 1], expected, atol=1e-4)
    return systems


def keras_hub_export(folder, config):
    import keras_hub
    import tensorflow as tf

    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=config.vocab_size,
        num_layers=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        hidden_dim=config.hidden_size,
        intermediate_dim=config.intermediate_size,
    )
    backbone.export(str(folder), format="tf_saved_model", verbose=False)
    loaded = tf.saved_model.load(str(folder))
    theirs = {"input_ids": "token_ids", "attention_mask": "padding_mask", "token_type_ids": "segment_ids"}

    def run(batch):
        return loaded.serve({theirs[name]: tf.constant(batch[name]) for name in theirs})["sequence_output"].numpy()

    return run


def report(title, systems, batches, rounds, figure):
    """Runs all systems over all batches in turns, and prints median, least and most of a figure of the seconds."""
    taken = {name: [] for name in systems}
    for round_number in range(rounds + 1):
        for name, run in systems.items():
            time.sleep(0.3)  # the threads of the one before may still spin
            start = time.perf_counter()
            for batch in batches:
                run(batch)
            if round_number:  # the first compiles and warms
                taken[name].append(time.perf_counter() - start)
    print(f"\n{title}")
    ours = statistics.median(taken["bert_tf SavedModel"])
    for name, seconds in taken.items():
        figures = [figure(value) for value in seconds]
        ratio = statistics.median(seconds) / ours
        print(
            f"  {name:28} median {figure(statistics.median(seconds)):8.1f}   {min(figures):8.1f} to {max(figures):8.1f}"
            f"   our SavedModel is {ratio:.2f} times as fast",
            flush=True,
        )


def accuracy(export, labelled):
    """The share of right labels of an ONNX export on a TSV with a header."""
    tokenizer, run = BertTokenizer.from_pretrained(export), load(export / "model.onnx")
    head, *lines = labelled.read_text(encoding="utf-8").splitlines()
    names = head.split("\t")
    right = 0
    for line in lines:
        row = dict(zip(names, line.split("\t"), strict=True))
        batch = tokenizer([row["sentence"]], max_length=128)
        right += int(run(batch)["logits"].argmax()) == int(row["label"])
    return right / len(lines)


if __name__ == "__main__":
    main()
