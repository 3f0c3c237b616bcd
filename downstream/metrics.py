"""The figures of a task on texts, from true targets and logits; computed by scikit-learn and SciPy.

Shapes: N examples, C labels. Each metric takes (targets, predicted) of one problem type:
    single_label_classification  (N,) int, (N,) int          the largest logit
    multi_label_classification   (N, C) 0 or 1, (N, C) 0 or 1  each logit above 0, that is a probability above 1/2
    regression                   (N,) float, (N,) float      the logit
"""

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, mean_squared_error


def macro_f1(targets, predicted):
    """The mean F1 over the labels; without those that neither targets nor predictions have where each has one label."""
    if targets.ndim == 2:  # label by label, as scikit-learn does but for a single one, of which it makes two classes
        return np.mean([f1_score(*column, zero_division=0.0) for column in zip(targets.T, predicted.T, strict=True)])
    return f1_score(targets, predicted, average="macro", zero_division=0.0)


def micro_f1(targets, predicted):
    """F1 over all decisions, one for each example and label."""
    return f1_score(targets.ravel(), predicted.ravel(), zero_division=0.0)


def f1(targets, predicted):
    """F1 of the second of two labels (GLUE's "1", duplicate and paraphrase); 0 where nobody has it."""
    return f1_score(targets, predicted, labels=[1], average="macro", zero_division=0.0)


def accuracy_f1(targets, predicted):
    """The mean of both, the score of MRPC and QQP in GLUE."""
    return (accuracy_score(targets, predicted) + f1(targets, predicted)) / 2


def pearson(targets, predicted):
    """Pearson's correlation; 0 where one side is constant, for which it is not defined."""
    return pearsonr(targets, predicted).statistic if _vary(targets, predicted) else 0.0


def spearman(targets, predicted):
    """Spearman's rank correlation; 0 where one side is constant, for which it is not defined."""
    return spearmanr(targets, predicted).statistic if _vary(targets, predicted) else 0.0


def pearson_spearman(targets, predicted):
    """The mean of both correlations, the score of STS-B in GLUE."""
    return (pearson(targets, predicted) + spearman(targets, predicted)) / 2


def negative_mean_squared_error(targets, predicted):
    return -mean_squared_error(targets, predicted)


def _vary(*columns):
    return all(len(column) > 1 and np.ptp(column) > 0 for column in columns)


# By problem type; the first of each chooses the best checkpoint unless another is asked for. Larger is better in all.
METRICS = {
    "single_label_classification": {
        "accuracy": accuracy_score,
        "macro_f1": macro_f1,
        "matthews": matthews_corrcoef,
        "f1": f1,
        "accuracy_f1": accuracy_f1,
    },
    "multi_label_classification": {
        "micro_f1": micro_f1,
        "macro_f1": macro_f1,
        "exact_match": accuracy_score,
    },
    "regression": {
        "pearson_spearman": pearson_spearman,
        "pearson": pearson,
        "spearman": spearman,
        "negative_mean_squared_error": negative_mean_squared_error,
    },
}

OF_TWO_LABELS = ("f1", "accuracy_f1")


def metrics_of(problem_type, label_count):
    """{name: metric} of a problem type, without those that need two labels where there are more."""
    metrics = METRICS[problem_type]
    return {name: metric for name, metric in metrics.items() if label_count == 2 or name not in OF_TWO_LABELS}


def decisions(problem_type, logits):
    """What the logits (N, C) decide, in the form that the metrics of the problem type take."""
    if problem_type == "single_label_classification":
        return logits.argmax(axis=1)
    if problem_type == "multi_label_classification":
        return (logits > 0).astype(np.int64)
    return logits[:, 0]


def probabilities(problem_type, logits):
    """(N, C) float64: softmax over the labels, a sigmoid for each label, or the value itself for regression."""
    logits = logits.astype(np.float64)
    if problem_type == "single_label_classification":
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)
    if problem_type == "multi_label_classification":
        return 1.0 / (1.0 + np.exp(-logits))
    return logits


def measure(problem_type, targets, logits):
    """{name: float} of every metric of the problem type, from targets and logits (N, C); 0 of no examples."""
    metrics = metrics_of(problem_type, logits.shape[1])
    if not len(targets):
        return dict.fromkeys(metrics, 0.0)
    predicted = decisions(problem_type, logits)
    return {name: float(metric(targets, predicted)) for name, metric in metrics.items()}
