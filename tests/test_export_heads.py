"""Exports of every head on 500 real texts: a process with tensorflow alone gives the answers of the Python model.

The texts are paragraphs of the documentation that comes with Python, and what is hard: nothing, 10,000 characters,
emoji, right to left, bytes that are not UTF-8. The expected answers come from the Keras model called in Python and the
NumPy code of `downstream` (windows, spans, entities), which shares nothing with the graph but the rules.
"""

import collections
import json
import pydoc_data.topics
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import keras
import numpy as np
import pytest

from bert_tf import BertConfig, BertModel, BertTokenizer, InputError
from bert_tf.__main__ import main
from bert_tf.fill_mask import fill_mask
from downstream import BertForQuestionAnswering, BertForSequenceClassification, BertForTokenClassification
from downstream.batches import choose_lengths
from downstream.forward import compile_forward
from downstream.squad_answers import AnswerSettings, find_answers
from downstream.squad_questions import Questions
from downstream.squad_windows import WindowSettings, make_windows
from downstream.tag_predict import decide
from downstream.tag_windows import make_tag_windows
from downstream.token_outputs import read_token_outputs
from pretraining import BertForMaskedLM, BertForPreTraining
from tests.test_export import CORE_OPS, saved_graph

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel is TensorFlow's")

LENGTH = 40  # tokens of a row
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
SQUAD = {"max_seq_length": LENGTH, "doc_stride": 9, "max_query_length": 8, "max_answer_length": 6, "n_best": 20}
HARD = [
    b"",
    b" \t\n",
    ("It was 10,000 characters long (really). " * 250).encode(),
    "emoji \U0001f600 \U0001f469‍\U0001f469‍\U0001f467 and naïve café".encode(),
    "שלום עולם, this is right to left. مرحبا".encode(),
    b"not \xff\xc3 good \xe2\x82",
    "東京は日本の首都です。".encode(),
    b"[MASK] [MASK] and [UNK]...!?",
]
# Answers to all texts, in batches of 25; floats as they are, strings as text, nothing of the padding.
ELSEWHERE = """
import json, sys
import numpy as np
import tensorflow as tf
request = json.load(open(sys.argv[1]))
answers = {}
for name, (folder, inputs) in request["exports"].items():
    model = tf.saved_model.load(folder)
    inputs = {key: [text.encode("latin-1") for text in texts] for key, texts in inputs.items()}
    answers[name] = {}
    for start in range(0, len(next(iter(inputs.values()))), 25):
        batch = {key: tf.constant(texts[start : start + 25]) for key, texts in inputs.items()}
        for key, value in model.signatures["serving_default"](**batch).items():
            if key != "last_hidden_state":
                answers[name].setdefault(key, []).extend(value.numpy().tolist())
answers["imported"] = sorted({module.partition(".")[0] for module in sys.modules})
json.dump(answers, open(sys.argv[2], "w"), default=lambda text: text.decode())
"""


def real_texts():
    """500 texts as bytes, the hard ones first; every third has a mask in place of its second word."""
    paragraphs = [
        " ".join(part.split())
        for topic in pydoc_data.topics.topics.values()
        for part in topic.split("\n\n")
        if part.strip()
    ]
    texts = HARD + [text.encode() for text in paragraphs[:: len(paragraphs) // (500 - len(HARD))]]
    texts = texts[:500]
    for index in range(9, 500, 3):
        words = texts[index].split(b" ")
        texts[index] = b" ".join([words[0], b"[MASK]", *words[2:]])
    return texts


def vocabulary(texts):
    """The special tokens, single characters, and the 700 most frequent words and endings of the texts."""
    words = re.findall(r"[a-z]+", " ".join(text.decode("utf-8", "replace").lower() for text in texts))
    counts = collections.Counter(words) + collections.Counter("##" + word[-3:] for word in words if len(word) > 5)
    frequent = [word for word, _ in counts.most_common(700) if len(word) > 1]
    marks = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    single = [*marks, *(f"##{mark}" for mark in marks)]
    return list(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *single, *frequent, "東", "京"]))


@pytest.fixture(scope="module")
def texts():
    return real_texts()


@pytest.fixture(scope="module")
def tokenizer(texts):
    return BertTokenizer(vocabulary(texts))


