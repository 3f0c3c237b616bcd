"""Texts out of scope: the three scores against their formulas, the threshold by hand, the command, CLINC150's file."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from downstream import BertForSequenceClassification
from downstream.__main__ import main
from downstream.scope_scores import Mahalanobis, best_threshold, maximum_probability, negative_energy
from tests.downstream_toys import write_toy_classifier


def test_scores_of_logits_by_hand():
    # exp of the logits is (1, 2, 5) and (3, 3, 3): the largest shares are 5/8 and 1/3, the sums 8 and 9.
    logits = np.log(np.array([[1, 2, 5], [3, 3, 3]], "float32"))
    np.testing.assert_allclose(maximum_probability(logits), [5 / 8, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(negative_energy(logits), [np.log(8), np.log(9)], rtol=1e-6)
    assert np.isfinite(negative_energy(np.array([[1000.0, 0.0]], "float32"))).all()


def test_mahalanobis_is_its_formula():
    # Classes 0, 2 and 7, of different sizes; the covariance is the mean over all texts, not over the classes.
    rng = np.random.default_rng(0)
    classes = np.array([0] * 30 + [2] * 50 + [7] * 5)
    pooled = (rng.normal(size=(85, 4)) @ rng.normal(size=(4, 4)) + classes[:, None]).astype("float32")
    means = np.array([pooled[classes == one].mean(axis=0, dtype=np.float64) for one in (0, 2, 7)])
    centred = pooled - means[np.searchsorted([0, 2, 7], classes)]
    precision = np.linalg.inv(centred.T @ centred / 85)
    texts = rng.normal(size=(6, 4)).astype("float32")
    expected = [-min((x - mean) @ precision @ (x - mean) for mean in means) for x in texts.astype(np.float64)]
    np.testing.assert_allclose(Mahalanobis(pooled, classes)(texts), expected, rtol=1e-6)
    # A direction without variance, that makes the covariance singular, is left out of the distance.
    flat = np.concatenate([pooled, np.full((85, 1), 0.5, "float32")], axis=1)
    moved = np.concatenate([texts, np.full((6, 1), 9.0, "float32")], axis=1)
    np.testing.assert_allclose(Mahalanobis(flat, classes)(moved), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("in_scope", "right", "out_of_scope", "expected"),
    [
        # Accepting 0.9 and 0.8 alone is right four times: two classes, two rejections.
        ([0.9, 0.8, 0.3], [True, True, False], [0.4, 0.2], 0.6),
        # Accepting all is right three times, from 0.5 on as well: the lower one is taken.
        ([0.9, 0.5, 0.1], [True, True, True], [0.2], -np.inf),
        # Equal scores fall on the same side: at 0.5 one is won and two are lost.
        ([0.9, 0.5], [True, True], [0.5, 0.5], 0.7),
        # No class is right: nothing is worth accepting.
        ([0.9], [False], [0.95], np.inf),
    ],
)
def test_the_threshold_by_hand(in_scope, right, out_of_scope, expected):
    found = best_threshold(np.array(in_scope), np.array(right), np.array(out_of_scope))
    assert found == pytest.approx(expected)


def write_texts(path, rows):
    path.write_text("".join(json.dumps({"sentence": text, "label": label}) + "\n" for text, label in rows))
    return path


@pytest.fixture
def toy(tmp_path):
    write_toy_classifier(tmp_path / "model")
    words = "good great fine bad awful poor the a film book was is".split()
    rng = np.random.default_rng(3)
    for split, count in {"train": 40, "validation": 12, "oos_validation": 8, "test": 15, "oos_test": 9}.items():
        labels = ["oos"] * count if split.startswith("oos") else rng.choice(["neg", "mid", "pos"], count).tolist()
        write_texts(tmp_path / f"{split}.jsonl", [(" ".join(rng.choice(words, 5)), label) for label in labels])
    return tmp_path


def options(toy, **changes):
    splits = {split: toy / f"{split}.jsonl" for split in ("train", "validation", "oos_validation", "test", "oos_test")}
    words = ["outofscope", "--model", toy / "model"]
    for split, path in (splits | changes).items():
        words += [f"--{split.replace('_', '-')}", path]
    return [str(word) for word in words]


def test_the_figures_are_those_of_the_outputs(toy, capsys):
    """From the model's own logits, one text at a time: the command has batches and padding, which change nothing."""
    assert main([*options(toy), "--output", str(toy / "scores.json"), "--batch-size", "4"]) == 0
    results = json.loads((toy / "scores.json").read_text())
    assert json.loads(capsys.readouterr().out) == results
    from downstream.features import open_tokenizer

    model = BertForSequenceClassification.from_pretrained(toy / "model")
    tokenizer = open_tokenizer(toy / "model", model.config)

    def read(split):
        rows = [json.loads(line) for line in (toy / f"{split}.jsonl").open()]
        logits = [np.asarray(model(tokenizer([row["sentence"]], max_length=40))["logits"])[0] for row in rows]
        return np.array(logits), np.array([row["label"] for row in rows])

    (validation, validation_labels), (test, test_labels) = read("validation"), read("test")
    oos_validation, oos_test = read("oos_validation")[0], read("oos_test")[0]
    labels = np.array(model.labels)
    right = labels[test.argmax(axis=1)] == test_labels
    threshold = best_threshold(
        maximum_probability(validation),
        labels[validation.argmax(axis=1)] == validation_labels,
        maximum_probability(oos_validation),
    )
    accepted = maximum_probability(test) >= threshold
    metrics = results["metrics"]
    assert metrics["accuracy_without_threshold"] == pytest.approx(right.mean())
    assert metrics["maximum_probability_in_scope_accuracy"] == pytest.approx((right & accepted).mean())
    assert metrics["maximum_probability_out_of_scope_recall"] == pytest.approx(
        (maximum_probability(oos_test) < threshold).mean()
    )
    for name, score in (("maximum_probability", maximum_probability), ("energy", negative_energy)):
        both = np.concatenate([score(test), score(oos_test)])
        assert metrics[f"{name}_auroc"] == pytest.approx(roc_auc_score([1] * 15 + [0] * 9, both))
    assert 0 <= metrics["mahalanobis_auroc"] <= 1
    assert results["texts"] == {"train": 40, "validation": 12, "oos_validation": 8, "test": 15, "oos_test": 9}


