"""Models as ONNX and LiteRT files: the outputs of the Keras model, which other tests compare with a NumPy BERT."""

import json
import sys

import keras
import numpy as np
import pytest

from bert_tf import BertConfig, BertModel, BertTokenizer, InputError
from bert_tf.__main__ import main
from downstream import BertForQuestionAnswering, BertForSequenceClassification, BertForTokenClassification
from pretraining import BertForMaskedLM, BertForNextSentencePrediction, BertForPreTraining
from tests.checkpoint_files import VOCABULARY
from tests.test_export import refuse

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports need TensorFlow")


def small_model(model_class, hidden_act="gelu", position_embedding_type="absolute", **settings):
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=33,
        layer_norm_eps=1e-3,  # so large that another value shows
        hidden_act=hidden_act,
        position_embedding_type=position_embedding_type,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=16,
        **settings,
    )
    keras.utils.set_random_seed(3)
    model = model_class(config)
    rng = np.random.default_rng(3)
    for weight in model.weights:  # biases and LayerNorm too are not what they begin as
        weight.assign(weight + rng.normal(0, 0.25, weight.shape))
    return model


def batch_of(rows, length):
    rng = np.random.default_rng(rows * length)
    visible = rng.integers(1, length + 1, rows)
    return {
        "input_ids": rng.integers(0, len(VOCABULARY), (rows, length)),
        "attention_mask": (np.arange(length) < visible[:, None]).astype("int64"),
        "token_type_ids": rng.integers(0, 2, (rows, length)),
    }


@pytest.mark.parametrize(
    ("model_class", "hidden_act", "positions"),
    [
        (BertModel, "gelu", "absolute"),
        (BertForSequenceClassification, "gelu_new", "sinusoidal"),
        (BertForTokenClassification, "relu", "relative"),
        (BertForQuestionAnswering, "silu", "absolute"),
        (BertForPreTraining, "tanh", "absolute"),
        (BertForMaskedLM, "gelu", "relative"),
        (BertForNextSentencePrediction, "gelu", "absolute"),
    ],
)
def test_onnx_gives_the_outputs_of_the_model(model_class, hidden_act, positions):
    import onnx
    import onnxruntime

    from bert_tf.onnx_graph import onnx_model

    model = small_model(model_class, hidden_act, positions)
    written = onnx_model(model)
    onnx.checker.check_model(written, full_check=True)
    session = onnxruntime.InferenceSession(written.SerializeToString(), providers=["CPUExecutionProvider"])
    for rows, length in ((3, 20), (1, 33), (4, 2)):
        batch = batch_of(rows, length)
        expected = model({name: ids.astype("int32") for name, ids in batch.items()}, training=False)
        got = dict(zip([output.name for output in session.get_outputs()], session.run(None, batch), strict=True))
        assert sorted(got) == sorted(expected)
        for name, values in expected.items():
            scale = np.abs(values).max()
            np.testing.assert_allclose(got[name] / scale, values / scale, atol=2e-6, err_msg=name)


def test_a_padded_vocabulary_is_not_written():
    """Rows of padding behind the vocabulary stay in memory."""
    from bert_tf.onnx_graph import onnx_model

    model = BertForMaskedLM(small_model(BertModel).config, pad_vocab_size_multiple_of=64)
    shapes = {constant.name: list(constant.dims) for constant in onnx_model(model).graph.initializer}
    assert shapes["embeddings.word_embeddings.weight"] == [len(VOCABULARY), 24]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ids") / "run"
    model = small_model(BertForSequenceClassification)
    model.save_pretrained(folder / "model")
    BertTokenizer(VOCABULARY).save_pretrained(folder / "model")
    return folder, model


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("form", ["onnx", "litert"])
def test_the_command_writes_what_another_program_runs(run, tmp_path, capsys, form, precision):
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    folder, model = run
    options = ["--format", form, "--precision", precision, "--max-length", "21"]
    assert main(["export", "--model", str(folder), "--output", str(tmp_path / "out"), *options]) == 0
    assert "out: classification, 0." in capsys.readouterr().out
    card = json.loads((tmp_path / "out" / "model_card.json").read_text())
    assert (card["format"], card["precision"], card["task"]) == (form, precision, "classification")
    assert (card["max_length"], card["labels"]) == (21, ["LABEL_0", "LABEL_1"])
    assert card["inputs"] == ["input_ids", "attention_mask", "token_type_ids"]

    tokenizer = BertTokenizer.from_pretrained(tmp_path / "out")
    batch = tokenizer(["the cat ran"], max_length=21, padding="max_length")
    if form == "onnx":
        session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
        (logits,) = session.run(["logits"], {name: np.asarray(ids, "int64") for name, ids in batch.items()})
    else:
        runner = Interpreter(str(tmp_path / "out" / "model.tflite")).get_signature_runner()
        logits = runner(**{name: np.asarray(ids) for name, ids in batch.items()})["logits"]
    expected = np.asarray(model(batch, training=False)["logits"])
    difference = np.abs(logits - expected).max() / np.abs(expected).max()
    if precision == "float32":
        assert difference < 1e-5
        assert card["largest_difference"] < 1e-5
    else:  # eight bits round at 1/256; a model that was not rounded at all is not int8
        assert 1e-4 < difference < 0.2
        assert 1e-4 < card["largest_difference"] < 0.2


