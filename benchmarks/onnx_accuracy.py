"""The accuracy of exported ONNX classifiers, as of float32 beside int8.

    python -m benchmarks.onnx_accuracy EXPORT… --labelled dev.tsv

EXPORT are folders that `bert-tf export` wrote; the TSV has the columns sentence and label.
"""

import argparse
from pathlib import Path

from bert_tf import BertTokenizer
from bert_tf.onnx_format import load


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exports", type=Path, nargs="+")
    parser.add_argument("--labelled", type=Path, required=True)
    arguments = parser.parse_args()
    for export in arguments.exports:
        print(f"{export}: accuracy {accuracy(export, arguments.labelled):.4f}", flush=True)


def accuracy(export, labelled):
    """The share of right labels on a TSV with a header."""
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
