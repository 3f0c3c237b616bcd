"""A TF1 checkpoint of google-research/bert with both pretraining heads, against a NumPy BERT of its own tensors.

    python -m benchmarks.tf1_parity CHECKPOINT

CHECKPOINT is a folder with bert_config.json and one bert_model.ckpt. The tensors are read here a second time, straight
from the file and under names worked out by `tests.checkpoint_files`, and go into the float64 NumPy BERT of the tests.
Prints how many there are, whether each lies bitwise in the model, and the largest difference of each output over 16
random rows of ragged length.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from bert_tf.checkpoints import read_checkpoint
from pretraining import BertForPreTraining
from tests import numpy_bert
from tests.checkpoint_files import tf1_name

ROWS = 16


def own_tensors(folder, names):
    """{Hugging Face name: array in PyTorch's orientation}, and the names in the file that are none of them."""
    (index,) = folder.glob("*.index")
    reader = tf.train.load_checkpoint(str(index.with_suffix("")))
    left = set(reader.get_variable_to_shape_map())
    tensors = {}
    for name in names:
        left.remove(tf1_name(name))
        tensor = reader.get_tensor(tf1_name(name))
        tensors[name] = tensor.T if tf1_name(name).endswith("/kernel") else tensor
    return tensors, sorted(left)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    folder = parser.parse_args().checkpoint
    checkpoint = read_checkpoint(folder)
    model = BertForPreTraining.from_pretrained(checkpoint)
    table = model.weight_table()
    tensors, left = own_tensors(folder, table)
    equal = sum(np.array_equal(place.read(), tensors[name]) for name, place in table.items())
    print(
        f"{len(tensors)} tensors, {equal} of them bitwise in the model; not of the model: {', '.join(left) or 'none'}"
    )

    config, rng = model.config, np.random.default_rng(0)
    length = config.max_position_embeddings
    visible = rng.integers(1, length + 1, ROWS)
    inputs = {
        "input_ids": rng.integers(0, config.vocab_size, (ROWS, length), dtype="int32"),
        "attention_mask": (np.arange(length) < visible[:, None]).astype("int32"),
        "token_type_ids": rng.integers(0, config.type_vocab_size, (ROWS, length), dtype="int32"),
    }
    p = {name.removeprefix("bert."): tensor.astype("float64") for name, tensor in tensors.items()}
    expected, _ = numpy_bert.bert(p, config, **inputs)
    positions = np.tile(np.arange(length), (ROWS, 1))
    expected["prediction_logits"], _ = numpy_bert.mlm_head(p, config, expected["last_hidden_state"], positions)
    expected["seq_relationship_logits"], _ = numpy_bert.nsp_head(p, expected["pooler_output"])
    outputs = {**model.bert(inputs), **model(inputs)}
    for name, values in outputs.items():
        difference = np.abs(np.asarray(values) - expected[name]).max()
        print(f"{name:24} within {difference:.1e} (values up to {np.abs(expected[name]).max():.1f})")


if __name__ == "__main__":
    main()
