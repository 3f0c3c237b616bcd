"""Which versions of TensorFlow read a SavedModel that holds the tokenizer, and answer as the one that wrote it.

    python -m benchmarks.saved_model_versions --data-dir DIR PYTHON [PYTHON ...]

DIR holds vocab/bert-base-uncased-vocab.txt. Each PYTHON is an interpreter with some tensorflow, such as
`/venvs/tensorflow-2.16/bin/python`; it imports tensorflow and numpy and nothing of this package. It is given two
SavedModels: the tokenizer alone (text in, ids and offsets out) and an export of a random BERT of 2 layers (text in,
embeddings out), and 400 texts: random ones of many scripts, and bytes that are not UTF-8. Prints for each whether it
loads them, how many texts have other ids or offsets than here, and the largest difference of an embedding.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from benchmarks.tokenizer_parity import random_texts
from bert_tf import BertConfig, BertModel, BertTokenizer
from bert_tf.answers import EmbeddingAnswers
from bert_tf.export import export_saved_model

LENGTH = 64
BROKEN = [b"", b"\xff", b"broken \xc3( bytes", b"\xed\xa0\x80 a lone surrogate", "cut in the mid\u00e9".encode()[:-1]]

READER = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf
texts = tf.constant(np.load(sys.argv[1] + "/texts.npy", allow_pickle=False).tolist())
answers = {}
for name in ("tokenizer", "text_model"):
    served = tf.saved_model.load(sys.argv[1] + "/" + name).signatures["serving_default"](text=texts)
    answers.update({name + "/" + key: value.numpy() for key, value in served.items()})
np.savez(sys.argv[2], **answers)
foreign = {name.split(".")[0] for name in sys.modules} & {"bert_tf", "tokenizers", "tensorflow_text"}
print(tf.__version__, *foreign)
"""


class Service(tf.Module):
    """The tokenizer as a signature."""

    def __init__(self, tokenizer):
        super().__init__()
        self.tokenizer = tokenizer

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def serve(self, text):
        return self.tokenizer(text, max_length=LENGTH, padding="max_length", return_offsets=True)


def write_models(folder, vocab_file):
    """Both SavedModels and the texts, in `folder`."""
    texts = [text.encode() for text in random_texts(395)] + BROKEN
    np.save(folder / "texts.npy", np.array(texts, object).astype("S"), allow_pickle=False)
    tokenizer = BertTokenizer(vocab_file)
    service = Service(tokenizer)
    tf.saved_model.save(service, str(folder / "tokenizer"), signatures={"serving_default": service.serve})
    model = BertModel(BertConfig.from_name("bert-tiny", initializer_range=0.5))
    export_saved_model(folder / "text_model", model, tokenizer, EmbeddingAnswers(), max_length=LENGTH)


def answers_of(python, folder):
    """What that interpreter prints and answers; its last line on stderr where it fails."""
    with tempfile.TemporaryDirectory() as place:
        run = subprocess.run(
            [python, "-I", "-c", READER, str(folder), f"{place}/answers.npz"],
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode:
            return None, next(iter(run.stderr.strip().splitlines()[::-1]), f"status {run.returncode}")
        with np.load(f"{place}/answers.npz") as answers:
            return dict(answers), run.stdout.strip().splitlines()[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("pythons", nargs="*", metavar="PYTHON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_models(folder, arguments.data_dir / "vocab" / "bert-base-uncased-vocab.txt")
        expected, version = answers_of(sys.executable, folder)
        print(f"written by tensorflow {version}, {len(next(iter(expected.values())))} texts", flush=True)
        for python in arguments.pythons:
            answers, said = answers_of(python, folder)
            if answers is None:
                print(f"{python}: {said}", flush=True)
                continue
            whole = [key for key, value in expected.items() if value.dtype.kind == "i"]
            different = sum(
                any(not np.array_equal(answers[key][row], expected[key][row]) for key in whole)
                for row in range(len(expected[whole[0]]))
            )
            key = "text_model/embeddings"
            difference = np.abs(answers[key] - expected[key]).max()
            print(f"tensorflow {said}: {different} texts differ, embeddings within {difference:.1e}", flush=True)


if __name__ == "__main__":
    main()
