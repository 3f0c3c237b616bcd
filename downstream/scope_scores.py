"""How much a text looks like one of the classes that a classifier knows: three scores, and the threshold on them.

Shapes: N texts, C classes, H pooled width. In every score a larger value means more likely in scope. All is float64.
"""

import numpy as np
from scipy.special import logsumexp
from sklearn.covariance import EmpiricalCovariance


def maximum_probability(logits):
    """The largest softmax probability (Hendrycks & Gimpel 2016, arXiv 1610.02136): (N, C) -> (N,)."""
    logits = logits.astype(np.float64)
    return np.exp(logits.max(axis=1) - logsumexp(logits, axis=1))


def negative_energy(logits):
    """log Σ exp(logit), at temperature 1 (Liu et al. 2020, arXiv 2010.03759, equation 4): (N, C) -> (N,)."""
    return logsumexp(logits.astype(np.float64), axis=1)


class Mahalanobis:
    """-min over the classes of (x - μ)ᵀ Σ⁻¹ (x - μ) (Lee et al. 2018, arXiv 1807.03888, equations 1 and 2).

    The covariance, shared by the classes, is the mean over all training texts of (x - μ of its class)(…)ᵀ; where it is
    singular Σ⁻¹ is its pseudo-inverse.

    Args:
        pooled: (N, H), the pooled outputs of the training texts.
        classes: (N,) int, their classes.
    """

    def __init__(self, pooled, classes):
        pooled = pooled.astype(np.float64)
        _, rows = np.unique(classes, return_inverse=True)
        counts = np.bincount(rows)
        means = np.zeros((len(counts), pooled.shape[1]))
        np.add.at(means, rows, pooled)
        self.means = means / counts[:, None]  # (classes seen, H)
        self.precision = EmpiricalCovariance(assume_centered=True).fit(pooled - self.means[rows]).precision_

    def __call__(self, pooled):
        """(N, H) -> (N,)."""
        pooled = pooled.astype(np.float64)
        nearest = np.full(len(pooled), np.inf)
        for mean in self.means:
            difference = pooled - mean
            nearest = np.minimum(nearest, np.einsum("nh,nh->n", difference @ self.precision, difference))
        return -nearest


def best_threshold(in_scope, right, out_of_scope):
    """The threshold that makes most decisions right: texts with a score below it are taken for out of scope.

    A text in scope is decided rightly if it is accepted and its class is right, one out of scope if it is not accepted
    (the accuracy over both, by which Larson et al. 2019 choose). The threshold lies midway between two scores, or is
    -inf (accept all) or inf; among equally good ones it is the lowest.

    >>> best_threshold(np.array([0.9, 0.8, 0.3]), np.array([True, True, False]), np.array([0.4, 0.2]))
    0.6000000000000001

    Args:
        in_scope: (N,) scores; right: (N,) bool, whether the class is right.
        out_of_scope: (M,) scores.
    """
    scores = np.concatenate([in_scope, out_of_scope])
    # What accepting a text is worth: 1, 0 or -1 (a rejected text out of scope is what is lost).
    worth = np.concatenate([right.astype(int), np.full(len(out_of_scope), -1)])
    values, places = np.unique(scores, return_inverse=True)
    by_value = np.zeros(len(values), int)
    np.add.at(by_value, places, worth)
    accepted = np.concatenate([np.cumsum(by_value[::-1])[::-1], [0]])  # [i]: all from values[i] on are accepted
    best = int(accepted.argmax())
    if best == 0:
        return -np.inf
    if best == len(values):
        return np.inf
    return float((values[best - 1] + values[best]) / 2)