def test_int8_keeps_to_seven_bits(run, tmp_path):
    """Eight are cut off on processors without VNNI; there the test above fails, elsewhere only this one would."""
    import onnx

    from bert_tf.onnx_format import write

    write(run[1], tmp_path / "model.onnx", int8=True, max_length=21)
    initializers = onnx.load(tmp_path / "model.onnx").graph.initializer
    kernels = [onnx.numpy_helper.to_array(one) for one in initializers if one.data_type == onnx.TensorProto.INT8]
    largest = [int(np.abs(kernel.astype(int)).max()) for kernel in kernels if kernel.ndim == 2]
    assert 32 < max(largest) <= 64


def test_precisions_have_their_formats(run, tmp_path, capsys):
    for form, precision in (("saved_model", "int8"), ("onnx", "bfloat16"), ("litert", "bfloat16")):
        sentence = refuse(run[0], tmp_path / "o", capsys, "--format", form, "--precision", precision)
        assert f"--precision {precision} is not for --format {form}" in sentence
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(("form", "package"), [("onnx", "onnxruntime"), ("litert", "ai_edge_litert")])
def test_a_missing_package_is_named(run, tmp_path, capsys, monkeypatch, form, package):
    monkeypatch.delitem(sys.modules, f"bert_tf.{form}_format", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Absent(package), *sys.meta_path])
    sentence = refuse(run[0], tmp_path / "o", capsys, "--format", form)
    assert f"the format {form} needs a package that is not installed (No module named {package!r})" in sentence
    assert f"pip install 'bert-tf[{form}]'" in sentence


class _Absent:
    """An import that finds nothing."""

    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {self.package!r}", name=self.package)


def test_a_conversion_that_differs_never_takes_its_name(run, tmp_path, monkeypatch):
    from bert_tf import onnx_format
    from bert_tf.export_ids import export_ids

    folder, model = run
    other = small_model(BertForSequenceClassification, hidden_act="relu")
    monkeypatch.setattr(onnx_format, "onnx_model", lambda _, write=onnx_format.onnx_model: write(other))
    tokenizer = BertTokenizer.from_pretrained(folder)
    with pytest.raises(RuntimeError, match="the exported model differs from the Python model by"):
        export_ids(tmp_path / "o", model, tokenizer, "onnx", max_length=21)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_something_else_is_kept(run, tmp_path):
    from bert_tf.export_ids import export_ids

    (tmp_path / "thesis.txt").write_text("words")
    with pytest.raises(InputError, match="holds files and no model_card"):
        export_ids(tmp_path, run[1], BertTokenizer(VOCABULARY), "onnx", max_length=21)


def test_relative_positions_beyond_the_graph_are_refused(tmp_path):
    """The model itself and LiteRT have no such limit: the bias of an ONNX graph is a table for 33 positions."""
    from bert_tf.export_ids import export_ids

    model, tokenizer = small_model(BertModel, position_embedding_type="relative"), BertTokenizer(VOCABULARY)
    with pytest.raises(
        InputError, match=r"max_length 34 is beyond max_position_embeddings 33, .*ONNX.*give at most 33"
    ):
        export_ids(tmp_path / "o", model, tokenizer, "onnx", max_length=34)
    assert list(tmp_path.iterdir()) == []
    export_ids(tmp_path / "o", model, tokenizer, "onnx", max_length=33)
    export_ids(tmp_path / "o", model, tokenizer, "litert", max_length=34)
