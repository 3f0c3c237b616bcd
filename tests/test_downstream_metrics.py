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


def test_two_labels():
    # Targets 1 1 0 0, decided 1 0 1 0 and once more 1 1: hits of label 1: 2 of 3 decided, 2 of 3 there. 3 of 5 right.
    logits = np.array([[0.0, 1], [1, 0], [0, 1], [1, 0], [0, 1]], "float32")
    figures = measure(SINGLE, np.array([1, 1, 0, 0, 1]), logits)
    assert figures["f1"] == pytest.approx(2 / 3)
    assert figures["accuracy_f1"] == pytest.approx((2 / 3 + 3 / 5) / 2)


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


def random_case(rng):
    """(targets, logits) of one of three problem types: 0 to 12 examples, 2 to 4 labels (1 where there may be
    several or none), often of one class alone.
    """
    examples, labels = rng.integers(0, 13), rng.integers(2, 5)
    problem_type = (SINGLE, SEVERAL, NUMBER)[rng.integers(3)]
    one_class = rng.random() < 0.3
    if problem_type == SINGLE:
        targets = rng.integers(0, 1 if one_class else labels, examples)
        logits = rng.standard_normal((examples, labels))
        if rng.random() < 0.2:
            logits[:, 0] += 100  # one class decided too
    elif problem_type == SEVERAL:
        labels = labels - 1 if rng.random() < 0.3 else labels
        targets = (rng.random((examples, labels)) < (0 if one_class else 0.5)).astype("float32")
        logits = rng.standard_normal((examples, labels)) - (100 if rng.random() < 0.2 else 0)
    else:
        targets = np.full(examples, 2.0) if one_class else np.round(rng.random(examples) * 5, 1)
        logits = np.round(rng.standard_normal((examples, 1)), 1)
    return problem_type, targets, logits.astype("float32")


def by_counting(problem_type, targets, logits):
    """Every metric from its definition: counts of hits, sums of products, mean ranks."""
    count = len(targets)

    def f1_of(true, said):
        return 2 * np.sum(true & said) / max(np.sum(true) + np.sum(said), 1)

    def correlation(a, b):
        a, b = a - a.mean(), b - b.mean()
        return float(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b)))

    def ranks(values):
        return np.array([(np.sum(values < v) + np.sum(values <= v) + 1) / 2 for v in values])

    if problem_type == NUMBER:
        said = logits[:, 0].astype("float64")
        varied = count > 1 and len(set(targets)) > 1 and len(set(said)) > 1
        pearson = correlation(targets, said) if varied else 0.0
        spearman = correlation(ranks(targets), ranks(said)) if varied else 0.0
        error = -float(np.mean((targets - said) ** 2)) if count else 0.0
        return {"pearson_spearman": (pearson + spearman) / 2, "pearson": pearson, "spearman": spearman,
                "negative_mean_squared_error": error}  # fmt: skip
    labels = range(logits.shape[1])
    if problem_type == SEVERAL:
        true, said = targets > 0, logits > 0
        return {
            "micro_f1": f1_of(true, said),
            "macro_f1": float(np.mean([f1_of(true[:, c], said[:, c]) for c in labels])),
            "exact_match": float(np.mean((true == said).all(axis=1))) if count else 0.0,
        }
    said = logits.argmax(axis=1)
    accuracy = float(np.mean(said == targets)) if count else 0.0
    seen = [c for c in labels if (targets == c).any() or (said == c).any()]
    figures = {
        "accuracy": accuracy,
        "macro_f1": float(np.mean([f1_of(targets == c, said == c) for c in seen])) if seen else 0.0,
    }
    here = np.array([np.sum(targets == c) for c in labels], "float64")
    decided = np.array([np.sum(said == c) for c in labels], "float64")
    below = np.sqrt((count**2 - here @ here) * (count**2 - decided @ decided))
    figures["matthews"] = float((np.sum(said == targets) * count - here @ decided) / below) if below else 0.0
    if logits.shape[1] == 2:
        figures["f1"] = f1_of(targets == 1, said == 1)
        figures["accuracy_f1"] = (accuracy + figures["f1"]) / 2
    return figures


@pytest.mark.filterwarnings("ignore:A single label was found")  # scikit-learn, of a case that is meant
def test_metrics_equal_their_definitions_on_1000_random_cases():
    """scikit-learn and SciPy compute them; the definitions are written out above. Of no examples every figure is 0."""
    rng = np.random.default_rng(0)
    empty = one_class = 0
    for case in range(1000):
        problem_type, targets, logits = random_case(rng)
        empty += not len(targets)
        one_class += len(targets) > 0 and bool((targets == targets[0]).all())
        expected = by_counting(problem_type, targets, logits)
        assert measure(problem_type, targets, logits) == pytest.approx(expected, abs=1e-6), case
    assert empty > 30
    assert one_class > 200


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

    baselines = Baselines(of([[1, 1], [2, 3], [2]], [0, 1, 1]), vocab_size=4, label_count=2)
    figures = baselines.measure(of([[2, 2], [1], [3]], [1, 0, 0]))
    assert figures["majority_accuracy"] == pytest.approx(1 / 3)
    assert figures["naive_bayes_accuracy"] == pytest.approx(2 / 3)
    assert figures["majority_macro_f1"] == pytest.approx((0.5 + 0) / 2)  # label 1: 2·1/(1 + 3)
    assert set(figures) == {
        f"{baseline}_{name}"
        for baseline in ("majority", "naive_bayes")
        for name in ("accuracy", "macro_f1", "matthews", "f1", "accuracy_f1")
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
