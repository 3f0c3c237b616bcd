"""What a BERT refuses, in one sentence each, and what it fills in; under the backend in force."""

import keras
import numpy as np
import pytest

from bert_tf import BertModel, InputError
from bert_tf.inputs import check_ids, read_inputs
from tests.autodiff import outputs_of
from tests.small_bert import BATCH, LENGTH, batch, small_config


@pytest.fixture(scope="module")
def model():
    return BertModel(small_config(num_hidden_layers=1))


IDS = np.zeros((BATCH, LENGTH), "int32")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"input_ids": np.where(np.arange(55).reshape(5, 11) == 14, 61, 3)},
         r"^input_ids holds 61 at \(1, 3\), expected ids from 0 to 60 \(vocab_size is 61\); tokenize with the vocab"),
        ({"input_ids": IDS - 1}, r"^input_ids holds -1 at \(0, 0\), expected ids from 0 to 60"),
        ({"token_type_ids": IDS + 2}, r"^token_type_ids holds 2 at \(0, 0\), expected ids from 0 to 1 \(type"),
        ({"input_ids": IDS.astype("float32")}, "^input_ids must be integers, got float32$"),
        ({"token_type_ids": IDS.astype("float32")}, "^token_type_ids must be integers, got float32$"),
        ({"input_ids": IDS[0]}, r"^input_ids must have the shape \(batch, sequence\), got \(11,\)$"),
        ({"attention_mask": IDS[:, :1]},
         r"^attention_mask has the shape \(5, 1\), expected that of input_ids, \(5, 11\)$"),
        ({"token_type_ids": IDS[0]}, r"^token_type_ids has the shape \(11,\), expected that of input_ids, \(5, 11\)$"),
        ({"attention_masks": IDS}, "^a BERT has no input 'attention_masks'; the nearest name is 'attention_mask'$"),
        ({"segment_ids": IDS}, "^a BERT has no input 'segment_ids'; the nearest name is '.*_ids'$"),
        ({"input_ids": None}, r"^a BERT takes a dictionary with the key 'input_ids', got \['attention_mask', 'inp"),
    ],
)  # fmt: skip
def test_refused(model, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        model(batch(model.config) | changes)


def test_not_a_dictionary(model):
    with pytest.raises(InputError, match=r"^a BERT takes a dictionary with the key 'input_ids', got \w*(Tensor|Array)"):
        model(IDS)


def test_the_last_good_ids_pass():
    check_ids("input_ids", np.array([[0, 60]]), "vocab_size", 61)
    with pytest.raises(InputError):
        check_ids("input_ids", np.array([[0, 61]]), "vocab_size", 61)


def test_too_long(model):
    """19 positions take 19 tokens and no more."""
    assert outputs_of(model, {"input_ids": np.ones((2, 19), "int32")})["last_hidden_state"].shape == (2, 19, 24)
    sentence = r"^a sequence of 20 tokens is longer than max_position_embeddings 19; cut it \(max_length"
    with pytest.raises(InputError, match=sentence):
        model({"input_ids": np.ones((2, 20), "int32")})


@pytest.mark.parametrize("positions", ["sinusoidal", "relative"])
def test_too_long_for_other_positions(positions):
    """A sinusoidal table has an end; relative positions have none."""
    model = BertModel(small_config(num_hidden_layers=1, position_embedding_type=positions))
    ids = {"input_ids": np.ones((2, 20), "int32")}
    if positions == "relative":
        assert outputs_of(model, ids)["last_hidden_state"].shape == (2, 20, 24)
    else:
        with pytest.raises(InputError, match=r"^a sequence of 20 tokens is longer than max_position_embeddings 19"):
            model(ids)


def test_defaults():
    """No mask: every token seen. No segments: segment 0."""
    ids, mask, segments, starts = read_inputs({"input_ids": IDS + 3}, 61, 2)
    assert starts is None
    assert keras.ops.convert_to_numpy(ids).tolist() == (IDS + 3).tolist()
    assert keras.ops.convert_to_numpy(mask).tolist() == (IDS + 1).tolist()
    assert keras.ops.convert_to_numpy(segments).tolist() == IDS.tolist()


def test_symbolic_inputs_pass(model):
    """Inside a functional model the values are unknown, and on TensorFlow the length; another known one still stops."""
    length = None if keras.backend.backend() == "tensorflow" else LENGTH
    symbolic = {name: keras.Input((length,), dtype="int32", name=name) for name in batch(model.config)}
    functional = keras.Model(symbolic, model(symbolic)["last_hidden_state"])
    inputs = batch(model.config)
    np.testing.assert_allclose(
        outputs_of(functional, inputs), outputs_of(model, inputs)["last_hidden_state"], rtol=0, atol=1e-6
    )
    fixed = {"input_ids": keras.Input((11,), dtype="int32"), "attention_mask": keras.Input((1,), dtype="int32")}
    with pytest.raises(InputError, match=r"attention_mask has the shape \((None|dynamic_dimension), 1\)"):
        model(fixed)
