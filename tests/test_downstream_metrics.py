"""Metrics, probabilities, baselines and losses, against values worked out by hand."""

import numpy as np
import pytest
from keras import ops

from downstream.baselines import Baselines
from downstream.features import Features
from downstream.metrics import decisions, measure, probabilities
from downstream.objective import SequenceObjective

SINGLE, SEVERAL, NUMBER = "single_label_classification", "multi_label_classification", "regression"


def test_single_labels():
    # Targets 0 0 1 2, decided 0 1 1 1. F1: label 0: 2·1/(2 + 1) = 2/3; label 1: 2·1/(1 + 3) = 1/2; label 2: 0.
    # Matthews (Gorodkin 2004): N 4, hits 2, targets (2, 1, 1), decided (1, 3, 0): (2·4 - 5) / √((16 - 10)(16 - 6)).
    logits = np.array([[2.0, 1, 0], [0, 1, -1], [0, 3, 1], [0, 1, 0]], "float32")
    figures = measure(SINGLE, np.array([0, 0, 1, 2]), logits)
    assert figures == {
        "accuracy": 0.5,
        "macro_f1": pytest.approx((2 / 3 + 1 / 2 + 0) / 3),
        "matthews": pytest.approx(3 / np.sqrt(60)),
    }


def test_several_labels():
    # Decided 10, 11, 00 against 10, 01, 01: micro: 2 hits, 1 too many, 1 missed: 4/6. Label 0: 1 hit, 1 too many: 2/3;
    # label 1: 1 hit, 1 missed: 2/3. One row of three is right.
    logits = np.array([[1.0, -1], [2, 0.5], [-1, -3]], "float32")
    figures = measure(SEVERAL, np.array([[1, 0], [0, 1], [0, 1]], "float32"), logits)
    assert figures == {
        "micro_f1": pytest.approx(2 / 3),
        "macro_f1": pytest.approx(2 / 3),
        "exact_match": pytest.approx(1 / 3),
    }


def test_regression():
    # 1 2 3 against 1 2 6: covariance 5 (of sums), variances 2 and 14; the order is right; errors 0 0 3.
    figures = measure(NUMBER, np.array([1.0, 2, 3]), np.array([[1.0], [2], [6]]))
    assert figures == {
        "pearson_spearman": pytest.approx((5 / np.sqrt(28) + 1) / 2),
        "pearson": pytest.approx(5 / np.sqrt(28)),
        "spearman": pytest.approx(1.0),
        "negative_mean_squared_error": -3.0,
    }


def test_a_constant_side_orders_nothing():
    figures = measure(NUMBER, np.array([1.0, 2, 3]), np.ones((3, 1)))
    assert (figures["pearson"], figures["spearman"]) == (0.0, 0.0)
    figures = measure(SINGLE, np.array([0, 1]), np.array([[1.0, 0], [1, 0]]))  # one class decided: Matthews is 0
    assert (figures["accuracy"], figures["macro_f1"], figures["matthews"]) == (0.5, pytest.approx(1 / 3), 0.0)


def test_probabilities_and_decisions():
    logits = np.array([[0.0, np.log(3)], [1000.0, 0.0]], "float32")
    np.testing.assert_allclose(probabilities(SINGLE, logits), [[0.25, 0.75], [1, 0]], rtol=1e-6)
    np.testing.assert_allclose(probabilities(SEVERAL, logits[:1]), [[0.5, 0.75]], rtol=1e-6)
    assert probabilities(NUMBER, logits[1:]).tolist() == [[1000.0, 0.0]]
    assert decisions(SINGLE, logits).tolist() == [1, 0]
    assert decisions(SEVERAL, logits).tolist() == [[0, 1], [1, 0]]  # a logit of 0, probability 1/2, decides no
    assert decisions(NUMBER, logits).tolist() == [0.0, 1000.0]


def test_baselines():
    # Training: tokens 1 1 -> label 0, 2 3 -> label 1, 2 -> label 1. Held out: 2 2 -> 1, 1 -> 0, 3 -> 0.
    # The majority says 1 three times: one right. Naive Bayes, with counts plus one of the tokens 0 to 3: label 0 has
    # (1, 3, 1, 1)/6, label 1 (1, 1, 3, 2)/7, priors 1/3 and 2/3. Token 1: 3/6·1/3 > 1/7·2/3, so 0; 2 2 and 3: 1.
    def of(rows, labels):
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        return Features(offsets, {"input_ids": np.concatenate(rows)}, {"labels": np.array(labels, "int32")}, {})

    baselines = Baselines(of([[1, 1], [2, 3], [2]], [0, 1, 1]), vocab_size=4)
    figures = baselines.measure(of([[2, 2], [1], [3]], [1, 0, 0]))
    assert figures["majority_accuracy"] == pytest.approx(1 / 3)
    assert figures["naive_bayes_accuracy"] == pytest.approx(2 / 3)
    assert figures["majority_macro_f1"] == pytest.approx((0.5 + 0) / 2)  # label 1: 2·1/(1 + 3)
    assert set(figures) == {
        f"{baseline}_{name}"
        for baseline in ("majority", "naive_bayes")
        for name in ("accuracy", "macro_f1", "matthews")
    }


@pytest.mark.parametrize(
    ("problem_type", "logits", "labels", "losses"),
    [
        # equal logits: log 3; logits (0, log 3, log 4) have the softmax (1, 3, 4)/8
        (SINGLE, [[5, 5, 5], [0, np.log(3), np.log(4)]], [2, 1], [np.log(3), np.log(8 / 3)]),
        # -log σ(0) twice; -log σ(log 3) = -log 3/4 for a 1 and -log(1 - 1/2) for a 0
        (SEVERAL, [[0, 0], [np.log(3), 0]], [[1, 0], [1, 0]], [np.log(2), (np.log(4 / 3) + np.log(2)) / 2]),
        (NUMBER, [[3], [-1]], [1, -1.5], [4, 0.25]),
    ],
)
def test_losses(problem_type, logits, labels, losses):
    objective = SequenceObjective(problem_type)
    batch = {
        "labels": np.array(labels, "int32" if problem_type == SINGLE else "float32"),
        "example_weights": np.array([2.0, 1.0], "float32"),
    }
    figures = objective.figures({"logits": ops.convert_to_tensor(np.array(logits, "float32"))}, batch)
    total, weight = figures["loss"]
    assert float(total) == pytest.approx(2 * losses[0] + losses[1], rel=1e-6)
    assert float(weight) == 3.0
    assert float(objective.weights(batch)["loss"]) == 3.0


def test_rows_that_fill_a_batch_count_nothing():
    # Decided 1, 0, 1 against 1, 1, 0, of which the last has weight 0: one of two.
    objective = SequenceObjective(SINGLE)
    batch = {"labels": np.array([1, 1, 0], "int32"), "example_weights": np.array([1, 1, 0], "float32")}
    figures = objective.figures({"logits": ops.convert_to_tensor(np.array([[0.0, 1], [1, 0], [0, 1]]))}, batch)
    assert [float(part) for part in figures["accuracy"]] == [1.0, 2.0]
    assert float(figures["loss"][0]) == pytest.approx(np.log(1 + np.exp(-1)) + np.log(1 + np.exp(1)))