@pytest.fixture(scope="module")
def models(tokenizer):
    config = BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=44,
        initializer_range=0.4,  # large, so that the answers differ from text to text
    )
    keras.utils.set_random_seed(5)
    classifier = BertForSequenceClassification(config, labels=["über", "b", "c"])
    return {
        "classifier": classifier,
        "pairs": classifier,
        "labels": BertForSequenceClassification(config, labels=["x", "y"], problem_type="multi_label_classification"),
        "value": BertForSequenceClassification(config, labels=["score"], problem_type="regression"),
        "tagger": BertForTokenClassification(config, labels=TAGS),
        "answers": BertForQuestionAnswering(config),
        "answers_or_none": BertForQuestionAnswering(config),
        "masks": BertForMaskedLM(config),
        "encoder": BertModel(config),
    }


TASK_FILES = {
    "classifier": {"text": "sentence", "text_pair": None, "max_seq_length": LENGTH},
    "pairs": {"text": "a", "text_pair": "b", "max_seq_length": LENGTH},
    "tagger": {"task": "tag", "word_column": 0, "scheme": "IOB2", "max_seq_length": LENGTH},
    "answers": {"task": "squad", "version_2": False, "null_odds_threshold": 0.0} | SQUAD,
    "answers_or_none": {"task": "squad", "version_2": True, "null_odds_threshold": -3.0} | SQUAD,
}


def inputs_of(name, texts):
    if name == "pairs":
        return {"text": texts, "text_b": texts[::-1]}
    if name.startswith("answers"):
        return {"question": [b" ".join(text.split()[:11]) for text in texts[::-1]], "context": texts}
    return {"text": texts}


@pytest.fixture(scope="module")
def exported(tmp_path_factory, models, tokenizer, texts):
    """(folder of the exports, what the other process answered)."""
    folder = tmp_path_factory.mktemp("heads")
    request = {}
    for name, model in models.items():
        run = folder / "runs" / name
        model.save_pretrained(run / "model")
        tokenizer.save_pretrained(run / "model")
        if name in TASK_FILES:
            (run / "model" / "task.json").write_text(json.dumps(TASK_FILES[name]))
        (run / "results.json").write_text(json.dumps({"metrics": {"validation_f1": 0.5}}))
        (run / "config.json").write_text(json.dumps({"learning_rate": 3e-5}))
        length = [] if name in TASK_FILES else ["--max-length", str(LENGTH)]
        assert main(["export", "--model", str(run), "--output", str(folder / name), *length]) == 0
        inputs = {key: [text.decode("latin-1") for text in values] for key, values in inputs_of(name, texts).items()}
        request[name] = [str(folder / name), inputs]
    (folder / "request.json").write_text(json.dumps({"exports": request}))
    command = [sys.executable, "-I", "-c", ELSEWHERE, str(folder / "request.json"), str(folder / "answers.json")]
    subprocess.run(command, check=True, cwd=folder)
    return folder, json.loads((folder / "answers.json").read_text())


def outputs_of(model, tokenizer, *texts):
    """The outputs of the Keras model for whole texts, batch by batch, as lists of arrays by name."""
    outputs = collections.defaultdict(list)
    for start in range(0, len(texts[0]), 25):
        batch = tokenizer(*(part[start : start + 25] for part in texts), max_length=LENGTH)
        for name, values in model(batch, training=False).items():
            outputs[name].extend(np.asarray(values))
        outputs["attention_mask"].extend(np.asarray(batch["attention_mask"]))
    return outputs


def logits_of_windows(model, features):
    """The outputs of the Keras model for all tokens of `Features`, one behind the other."""
    return read_token_outputs(compile_forward(model), features, choose_lengths(features.lengths), 32)[0]


