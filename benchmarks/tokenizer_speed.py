"""Speed of `BertTokenizer` and of Hugging Face's `tokenizers`, one thread each, in turns in one process.

    python -m benchmarks.tokenizer_speed --data-dir DIR [--vocab NAME] [--rounds 5] [--batches 143]

DIR holds vocab/bert-base-NAME-vocab.txt and wikitext-2/train.txt. Both encode the same batches of 256 lines, given as
Python strings, to padded rows with [CLS] and [SEP]. Theirs once as `encode_batch`, which also counts offsets, and once
as `encode_batch_fast`, which does not; their ids are left inside the library's own objects, ours are tensors. Prints
words (separated by white space) a second for each round, the best and the median, and how many cores were busy: CPU
time over wall time, 1.00 for one thread; then the time to make a tokenizer.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

os.environ.update(TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1", TF_CPP_MIN_LOG_LEVEL="2")

import tensorflow as tf
from tokenizers import BertWordPieceTokenizer

from bert_tf import BertTokenizer

BATCH = 256


def words_a_second(encode, batches, words):
    """The rate, and CPU time over wall time."""
    began, began_cpu = time.perf_counter(), time.process_time()
    for batch in batches:
        encode(batch)
    seconds = time.perf_counter() - began
    return words / seconds, (time.process_time() - began_cpu) / seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--vocab", default="uncased")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=143, help="of 256 lines; WikiText-2's train.txt has 143")
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    lines = (arguments.data_dir / "wikitext-2" / "train.txt").read_text(encoding="utf-8").split("\n")
    batches = [lines[start : start + BATCH] for start in range(0, len(lines) - BATCH, BATCH)][: arguments.batches]
    words = sum(len(line.split()) for batch in batches for line in batch)
    vocab_file = arguments.data_dir / "vocab" / f"bert-base-{arguments.vocab}-vocab.txt"
    lower = arguments.vocab == "uncased"
    began = time.perf_counter()
    ours = BertTokenizer(vocab_file, do_lower_case=lower)
    made = time.perf_counter() - began
    theirs = BertWordPieceTokenizer(str(vocab_file), lowercase=lower)._tokenizer
    theirs.enable_padding()

    encoders = {
        "BertTokenizer": ours,
        "BertTokenizer with offsets": lambda batch: ours(batch, return_offsets=True),
        "tokenizers encode_batch": theirs.encode_batch,
        "tokenizers encode_batch_fast": theirs.encode_batch_fast,
    }
    for encode in encoders.values():
        encode(batches[0])
        encode(batches[-1])
    rates = {name: [] for name in encoders}
    for _ in range(arguments.rounds):
        for name, encode in encoders.items():
            rates[name].append(words_a_second(encode, batches, words))
    print(f"{words:,} words in {len(batches)} batches of {BATCH} lines; thousand words a second, {arguments.vocab}")
    for name, measured in rates.items():
        rate, cores = zip(*measured, strict=True)
        each = " ".join(f"{value / 1000:6.0f}" for value in rate)
        print(
            f"{name:30} best {max(rate) / 1000:6.0f}  median {statistics.median(rate) / 1000:6.0f}   rounds {each}   "
            f"cores {max(cores):.2f}"
        )
    print(f"a BertTokenizer of {ours.vocab_size:,} tokens is made in {made:.2f} s")


if __name__ == "__main__":
    main()
