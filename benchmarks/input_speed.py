"""Sequences a second that the input of a pretraining run makes on its own: paired, masked, in batches.

    python -m benchmarks.input_speed --data CORPUS [--batch-size 256] [--batches 1000] [--max-seq-length 128]
                                     [--masking token]

CORPUS is made by `bert-pretrain prepare`. Batches come from `PretrainingBatches.iterate`, as in a training run; the
planning of the first window is counted. Prints seconds by the clock and of CPU.
"""

import argparse
import itertools
import time

from pretraining.batches import PretrainingBatches
from pretraining.masking import MASKINGS
from pretraining.shards import PreparedCorpus


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--batches", type=int, default=2000)
    parser.add_argument("--max-seq-length", type=int, default=128)
    parser.add_argument("--max-predictions", type=int, default=20)
    parser.add_argument("--masking", choices=MASKINGS, default="token")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    batches = PretrainingBatches(
        PreparedCorpus(arguments.data),
        batch_size=arguments.batch_size,
        max_seq_length=arguments.max_seq_length,
        max_predictions=arguments.max_predictions,
        masking=arguments.masking,
    )
    for epoch in range(arguments.rounds):
        began, began_cpu = time.perf_counter(), time.process_time()
        sequences = tokens = 0
        for _, _, batch in itertools.islice(batches.iterate(epoch), arguments.batches):
            sequences += len(batch["input_ids"])
            tokens += int(batch["attention_mask"].sum())
        seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
        print(
            f"{sequences:,} sequences of {arguments.max_seq_length} in {seconds:.2f} s ({cpu:.2f} s of CPU): "
            f"{sequences / seconds:,.0f} sequences and {tokens / seconds:,.0f} tokens a second",
            flush=True,
        )


if __name__ == "__main__":
    main()