def softmax(logits):
    weights = np.exp(logits - np.max(logits, -1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def test_the_other_process_imported_tensorflow_alone(exported):
    assert not {"bert_tf", "downstream", "pretraining", "tests", "tokenizers"} & set(exported[1]["imported"])


def test_the_graphs_hold_core_ops_only(exported, models):
    for name in models:
        graph = saved_graph(exported[0] / name).graph_def
        ops = {node.op for node in graph.node}
        ops |= {node.op for function in graph.library.function for node in function.node_def}
        assert ops - {function.signature.name for function in graph.library.function} <= CORE_OPS, name


def test_classifiers(exported, models, tokenizer, texts):
    for name, pair in (("classifier", ()), ("pairs", (texts[::-1],))):
        logits = np.array(outputs_of(models[name], tokenizer, texts, *pair)["logits"])
        answer = exported[1][name]
        np.testing.assert_allclose(answer["logits"], logits, atol=1e-5)
        np.testing.assert_allclose(answer["probabilities"], softmax(logits), atol=1e-5)
        assert answer["label"] == [models[name].labels[index] for index in logits.argmax(-1)]
        assert collections.Counter(answer["label"]).most_common(2)[1][1] > 50  # otherwise a constant might pass


def test_several_labels_and_values(exported, models, tokenizer, texts):
    logits = np.array(outputs_of(models["labels"], tokenizer, texts)["logits"])
    np.testing.assert_allclose(exported[1]["labels"]["probabilities"], 1 / (1 + np.exp(-logits)), atol=1e-5)
    assert sorted(exported[1]["labels"]) == ["logits", "probabilities"]
    values = np.array(outputs_of(models["value"], tokenizer, texts)["logits"])
    np.testing.assert_allclose(exported[1]["value"]["values"], values, atol=1e-5)


def test_embeddings(exported, models, tokenizer, texts):
    outputs = outputs_of(models["encoder"], tokenizer, texts)
    for got, hidden, mask in zip(
        exported[1]["encoder"]["embeddings"], outputs["last_hidden_state"], outputs["attention_mask"], strict=True
    ):
        mean = hidden[mask == 1].mean(0)
        np.testing.assert_allclose(got, mean / np.sqrt((mean**2).sum()), atol=1e-5)


def test_masks(exported, models, tokenizer, texts):
    answer = exported[1]["masks"]
    asked = 0
    for index, text in enumerate(texts):
        ids = np.asarray(tokenizer([text], max_length=LENGTH)["input_ids"])[0]
        places = np.flatnonzero(ids == tokenizer.mask_token_id)
        assert [place for place in answer["positions"][index] if place >= 0] == places.tolist()
        if not len(places) or index == 2:
            assert not any(any(words) for words in answer["tokens"][index])
            continue
        if len(ids) < LENGTH:  # a longer one is cut, which fill_mask counts in 44 positions
            expected = fill_mask(models["masks"], tokenizer, [text.decode()])[0]
            asked += len(expected)
            for words, probabilities, best in zip(
                answer["tokens"][index], answer["probabilities"][index], expected, strict=False
            ):
                assert words == [token for token, _ in best]
                np.testing.assert_allclose(probabilities, [value for _, value in best], atol=1e-5)
    assert asked > 50


class Sentences:
    """What `make_tag_windows` and `decide` need of `downstream.conll.Sentences`."""

    def __init__(self, words):
        self.words = words


def words_of(text):
    """[(word, begin, end)]: white space parts them, and each mark at the ends of a part is a word."""
    mark = r"[!-/:-@\[-`{-~。]"
    found = []
    for part in re.finditer(r"\S+", text):
        left = re.match(rf"{mark}*", part[0])[0]
        right = re.search(rf"{mark}*$", part[0][len(left) :])[0]
        middle = part[0][len(left) : len(part[0]) - len(right)]
        place = part.start()
        for word in [*left, *([middle] if middle else []), *right]:
            found.append((word, place, place + len(word)))
            place += len(word)
    return found


def test_tags(exported, models, tokenizer, texts):
    # Without what the tokenizer drops or takes for one token: the words of those are checked by hand below.
    plain = [index for index, text in enumerate(texts) if re.fullmatch(rb"[ -~]*", text) and b"[" not in text]
    assert 2 in plain
    assert len(plain) > 250
    found = [words_of(texts[index].decode()) for index in plain]
    sentences = Sentences([[word for word, _, _ in words] for words in found if words])
    windows = make_tag_windows(sentences, tokenizer, LENGTH, tokenizer.pad_token_id)
    assert windows.long_sentences > 50
    logits = logits_of_windows(models["tagger"], windows.features)["logits"]
    entities = iter(decide(logits, windows, sentences, TAGS))
    probabilities = iter(softmax(logits[windows.places]))
    answer = exported[1]["tagger"]
    several = 0
    for index, words in zip(plain, found, strict=True):
        row = {name: values[index] for name, values in answer.items()}
        count = len(words)
        assert row["words"][:count] == [word for word, _, _ in words]
        assert row["word_starts"][:count] == [begin for _, begin, _ in words]
        assert row["word_ends"][:count] == [end for _, _, end in words]
        assert not any(row["words"][count:])
        assert not any(row["word_ends"][count:])
        if not words:
            continue
        for label, probability in zip(row["word_labels"][:count], row["word_probabilities"], strict=False):
            expected = next(probabilities)
            assert label == TAGS[expected.argmax()]
            assert probability == pytest.approx(expected.max(), abs=1e-5)
        expected = next(entities)
        kinds = [kind for kind in row["entity_labels"] if kind]
        assert kinds == [kind for kind, _, _ in expected]
        assert row["entity_starts"][: len(kinds)] == [words[first][1] for _, first, _ in expected]
        assert row["entity_ends"][: len(kinds)] == [words[last][2] for _, _, last in expected]
        text = texts[index].decode()
        assert row["entities"][: len(kinds)] == [text[words[a][1] : words[b][2]] for _, a, b in expected]
        for probability, (_, first, last) in zip(row["entity_probabilities"], expected, strict=False):
            assert probability == pytest.approx(min(row["word_probabilities"][first : last + 1]))
            several += last > first
    assert several > 50


def test_words_of_hard_texts(exported):
    answer = exported[1]["tagger"]
    words = {index: [word for word in answer["words"][index] if word] for index in range(len(HARD))}
    assert words[0] == words[1] == []
    assert words[3] == ["emoji", "\U0001f600", "\U0001f469‍\U0001f469‍\U0001f467", "and", "naïve", "café"]
    assert words[4] == ["שלום", "עולם", ",", "this", "is", "right", "to", "left", ".", "مرحبا"]
    assert words[5][0] == "not"
    assert "good" in words[5]
    assert words[7] == ["[MASK]", "[MASK]", "and", "[UNK]", ".", ".", ".", "!", "?"]


def test_words_are_those_of_the_text_whatever_the_tokenizer_drops_or_does_not_know():
    """A gap between tokens is white space only where there is some; marks are marks as unknown tokens too."""
    import tensorflow as tf

    from bert_tf.answers_tags import TagAnswers

    known = "zo ##ete ##e ##te lives co ##operate in oslo a ##a".split()
    tokenizer, answers = BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *known]), TagAnswers(TAGS)
    expected = {
        unicodedata.normalize("NFD", "zoëte lives"): [unicodedata.normalize("NFD", "zoëte"), "lives"],
        "co\xadoperate in oslo": ["co\xadoperate", "in", "oslo"],
        "a\u200ba \u200b in": ["a\u200ba", "in"],
        "“oslo” … (in), xyz…": ["“", "oslo", "”", "…", "(", "in", ")", ",", "xyz", "…"],
        "in\u3000oslo\u2028a-a": ["in", "oslo", "a-a"],
        "[MASK] “[MASK]”": ["[MASK]", "“", "[MASK]", "”"],
    }

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(texts):
        rows = answers.rows(tokenizer, (texts,), LENGTH)
        return answers({"logits": tf.one_hot(rows["input_ids"], len(TAGS))}, rows)

    words = [[word.decode() for word in row if word] for row in serve(tf.constant(list(expected)))["words"].numpy()]
    assert words == list(expected.values())


