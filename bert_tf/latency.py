"""`bert-tf bench`: how long an exported model takes for texts of a length, alone and in batches.

A text of N tokens is a word repeated; that it has N tokens is read off the export itself (signature `attention`).
"""

import json
import time
from pathlib import Path

import numpy as np

from bert_tf.errors import InputError
from bert_tf.files import whole_file
from bert_tf.serving.exported import Exported

PERCENTILES = (50, 90, 99)
_WORDS = (b"the", b"a", b"de", "的".encode(), b"1", b".")  # one of them is one token of any usual vocabulary


def bench(path, *, lengths, batch_sizes, seconds):
    """Measures a SavedModel.

    Args:
        path: the folder that `bert-tf export` wrote.
        lengths: tokens of a text, special tokens included.
        batch_sizes: texts of a call.
        seconds: how long each case is measured; five calls at least.

    Returns:
        (card, rows): the card of the export, and a dictionary for each case: length, batch_size, calls, p50_ms, p90_ms,
        p99_ms (the latencies of whole calls), texts_per_second, tokens_per_second.

    Raises:
        InputError: no such export, a length that it does not take, no word that is one token.
    """
    exported = Exported(path)
    rows = []
    for length in lengths:
        instance = text_of(exported, length)
        for batch_size in batch_sizes:
            instances, taken = [instance] * batch_size, []
            exported.tensors(instances)
            end = time.perf_counter() + seconds
            while len(taken) < 5 or time.perf_counter() < end:
                start = time.perf_counter()
                exported.tensors(instances)
                taken.append(time.perf_counter() - start)
            each = {f"p{share}_ms": float(np.percentile(taken, share)) * 1000 for share in PERCENTILES}
            rate = batch_size * len(taken) / sum(taken)
            rows.append(
                {"length": length, "batch_size": batch_size, "calls": len(taken)}
                | each
                | {"texts_per_second": rate, "tokens_per_second": rate * length}
            )
    return exported.card, rows


def text_of(exported, length):
    """An instance whose row has `length` tokens: words in its last text, one word in the others."""
    added = 1 + len(exported.inputs)  # [CLS], and a [SEP] behind each text
    others = len(exported.inputs) - 1
    longest = exported.card["max_length"]
    if not added + others < length <= longest:
        raise InputError(f"this export takes rows of {added + others + 1} to {longest} tokens, not of {length}")
    for word in _WORDS:
        count = length - added - others
        instance = (*[word] * others, b" ".join([word] * count))
        tokens = exported.tensors([instance], "attention")["tokens"][0]
        if len(tokens) == length and tokens[1] == word:
            return instance
    raise InputError(f"none of {b', '.join(_WORDS).decode()} is a token of this vocabulary; it cannot be measured so")


def table(rows):
    """The rows as lines to print."""
    names = [
        "length",
        "batch_size",
        *(f"p{share}_ms" for share in PERCENTILES),
        "texts_per_second",
        "tokens_per_second",
    ]
    heads = ["tokens", "batch", *(f"p{share} ms" for share in PERCENTILES), "texts/s", "tokens/s"]
    lines = ["".join(f"{head:>10}" for head in heads)]
    for row in rows:
        values = (f"{row[name]:,.2f}" if name.endswith("_ms") else f"{row[name]:,.0f}" for name in names)
        lines.append("".join(f"{value:>10}" for value in values))
    return lines


def write_bench(output, card, rows):
    """Writes bench.json and bench.png in the folder `output`."""
    from matplotlib.figure import Figure

    output = Path(output)
    with whole_file(output / "bench.json", "w") as stream:
        stream.write(json.dumps({"model_card": card, "rows": rows}, indent=2) + "\n")
    figure = Figure(figsize=(9, 4), layout="constrained")
    latency, rate = figure.subplots(1, 2)
    for batch_size in dict.fromkeys(row["batch_size"] for row in rows):
        those = [row for row in rows if row["batch_size"] == batch_size]
        lengths = [row["length"] for row in those]
        latency.fill_between(lengths, [r["p50_ms"] for r in those], [r["p99_ms"] for r in those], alpha=0.2)
        latency.plot(lengths, [row["p50_ms"] for row in those], marker="o", label=f"batch {batch_size}")
        rate.plot(lengths, [row["tokens_per_second"] for row in those], marker="o", label=f"batch {batch_size}")
    latency.set(xlabel="tokens of a text", ylabel="ms a call, median to 99 %", yscale="log")
    rate.set(xlabel="tokens of a text", ylabel="tokens a second", ylim=(0, None))
    latency.legend()
    with whole_file(output / "bench.png") as stream:
        figure.savefig(stream, format="png", dpi=120)
