"""A SavedModel that holds the tokenizer, opened by a process that imports tensorflow and nothing else."""

import json
import os
import subprocess
import sys

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from bert_tf import BertTokenizer

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "é", "中", "ᄒ", "##ᅡ", "##ᆫ"]

READER = """
import json, sys
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
served = model.signatures["serving_default"](tf.constant(json.loads(sys.argv[2])))
called = model(tf.constant(json.loads(sys.argv[2])))
assert all((served[key] == called[key]).numpy().all() for key in called)
foreign = sorted({name.split(".")[0] for name in sys.modules} & {"bert_tf", "tokenizers", "tensorflow_text"})
print(json.dumps({"foreign": foreign, **{key: value.numpy().tolist() for key, value in served.items()}}))
"""


class Service(tf.Module):
    """What an export makes: text in, the model's inputs out."""

    def __init__(self, tokenizer):
        super().__init__()
        self.tokenizer = tokenizer

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def __call__(self, text):
        return self.tokenizer(text, max_length=6, padding="max_length", return_offsets=True)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model"
    tokenizer = BertTokenizer(VOCAB, do_lower_case=True)
    tokenizer("an eager call before saving leaves nothing in the file")
    service = Service(tokenizer)
    tf.saved_model.save(service, str(path), signatures=service.__call__)
    return path


def test_another_process_reads_it(saved):
    texts = ["The cats,[MASK]", "É 한", "x\u302e\u0334中", ""]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": ""}
    answer = subprocess.run(
        [sys.executable, "-I", "-c", READER, str(saved), json.dumps(texts)],
        env=environment,
        cwd=saved,
        capture_output=True,
        check=False,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    answer = json.loads(answer.stdout.splitlines()[-1])
    assert answer["foreign"] == []
    # "The cats,[MASK]" has five tokens, of which four fit; "é" loses its accent, and no token is "e"; 한 decomposes.
    assert answer["input_ids"] == [[2, 5, 6, 7, 1, 3], [2, 1, 10, 11, 12, 3], [2, 1, 9, 3, 0, 0], [2, 3, 0, 0, 0, 0]]
    assert answer["attention_mask"] == [[1] * 6, [1] * 6, [1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]]
    assert answer["offset_mapping"][1] == [[0, 0], [0, 1], [2, 3], [2, 3], [2, 3], [0, 0]]


def test_the_graph_is_small_and_of_core_ops(saved):
    graph = tf.compat.v1.GraphDef()
    model = saved_model_pb2.SavedModel.FromString((saved / "saved_model.pb").read_bytes())
    graph = model.meta_graphs[0].graph_def
    nodes = [node for function in graph.library.function for node in function.node_def] + list(graph.node)
    assert not [node.op for node in nodes if "PyFunc" in node.op or "Table" in node.op]
    assert len(nodes) < 1500
    assert graph.ByteSize() < 600_000  # bytes, of which the tables of a small vocabulary are two thirds