def test_answers_to_questions(exported, models, tokenizer, texts):
    inputs = inputs_of("answers", texts)
    asked = [index for index, text in enumerate(texts) if text.strip() and inputs["question"][index]]
    questions = Questions(
        path=Path("toy"),
        version_2=True,
        ids=list(range(len(asked))),
        texts=[inputs["question"][index].decode("utf-8", "replace") for index in asked],
        contexts=[texts[index].decode("utf-8", "replace") for index in asked],
        context_of=list(range(len(asked))),
        answers=[[] for _ in asked],
    )
    settings = {name: SQUAD[name] for name in ("max_seq_length", "doc_stride", "max_query_length")}
    windows = make_windows(questions, tokenizer, WindowSettings(**settings), tokenizer.pad_token_id)
    assert len(windows.features) > 2 * len(asked)
    limits = AnswerSettings(SQUAD["max_answer_length"], SQUAD["n_best"])
    for name in ("answers", "answers_or_none"):
        logits = logits_of_windows(models[name], windows.features)
        found = find_answers(questions, windows, logits["start_logits"], logits["end_logits"], limits)
        expected = found.texts if name == "answers" else found.decide(-3.0)
        answer = exported[1][name]
        for number, index in enumerate(asked):
            got = {key: values[index] for key, values in answer.items()}
            assert got["answer"] == expected[number]
            assert got["answer"] == questions.contexts[number][got["start"] : got["end"]]
            best = next(one for one in found.n_best[number] if one["text"] == found.texts[number])
            assert got["start_logit"] == pytest.approx(best["start_logit"], abs=1e-5)
            assert got["end_logit"] == pytest.approx(best["end_logit"], abs=1e-5)
            assert 0 < got["probability"] <= 1
            if name == "answers_or_none":
                assert got["null_odds"] == pytest.approx(found.null_odds[number], abs=2e-5)
        assert answer["answer"][0] == answer["answer"][1] == ""  # no context, no answer
    shown = [bool(text) for text in exported[1]["answers_or_none"]["answer"]]
    assert 50 < sum(shown) < 450


