"""The SavedModel that takes raw text: a process that imports tensorflow alone gives the answers of an independent BERT.

The expected numbers are those of the float64 NumPy BERT on the tokenizer's ids, with softmax and pooling done here.
"""

import json
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

from bert_tf import BertTokenizer, InputError
from bert_tf.__main__ import main
from downstream import BertForSequenceClassification
from tests import numpy_bert
from tests.checkpoint_files import VOCABULARY, dense_tensors, encoder_tensors, small_config, write_hugging_face
from tests.small_bert import parameters

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel is TensorFlow's")

LABELS = ["entailment", "neutral", "Widerspruch – ja"]
TEXTS = [
    b"The cat sat on the mat.",
    b"",
    "Ran, ran & ran! \U0001f600 \U0001f469‍\U0001f469".encode(),
    b"not \xff\xc3 good \xe2\x82",  # two broken sequences and a cut one
    "café שלום 東京".encode(),
    b"a very good film " * 625,  # 10,000 bytes: far more than 19 positions
]
PAIRS = [b"It was good.", b"the dog", b"", b"\xf0", b"bad film " * 30, b"a"]

# What the graphs consist of; every one of them is registered by the tensorflow package itself.
CORE_OPS = set(
    """
    AddV2 All Any ArgMax Assert AssignVariableOp BatchMatMulV2 BiasAdd BitwiseAnd BroadcastTo Cast ConcatV2
    Const Cumsum DisableCopyOnRead DivNoNan Equal Erf Erfc Exp ExpandDims Fill FloorDiv FloorMod GatherNd
    GatherV2 Greater GreaterEqual Identity Less LessEqual LogicalAnd LogicalNot LogicalOr LowerBound MatMul Max
    Maximum Mean MergeV2Checkpoints Min Minimum Mul Neg NoOp NotEqual OnesLike Pack Pad PadV2 ParseExampleV2
    PartitionedCall Placeholder Pow Prod RaggedRange RaggedTensorToTensor Range ReadVariableOp RealDiv Reshape
    RestoreV2 RightShift Roll Rsqrt SaveV2 ScatterNd Select SelectV2 Shape ShardedFilename Sigmoid Size Softmax
    Split Sqrt SquaredDifference Squeeze StatefulPartitionedCall StatelessIf StatelessWhile StaticRegexFullMatch
    StopGradient StridedSlice StringJoin Sub Sum Tanh TensorListConcatV2 TensorListReserve TensorListSetItem
    TensorScatterUpdate Tile TopKV2 Transpose UnicodeDecode UnicodeEncode Unpack UnsortedSegmentMax
    UnsortedSegmentMin UnsortedSegmentSum UpperBound VarHandleOp Where
    """.split()
)

# Loads each folder of the first argument and answers, in a process of its own. `-I` keeps this repository and the
# user's site out of its path; the names of the modules that it imported come back with the answers.
ELSEWHERE = """
import json, sys
import tensorflow as tf
request = json.load(open(sys.argv[1]))
texts, pairs = ([text.encode("latin-1") for text in request[name]] for name in ("texts", "pairs"))
answers = {}
for name, folder in request["folders"].items():
    serve = tf.saved_model.load(folder).signatures["serving_default"]
    inputs = {"text": tf.constant(texts)}
    if name == "pair":
        inputs["text_b"] = tf.constant(pairs)
    answers[name] = {key: value.numpy() for key, value in serve(**inputs).items()}
    empty = serve(**{key: value[:0] for key, value in inputs.items()})
    assert all(value.shape[0] == 0 for value in empty.values())
    one = serve(**{key: value[:1] for key, value in inputs.items()})
    answers[name]["alone"] = one["embeddings" if name == "encoder" else "logits"].numpy()
answers["imported"] = sorted({module.partition(".")[0] for module in sys.modules})
def plain(value):
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [item.decode() for item in value] if value and isinstance(value[0], bytes) else value
json.dump({k: plain(v) if k == "imported" else {n: plain(a) for n, a in v.items()} for k, v in answers.items()},
          open(sys.argv[2], "w"))
"""


def classifier_tensors():
    return encoder_tensors() | dense_tensors("classifier", 3, seed=7)


def numpy_outputs(folder, texts, pairs=None, max_length=19):
    """The float64 encoder on the tokenizer's ids, and the ids."""
    inputs = BertTokenizer.from_pretrained(folder)(texts, pairs, max_length=max_length)
    inputs = {name: np.asarray(value) for name, value in inputs.items()}
    names = ("input_ids", "attention_mask", "token_type_ids")
    config = small_config()
    return numpy_bert.bert(parameters(config), config, *(inputs[name] for name in names))[0], inputs


