"""What all systems read: the same rows for everyone, in NumPy."""

from pathlib import Path

import numpy as np

SIZES = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "medium": (8, 512),
    "base": (12, 768),
    "large": (24, 1024),
}
VOCAB_SIZE = 30_522
KERAS_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
MAX_LENGTH = 512
KERAS_HUB_NAMES = {"input_ids": "token_ids", "attention_mask": "padding_mask", "token_type_ids": "segment_ids"}
MODEL_GARDEN_NAMES = {
    "input_ids": "input_word_ids",
    "attention_mask": "input_mask",
    "token_type_ids": "input_type_ids",
}


def shape_of(model):
    """layers, hidden, heads, intermediate of a size of Devlin et al. 2018 and Turc et al. 2019, table 1."""
    layers, hidden = SIZES[model]
    return layers, hidden, hidden // 64, 4 * hidden


def pretraining_batch(options):
    """Rows without padding, all masked places used: input_ids (B, S) and so on, as the package's shards have them."""
    rng = np.random.default_rng(0)
    rows, length, predictions = options["batch_size"], options["length"], options["predictions"]
    places = np.stack([np.sort(rng.choice(length, predictions, replace=False)) for _ in range(rows)])
    second = np.arange(length) >= rng.integers(length // 4, 3 * length // 4, (rows, 1))
    return {
        "input_ids": rng.integers(1000, VOCAB_SIZE, (rows, length)).astype(np.int32),
        "attention_mask": np.ones((rows, length), np.int32),
        "token_type_ids": second.astype(np.int32),
        "masked_lm_positions": places.astype(np.int32),
        "masked_lm_ids": rng.integers(1000, VOCAB_SIZE, (rows, predictions)).astype(np.int32),
        "masked_lm_weights": np.ones((rows, predictions), np.float32),
        "next_sentence_labels": rng.integers(0, 2, rows).astype(np.int32),
        "next_sentence_weights": np.ones(rows, np.float32),
    }


def lines_of(options):
    """The lines of --sentences that are not empty."""
    if not options["sentences"]:
        raise SystemExit("this case needs --sentences FILE, a text file")
    return [line for line in Path(options["sentences"]).read_text(encoding="utf-8").splitlines() if line.strip()]


def inference_batches(options):
    """Batches to read: one padded to --length, or those of the sentences of a file, each padded to its longest."""
    size = options["batch_size"]
    if not options["sentences"]:
        rng = np.random.default_rng(0)
        return [padded([rng.integers(1000, VOCAB_SIZE, options["length"]) for _ in range(size)])]
    from tokenizers import BertWordPieceTokenizer

    if not options["vocab"]:
        raise SystemExit("--sentences needs --vocab FILE, a vocab.txt of at most 30,522 tokens")
    tokenizer = BertWordPieceTokenizer(options["vocab"], lowercase=True)
    tokenizer.enable_truncation(options["length"])
    rows = [row.ids for row in tokenizer.encode_batch(lines_of(options))]
    if options["order"] == "length":
        rows.sort(key=len)
    return [padded(rows[start : start + size]) for start in range(0, len(rows), size)]


def padded(rows):
    ids = np.zeros((len(rows), max(map(len, rows))), np.int32)
    mask = np.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)], mask[number, : len(row)] = row, 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
