"""Hugging Face's `tokenizers`, on one thread."""

import os

os.environ.update(TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")

from tokenizers import BertWordPieceTokenizer

from benchmarks.systems import Measured, data


def tokenize(options):
    """To padded rows in the library's own objects, without offsets (`encode_batch_fast`)."""
    lines = data.lines_of(options)
    tokenizer = BertWordPieceTokenizer(options["vocab"], lowercase=True)._tokenizer
    tokenizer.enable_padding()
    batches = [lines[start : start + 256] for start in range(0, len(lines), 256)]

    def run():
        for batch in batches:
            tokenizer.encode_batch_fast(batch)

    return Measured(run, sum(len(line.split()) for line in lines))
