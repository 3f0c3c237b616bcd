"""Sequences that share a row give what each gives alone, forward and backward."""

import keras
import numpy as np
import pytest
from keras import ops

from bert_tf import BertModel, InputError, pack
from downstream import BertForSequenceClassification
from downstream.objective import SequenceObjective
from tests.autodiff import assert_all_close, assert_close, outputs_and_gradients, outputs_of
from tests.small_bert import small_config

LENGTHS = (5, 3, 9, 2, 7, 4)
ROW = 12


def sequences(config):
    rng = np.random.default_rng(0)
    return [
        {
            "input_ids": rng.integers(1, config.vocab_size, size).tolist(),
            "token_type_ids": rng.integers(0, config.type_vocab_size, size).tolist(),
        }
        for size in LENGTHS
    ]


def wide(config):
    """A model whose weights are far from 0, so that a token that sees a strange one shows it."""
    keras.utils.set_random_seed(3)
    return config.__class__.from_dict(config.to_dict() | {"initializer_range": 0.3})


def dictionary(**one):
    return {name: np.array([values], "int32") for name, values in one.items()}


@pytest.mark.parametrize("positions", ["absolute", "sinusoidal", "relative"])
def test_outputs_are_those_of_the_sequences_alone(positions):
    config = wide(small_config(position_embedding_type=positions))
    model = BertModel(config)
    batch, places = pack(sequences(config), ROW)
    together = outputs_of(model, batch)
    assert batch["input_ids"].shape == (3, ROW)  # 9 + 3, 7 + 5, 4 + 2: 30 tokens of 36 places
    for one, (row, number) in zip(sequences(config), places, strict=True):
        alone = outputs_of(model, dictionary(**one))
        start = batch["sequence_starts"][row, number]
        part = together["last_hidden_state"][row, start : start + len(one["input_ids"])]
        assert_close(part, alone["last_hidden_state"][0], 3e-6, "last_hidden_state")
        assert_close(together["pooler_output"][row, number], alone["pooler_output"][0], 3e-6, "pooler_output")


def test_a_sequence_does_not_see_its_neighbour():
    """Not a bit of one changes with the ids of the other."""
    config = wide(small_config())
    model = BertModel(config)
    batch, _ = pack(sequences(config), ROW)
    before = outputs_of(model, batch)["last_hidden_state"]
    start = batch["sequence_starts"][0, 1]
    batch["input_ids"][0, start:] = batch["input_ids"][0, start:] % (config.vocab_size - 1) + 1
    after = outputs_of(model, batch)["last_hidden_state"]
    np.testing.assert_array_equal(before[0, :start], after[0, :start])
    assert (before[0, start:] != after[0, start:]).all(axis=-1).all()


def test_gradients_are_those_of_the_sequences_alone():
    """The loss of a classifier, of packed rows in training against the same rows padded, one sequence each."""
    config = wide(small_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    model = BertForSequenceClassification(config, labels=("a", "b", "c"))
    objective = SequenceObjective("single_label_classification")
    labels = np.array([0, 2, 1, 1, 0, 2], "int32")
    packed, places = pack(sequences(config), ROW)
    padded = {name: np.zeros((len(LENGTHS), max(LENGTHS)), "int32") for name in ("input_ids", "token_type_ids")}
    padded["attention_mask"] = (np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]).astype("int32")
    for row, one in enumerate(sequences(config)):
        for name, values in one.items():
            padded[name][row, : len(values)] = values
    padded |= {"labels": labels, "example_weights": np.ones(len(LENGTHS), "float32")}
    shape = packed["sequence_starts"].shape
    packed |= {"labels": np.zeros(shape, "int32"), "example_weights": np.zeros(shape, "float32")}
    packed["labels"][tuple(places.T)], packed["example_weights"][tuple(places.T)] = labels, 1.0
    found = []
    for batch in (packed, padded):

        def loss(outputs, batch=batch):
            return objective.loss(objective.figures(outputs, batch), objective.weights(batch))

        inputs = {name: ops.convert_to_tensor(values) for name, values in objective.inputs(batch).items()}
        outputs, of_variables, _ = outputs_and_gradients(model, (inputs,), loss, training=True)
        figures = objective.figures({"logits": ops.convert_to_tensor(outputs["logits"], "float32")}, batch)
        found.append((of_variables, float(figures["loss"][0]), float(figures["accuracy"][0])))
    assert_all_close(found[0][0], found[1][0], 1e-5)
    assert found[0][1:] == pytest.approx(found[1][1:], rel=1e-6)


def test_pack_wastes_little_and_loses_nothing():
    """1,000 lengths as those of short sentences: each sequence whole in its place, hardly a place in twenty empty."""
    rng = np.random.default_rng(1)
    lengths = rng.geometric(0.06, 1000).clip(2, 64)
    many = [{"input_ids": rng.integers(1, 99, size).tolist()} for size in lengths]
    batch, places = pack(many, 64)
    for one, (row, number) in zip(many, places, strict=True):
        start = batch["sequence_starts"][row, number]
        part = slice(start, start + len(one["input_ids"]))
        assert batch["input_ids"][row, part].tolist() == one["input_ids"]
        assert batch["attention_mask"][row, part].all()
    assert batch["attention_mask"].sum() == lengths.sum()
    assert lengths.sum() > 0.95 * batch["input_ids"].size
    assert len({tuple(place) for place in places.tolist()}) == 1000


@pytest.mark.parametrize("size", [0, 7])
def test_pack_refuses(size):
    with pytest.raises(InputError, match=f"sequence 1 has {size} tokens, expected 1 to 6; cut it, or take longer"):
        pack([{"input_ids": [1]}, {"input_ids": [1] * size}], 6)


@pytest.mark.parametrize(
    ("starts", "sentence"),
    [
        ([[0, 3], [1, 4]], r"sequence_starts has \[1, 4\] in row 1, expected numbers that rise from 0, and 6"),
        ([[0, 3], [0, 0]], r"sequence_starts has \[0, 0\] in row 1"),
        ([[0, 7], [0, 2]], r"sequence_starts has \[0, 7\] in row 0"),
        ([[0, 3]], r"sequence_starts has the shape \(1, 2\), expected \(rows, sequences of a row\)"),
    ],
)
def test_bad_starts(starts, sentence):
    model = BertModel(small_config(num_hidden_layers=1))
    with pytest.raises(InputError, match=sentence):
        model({"input_ids": np.ones((2, 6), "int32"), "sequence_starts": np.array(starts, "int32")})