def test_the_probability_of_an_answer_is_its_share_of_all_stretches():
    import tensorflow as tf

    from bert_tf.answers_spans import SpanAnswers

    # [CLS] q [SEP] a b [SEP] in one window: the stretches are a, b and a b.
    start, end = np.log([[[9.0, 1, 1, 2, 1, 1]], [[5.0, 1, 1, 3, 4, 1]]])
    offsets = [[[0, 0], [0, 0], [0, 0], [0, 1], [2, 3], [0, 0]]]
    rows = {
        "offset_mapping": tf.constant(offsets),
        "best_here": tf.constant([[False, False, False, True, True, False]]),
        "text": tf.constant([0]),
        "contexts": tf.constant(["a b"]),
    }
    outputs = {"start_logits": tf.constant(start, tf.float32), "end_logits": tf.constant(end, tf.float32)}
    # Weights: a 2 · 3, b 1 · 4, a b 2 · 4 = 8 of 18; with none, 9 · 5 = 45 of 63.
    answer = SpanAnswers()(outputs, rows)
    assert answer["answer"].numpy().tolist() == [b"a b"]
    assert float(answer["probability"][0]) == pytest.approx(8 / 18)
    answer = SpanAnswers(max_answer_length=1)(outputs, rows)
    assert (answer["answer"].numpy().tolist(), float(answer["probability"][0])) == ([b"a"], pytest.approx(0.6))
    answer = SpanAnswers(null_odds_threshold=1.0)(outputs, rows)
    assert (answer["answer"].numpy().tolist(), float(answer["probability"][0])) == ([b""], pytest.approx(45 / 63))
    assert float(answer["null_odds"][0]) == pytest.approx(np.log(45 / 8), abs=1e-6)


# The other signatures, precision, card


def signatures(folder):
    import tensorflow as tf

    return tf.saved_model.load(str(folder)).signatures


def test_examples(exported, texts):
    import tensorflow as tf

    loaded = signatures(exported[0] / "pairs")

    def example(first, second):
        features = {"text": first, "text_b": second}
        features = {
            name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[text])) for name, text in features.items()
        }
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()

    pairs = list(zip(texts[:20], texts[:-21:-1], strict=True))
    got = loaded["examples"](examples=tf.constant([example(*pair) for pair in pairs]))
    first, second = map(list, zip(*pairs, strict=True))
    expected = loaded["serving_default"](text=tf.constant(first), text_b=tf.constant(second))
    assert sorted(got) == sorted(expected)
    np.testing.assert_allclose(got["probabilities"], expected["probabilities"], atol=1e-6)


def test_ids(exported, models, tokenizer, texts):
    for name in ("tagger", "answers", "masks", "encoder", "classifier"):
        batch = tokenizer(texts[:9], max_length=LENGTH)
        got = signatures(exported[0] / name)["ids"](**batch)
        expected = models[name](batch, training=False)
        assert sorted(got) == sorted(expected)
        for output, values in expected.items():
            np.testing.assert_allclose(got[output], values, atol=2e-5)


def test_attention(exported, models, tokenizer, texts):
    import tensorflow as tf

    got = signatures(exported[0] / "tagger")["attention"](text=tf.constant(texts[:9]))
    batch = tokenizer(texts[:9], max_length=LENGTH)
    expected = models["tagger"].bert(batch, output_attentions=True)["attentions"]
    assert got["attentions"].shape == (9, 2, 4, LENGTH, LENGTH)
    np.testing.assert_allclose(got["attentions"], np.stack(expected, 1), atol=1e-5)
    tokens = got["tokens"].numpy().tolist()
    assert [token.decode() for token in tokens[7][:9]] == ["[CLS]", "[MASK]", "[MASK]", "and", "[UNK]", *"...!"]
    assert tokens[0] == [b"[CLS]", b"[SEP]"] + [b""] * (LENGTH - 2)