def test_refusals(toy, capsys):
    write_texts(toy / "other.jsonl", [("good", "oos")])
    assert main(options(toy, test=toy / "other.jsonl")) == 2
    message = "line 1: unknown label 'oos'; the labels are neg, mid, pos; correct the row, or train with this label"
    assert capsys.readouterr().err.endswith(f"\nbert-finetune: error: {toy / 'other.jsonl'}, {message}\n")
    assert main([*options(toy), "--output", str(toy / "oos_test.jsonl")]) == 2
    message = f"--output is the input {toy / 'oos_test.jsonl'}; choose another file"
    assert capsys.readouterr().err == f"bert-finetune: error: {message}\n"
    assert main([*options(toy), "--batch-size", "0"]) == 2
    assert "batch_size must be at least 1, got 0" in capsys.readouterr().err
    config = json.loads((toy / "model" / "config.json").read_text())
    (toy / "model" / "config.json").write_text(json.dumps(config | {"problem_type": "multi_label_classification"}))
    assert main(options(toy)) == 2
    message = "is a model of multi_label_classification; the scores need single_label_classification"
    assert capsys.readouterr().err == f"bert-finetune: error: {toy / 'model'} {message}\n"


def test_clinc150(tmp_path, capsys):
    rows = {"oos_val": [["x y", "oos"]], "val": [["a, b", "one"]], "train": [["c", "one"], ['d "e"', "two"]]}
    rows |= {"test": [["f", "two"]], "oos_test": [["g", "oos"]], "oos_train": [["ü", "oos"]]}
    data = tmp_path / "data_full.json"
    data.write_text(json.dumps(rows))
    command = ["clinc150", "--data", str(data), "--output", str(tmp_path / "clinc")]
    assert main(command) == 0
    assert f"{tmp_path / 'clinc' / 'train.jsonl'}: 2 texts, 2 labels" in capsys.readouterr().out
    for part, name in (("train", "train"), ("val", "validation"), ("oos_val", "oos_validation"), ("test", "test")):
        lines = [json.loads(line) for line in (tmp_path / "clinc" / f"{name}.jsonl").open()]
        assert [[line["text"], line["label"]] for line in lines] == rows[part]
    data.write_text(json.dumps(rows | {"val": [["a"]]}))
    assert main(command) == 2
    assert f'{data}: val[0] must be [text, intent], got ["a"]' in capsys.readouterr().err
    data.write_text(json.dumps(rows | {"val": None}))
    assert main(command) == 2
    assert f"{data}: val must be a list of [text, intent], got null" in capsys.readouterr().err
    data.write_text(json.dumps({"train": [], "dev": []}))
    assert main(command) == 2
    expected = "must hold the lists train, val, test, oos_train, oos_val, oos_test of CLINC150, got train, dev"
    assert expected in capsys.readouterr().err
