"""Which versions of TensorFlow read a SavedModel that holds the tokenizer, and answer as the one that wrote it.

    python -m benchmarks.saved_model_versions --data-dir DIR PYTHON [PYTHON ...]

DIR holds vocab/bert-base-uncased-vocab.txt. Each PYTHON is an interpreter with some tensorflow, such as
`/venvs/tensorflow-2.16/bin/python`; it imports tensorflow and numpy and nothing of this package. It is given the
tokenizer alone as a SavedModel (text in, ids and offsets out), exports of a random BERT of 2 layers with each head, and
400 texts: random ones of many scripts, and bytes that are not UTF-8. Prints for each whether it loads them, how many
texts have other ids, words, labels or answers than here, and the largest difference of a number.
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
from bert_tf.answers import ClassificationAnswers, EmbeddingAnswers
from bert_tf.answers_masks import MaskAnswers
from bert_tf.answers_spans import SpanAnswers
from bert_tf.answers_tags import TagAnswers
from bert_tf.export import export_saved_model
from downstream import BertForQuestionAnswering, BertForSequenceClassification, BertForTokenClassification
from pretraining import BertForMaskedLM

LENGTH = 64
BROKEN = [b"", b"\xff", b"broken \xc3( bytes", b"\xed\xa0\x80 a lone surrogate", "cut in the mid\u00e9".encode()[:-1]]

READER = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf
texts = tf.constant(np.load(sys.argv[1] + "/texts.npy", allow_pickle=False).tolist())
answers = {}
for name in sorted(os.listdir(sys.argv[1])):
    if os.path.isdir(sys.argv[1] + "/" + name):
        serve = tf.saved_model.load(sys.argv[1] + "/" + name).signatures["serving_default"]
        inputs = dict(question=texts[::-1], context=texts) if name == "questions" else dict(text=texts)
        answers.update({name + "/" + key: value.numpy() for key, value in serve(**inputs).items()})
np.savez(sys.argv[2], **{key: v.astype("S") if v.dtype.kind == "O" else v for key, v in answers.items()})
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
    """The SavedModels and the texts, in `folder`."""
    texts = [text.encode() for text in random_texts(395)] + BROKEN
    np.save(folder / "texts.npy", np.array(texts, object).astype("S"), allow_pickle=False)
    tokenizer = BertTokenizer(vocab_file)
    service = Service(tokenizer)
    tf.saved_model.save(service, str(folder / "tokenizer"), signatures={"serving_default": service.serve})
    config, tags = BertConfig.from_name("bert-tiny", initializer_range=0.5), ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
    for name, model, answers in (
        ("embeddings", BertModel(config), EmbeddingAnswers()),
        ("labels", BertForSequenceClassification(config, labels=tags), ClassificationAnswers(tags)),
        ("words", BertForTokenClassification(config, labels=tags), TagAnswers(tags)),
        ("questions", BertForQuestionAnswering(config), SpanAnswers(doc_stride=20, max_query_length=16)),
        ("masks", BertForMaskedLM(config), MaskAnswers()),
    ):
        export_saved_model(folder / name, model, tokenizer, answers, max_length=LENGTH)


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
            whole = [key for key, value in expected.items() if value.dtype.kind in "iS"]
            different = sum(
                any(not np.array_equal(answers[key][row], expected[key][row]) for key in whole)
                for row in range(len(expected[whole[0]]))
            )
            numbers = [key for key, value in expected.items() if value.dtype.kind == "f"]
            difference = max(
                np.abs(answers[key] - expected[key]).max() / max(np.abs(expected[key]).max(), 1) for key in numbers
            )
            print(
                f"tensorflow {said}: {different} texts differ, numbers within {difference:.1e} of the largest",
                flush=True,
            )


if __name__ == "__main__":
    main()