def test_bfloat16_is_half_as_large_and_near(exported, texts, tmp_path, capsys):
    import tensorflow as tf

    run = exported[0] / "runs" / "encoder"
    options = ["--max-length", str(LENGTH), "--precision", "bfloat16"]
    assert main(["export", "--model", str(run), "--output", str(tmp_path / "half"), *options]) == 0
    difference = float(re.search(r"largest difference from the Python model (\S+)\.$", capsys.readouterr().out)[1])
    assert 1e-3 < difference < 0.2
    sizes = [
        sum(file.stat().st_size for file in (folder / "variables").glob("*.data*"))
        for folder in (tmp_path / "half", exported[0] / "encoder")
    ]
    assert sizes[0] < 0.6 * sizes[1]
    got = signatures(tmp_path / "half")["serving_default"](text=tf.constant(texts[:25]))["embeddings"]
    assert got.dtype == tf.float32
    cosines = (got.numpy() * np.array(exported[1]["encoder"]["embeddings"][:25])).sum(-1)
    assert cosines.min() > 0.99
    assert json.loads((tmp_path / "half" / "model_card.json").read_text())["precision"] == "bfloat16"


def test_no_texts_have_no_answers(exported):
    import tensorflow as tf

    for name in ("tagger", "answers_or_none", "masks"):
        loaded = signatures(exported[0] / name)
        for signature in ("serving_default", "attention"):
            inputs = {key: tf.constant([], tf.string) for key in inputs_of(name, [])}
            assert all(values.shape[0] == 0 for values in loaded[signature](**inputs).values())


def test_pooling_and_length_of_embeddings():
    import tensorflow as tf

    from bert_tf.answers import EmbeddingAnswers

    hidden = tf.constant([[[3.0, -4.0], [1.0, -6.0], [9.0, 9.0]], [[0.0, -2.0], [9.0, 9.0], [9.0, 9.0]]])
    rows = {"attention_mask": tf.constant([[1, 1, 0], [1, 0, 0]])}

    def embeddings(**settings):
        return EmbeddingAnswers(**settings)({"last_hidden_state": hidden}, rows)["embeddings"].numpy().tolist()

    assert embeddings(pooling="mean", normalize=False) == [[2, -5], [0, -2]]
    assert embeddings(pooling="max", normalize=False) == [[3, -4], [0, -2]]
    assert embeddings(pooling="cls", normalize=False) == [[3, -4], [0, -2]]
    np.testing.assert_allclose(embeddings(pooling="cls"), [[0.6, -0.8], [0, -1]], rtol=1e-6)
    with pytest.raises(InputError, match="pooling must be one of mean, cls, max, got 'sum'"):
        EmbeddingAnswers(pooling="sum")


def test_cards(exported):
    cards = {name: json.loads((exported[0] / name / "model_card.json").read_text()) for name in TASK_FILES}
    assert cards["tagger"]["task"] == "tagging"
    assert cards["tagger"]["labels"] == TAGS
    assert cards["answers"]["inputs"] == ["question", "context"]
    assert cards["answers"]["null_odds_threshold"] is None
    assert cards["answers_or_none"]["null_odds_threshold"] == -3.0
    assert cards["answers"]["doc_stride"] == 9
    for card in cards.values():
        assert card["max_length"] == LENGTH
        assert (card["metrics"], card["training"]) == ({"validation_f1": 0.5}, {"learning_rate": 3e-5})
        assert card["tokenizer"]["do_lower_case"] is True
        assert card["signatures"] == ["serving_default", "examples", "ids", "attention"]
        assert card["largest_difference"] < 1e-5


def test_both_pretraining_heads_export_the_words(models, tokenizer, tmp_path):
    model = BertForPreTraining(models["masks"].config)
    model.save_pretrained(tmp_path / "run" / "model")
    tokenizer.save_pretrained(tmp_path / "run" / "model")
    arguments = ["export", "--model", str(tmp_path / "run"), "--max-length", "9"]
    assert main([*arguments, "--output", str(tmp_path / "words"), "--top-k", "2"]) == 0
    card = json.loads((tmp_path / "words" / "model_card.json").read_text())
    assert (card["task"], card["top_k"]) == ("fill-mask", 2)
    assert main([*arguments, "--output", str(tmp_path / "encoder"), "--task", "embeddings"]) == 0
    assert json.loads((tmp_path / "encoder" / "model_card.json").read_text())["task"] == "embeddings"


def test_top_k_beyond_the_vocabulary(exported, tmp_path, capsys):
    arguments = ["export", "--model", str(exported[0] / "runs" / "masks"), "--output", str(tmp_path / "o")]
    assert main([*arguments, "--top-k", "0"]) == 2
    assert "--top-k must be from 1 to the" in capsys.readouterr().err