def logits_of(outputs):
    head = dense_tensors("classifier", 3, seed=7)
    return outputs["pooler_output"] @ head["classifier.weight"].T + head["classifier.bias"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Three exports by the command, and what another process says."""
    folder = tmp_path_factory.mktemp("export")
    classifier = write_hugging_face(
        folder / "classifier",
        "BertForSequenceClassification",
        classifier_tensors(),
        id2label={str(index): label for index, label in enumerate(LABELS)},
    )
    encoder = write_hugging_face(folder / "run" / "model", "BertModel", encoder_tensors()).parent
    assert main(["export", "--model", str(classifier), "--output", str(folder / "single")]) == 0
    (classifier / "task.json").write_text('{"text": "a", "text_pair": "b", "max_seq_length": 12}')
    assert main(["export", "--model", str(classifier), "--output", str(folder / "pair")]) == 0
    assert main(["export", "--model", str(encoder), "--output", str(folder / "encoder")]) == 0
    request = {
        "folders": {name: str(folder / name) for name in ("single", "pair", "encoder")},
        "texts": [text.decode("latin-1") for text in TEXTS],
        "pairs": [text.decode("latin-1") for text in PAIRS],
    }
    (folder / "request.json").write_text(json.dumps(request))
    command = [sys.executable, "-I", "-c", ELSEWHERE, str(folder / "request.json"), str(folder / "answers.json")]
    subprocess.run(command, check=True, cwd=folder)
    return folder, json.loads((folder / "answers.json").read_text())


def test_the_other_process_imported_tensorflow_alone(exported):
    imported = exported[1]["imported"]
    assert "tensorflow" in imported
    assert not {"bert_tf", "downstream", "pretraining", "tests", "tensorflow_text", "tokenizers"} & set(imported)


def saved_graph(folder):
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((folder / "saved_model.pb").read_bytes())
    return saved.meta_graphs[0]


def test_no_keras_object_is_needed(exported):
    """TensorFlow imports Keras itself; but an object of Keras would be marked as such in the file."""
    nodes = saved_graph(exported[0] / "single").object_graph_def.nodes
    kinds = {node.user_object.identifier for node in nodes if node.WhichOneof("kind") == "user_object"}
    assert kinds == {"_generic_user_object", "trackable_list_wrapper", "signature_map"}
    assert {node.registered_name for node in nodes} == {"", "tf.TrackableConstant"}


def test_a_classifier_answers_single_texts(exported):
    folder, answers = exported
    outputs, _ = numpy_outputs(folder / "classifier", TEXTS)
    logits = logits_of(outputs)
    weights = np.exp(logits)
    answer = answers["single"]
    assert sorted(answer) == ["alone", "label", "logits", "probabilities"]
    np.testing.assert_allclose(answer["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(answer["probabilities"], weights / weights.sum(1, keepdims=True), atol=1e-5)
    assert answer["label"] == [LABELS[index] for index in logits.argmax(1)]
    assert len(set(answer["label"])) > 1  # otherwise any constant would pass


def test_a_pair_task_reads_two_texts_and_the_length_of_its_training(exported):
    folder, answers = exported
    outputs, inputs = numpy_outputs(folder / "classifier", TEXTS, PAIRS, max_length=12)
    assert inputs["input_ids"].shape == (6, 12)
    np.testing.assert_allclose(answers["pair"]["logits"], logits_of(outputs), atol=1e-5)
    assert np.abs(np.array(answers["pair"]["logits"]) - answers["single"]["logits"]).min() > 1e-4


def test_an_encoder_answers_with_embeddings(exported):
    folder, answers = exported
    outputs, inputs = numpy_outputs(folder / "run" / "model", TEXTS)
    answer = answers["encoder"]
    assert sorted(answer) == ["alone", "embeddings", "last_hidden_state", "pooler_output"]
    for row, length in enumerate(inputs["attention_mask"].sum(1)):
        hidden = outputs["last_hidden_state"][row, :length]
        mean = hidden.mean(0)
        np.testing.assert_allclose(answer["embeddings"][row], mean / np.sqrt((mean**2).sum()), atol=1e-5)
        np.testing.assert_allclose(answer["last_hidden_state"][row][:length], hidden, atol=1e-5)
        assert not np.any(answer["last_hidden_state"][row][length:])
    np.testing.assert_allclose(answer["pooler_output"], outputs["pooler_output"], atol=1e-5)
    assert inputs["attention_mask"].sum(1).tolist()[1] == 2  # the empty text is [CLS] [SEP]
    assert inputs["attention_mask"].sum(1).tolist()[5] == 19  # the long one is cut


def test_a_text_alone_has_the_answer_that_it_has_in_a_batch(exported):
    answers = exported[1]
    np.testing.assert_allclose(answers["single"]["alone"][0], answers["single"]["logits"][0], atol=1e-5)


def test_the_graphs_hold_core_ops_only(exported):
    for name in ("single", "pair", "encoder"):
        graph = saved_graph(exported[0] / name).graph_def
        ops = {node.op for node in graph.node}
        ops |= {node.op for function in graph.library.function for node in function.node_def}
        functions = {function.signature.name for function in graph.library.function}
        assert ops - functions <= CORE_OPS


def test_the_card_beside_the_model(exported):
    card = json.loads((exported[0] / "pair" / "model_card.json").read_text(encoding="utf-8"))
    assert card["task"] == "classification"
    assert card["labels"] == LABELS
    assert (card["inputs"], card["max_length"]) == (["text", "text_b"], 12)
    assert card["config"]["hidden_size"] == 24
    single = json.loads((exported[0] / "single" / "model_card.json").read_text(encoding="utf-8"))
    assert (single["inputs"], single["max_length"]) == (["text"], 19)


def test_the_command_replaces_an_export_and_says_what_it_wrote(exported, tmp_path, capsys):
    output = tmp_path / "again"
    output.mkdir()
    (output / "model_card.json").write_text("{}")  # the mark of an earlier export
    arguments = ["--output", str(output), "--task", "embeddings", "--max-length", "9"]
    assert main(["export", "--model", str(exported[0] / "classifier"), *arguments]) == 0
    printed = capsys.readouterr().out
    assert re.search(
        r"again: embeddings, \d\.\d MiB, .* ms for a short text, largest difference .* \d\.\de-0[678]", printed
    )
    card = json.loads((output / "model_card.json").read_text())
    assert (card["task"], card["max_length"]) == ("embeddings", 9)


# The other problem types of a classifier


LOGITS = np.array([[0.0, np.log(3.0)], [-800.0, 1.0]], "float32")


def answers_of(problem_type):
    from bert_tf.answers import ClassificationAnswers

    answers = ClassificationAnswers(["x", "y"], problem_type)({"logits": LOGITS}, {})
    return {name: value.numpy() for name, value in answers.items()}


def test_multi_label_answers():
    answers = answers_of("multi_label_classification")
    assert sorted(answers) == ["logits", "probabilities"]
    # σ(0) = 1/2, σ(log 3) = 3/4, σ(-800) = 0
    np.testing.assert_allclose(answers["probabilities"], [[0.5, 0.75], [0.0, 1 / (1 + np.exp(-1))]], rtol=1e-6)


def test_regression_answers():
    answers = answers_of("regression")
    assert list(answers) == ["values"]
    np.testing.assert_array_equal(answers["values"], LOGITS)


# What stops


def refuse(model, output, capsys, *options):
    """The sentence that the command gives for bad input."""
    capsys.readouterr()
    assert main(["export", "--model", str(model), "--output", str(output), *options]) == 2
    return capsys.readouterr().err


def test_a_foreign_output_folder_is_kept(exported, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("words")
    model = exported[0] / "run"
    assert "holds files and no model_card.json of an earlier export" in refuse(model, tmp_path / "mine", capsys)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "words"
    assert "thesis.txt is a file; give a new or empty folder" in refuse(model, tmp_path / "mine" / "thesis.txt", capsys)
    assert "holds files" in refuse(model, model, capsys)


def test_a_task_that_the_model_has_no_head_for(tmp_path, capsys):
    tensors = {name: tensor for name, tensor in encoder_tensors().items() if "pooler" not in name}
    folder = write_hugging_face(tmp_path / "qa", "BertForQuestionAnswering", tensors | dense_tensors("qa_outputs", 2))
    output = tmp_path / "out"
    for task, head in (
        ("classification", "BertForSequenceClassification"),
        ("tagging", "BertForTokenClassification"),
        ("fill-mask", "BertForMaskedLM"),
    ):
        sentence = refuse(folder, output, capsys, "--task", task)
        assert f"holds no {head}; --task embeddings exports its encoder" in sentence
    classifier = write_hugging_face(tmp_path / "classifier", "BertForSequenceClassification", classifier_tensors())
    sentence = refuse(classifier, output, capsys, "--task", "question-answering")
    assert "holds no BertForQuestionAnswering" in sentence
    assert not output.exists()


def test_an_architecture_of_another_package(tmp_path, capsys):
    folder = write_hugging_face(tmp_path / "m", "BertForMultipleChoice", encoder_tensors())
    assert "names the architecture 'BertForMultipleChoice'; known are BertModel" in refuse(
        folder, tmp_path / "o", capsys
    )


def test_a_vocabulary_that_is_larger_than_the_model(tmp_path, capsys):
    folder = write_hugging_face(tmp_path / "m", "BertModel", encoder_tensors())
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in [*VOCABULARY, "more"]))
    assert "the vocabulary has 62 tokens and the model 61 word vectors" in refuse(folder, tmp_path / "o", capsys)


def test_a_length_beyond_the_positions(exported, tmp_path, capsys):
    sentence = refuse(exported[0] / "run", tmp_path / "o", capsys, "--max-length", "20")
    assert "max_length 20 is beyond max_position_embeddings 19" in sentence
    sentence = refuse(exported[0] / "run", tmp_path / "o", capsys, "--max-length", "1")
    assert "max_length 1 leaves no room for the 2 special tokens" in sentence
    assert list(tmp_path.iterdir()) == []


def test_a_pair_needs_two_segments(tmp_path, capsys):
    tensors = encoder_tensors()
    tensors["bert.embeddings.token_type_embeddings.weight"] = tensors["bert.embeddings.token_type_embeddings.weight"][
        :1
    ]
    folder = write_hugging_face(tmp_path / "m", "BertModel", tensors, type_vocab_size=1)
    assert "a pair of texts needs two segments" in refuse(folder, tmp_path / "o", capsys, "--pair")


def test_jax_stops_with_a_sentence(exported, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    sentence = refuse(exported[0] / "run", tmp_path / "o", capsys)
    assert "export needs Keras on TensorFlow, and it runs on jax; set KERAS_BACKEND=tensorflow" in sentence


@pytest.mark.parametrize("step", [1.0, np.nan])
def test_a_written_model_that_differs_never_takes_its_name(exported, tmp_path, monkeypatch, step):
    from bert_tf import export
    from bert_tf.answers import ClassificationAnswers

    class Unsteady(ClassificationAnswers):
        """Another answer each time that it is traced or called."""

        calls = 0

        def __call__(self, outputs, rows):
            self.calls += 1
            return {"logits": outputs["logits"] + self.calls * step}

    model = BertForSequenceClassification.from_pretrained(exported[0] / "classifier")
    tokenizer = BertTokenizer.from_pretrained(exported[0] / "classifier")
    with pytest.raises(RuntimeError, match="the exported model differs from the Python model by"):
        export.export_saved_model(tmp_path / "o", model, tokenizer, Unsteady(LABELS))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_not_written(exported, tmp_path, value):
    from bert_tf.answers import ClassificationAnswers
    from bert_tf.export import export_saved_model
    from bert_tf.export_ids import export_ids

    model = BertForSequenceClassification.from_pretrained(exported[0] / "classifier")
    model.output_dense.bias.assign([0, value, 0])
    tokenizer = BertTokenizer.from_pretrained(exported[0] / "classifier")
    sentence = rf"^1 of {len(model.weights)} weights hold NaN or infinity, .*bias first; export an earlier checkpoint"
    with pytest.raises(InputError, match=sentence):
        export_saved_model(tmp_path / "o", model, tokenizer, ClassificationAnswers(LABELS))
    with pytest.raises(InputError, match=sentence):
        export_ids(tmp_path / "o", model, tokenizer, "onnx", max_length=9)
    assert list(tmp_path.iterdir()) == []


def test_no_model_is_bad_input(tmp_path, capsys):
    assert "bert-tf: error: no model directory at" in refuse(tmp_path / "nowhere", tmp_path / "o", capsys)


def test_library_refuses_bad_output_before_any_work(tmp_path):
    from bert_tf.answers import ClassificationAnswers
    from bert_tf.export import export_saved_model

    (tmp_path / "file").write_text("x")
    model = BertForSequenceClassification(small_config())
    with pytest.raises(InputError, match="is a file"):
        export_saved_model(tmp_path / "file", model, tokenizer=None, answers=ClassificationAnswers(LABELS))
