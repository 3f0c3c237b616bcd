"""What a classifier must beat: the most frequent class, and naive Bayes on the same tokens.

For one label an example. The counts of naive Bayes (scikit-learn's `MultinomialNB`) are those of the word pieces that
the model reads, so that the two are compared on the same text, in any language and after the same truncation.
"""

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.naive_bayes import MultinomialNB

from downstream.metrics import metrics_of


class Baselines:
    """Both baselines, from the training examples.

    Args:
        features: the `Features` of the training file, `labels` (N,) int among them.
        vocab_size: the number of token ids.
        label_count: the number of labels.
    """

    def __init__(self, features, vocab_size, label_count):
        labels = features.per_example["labels"]
        self._vocab_size = vocab_size
        self._label_count = label_count
        self._most_frequent = np.bincount(labels).argmax()
        self._naive_bayes = MultinomialNB().fit(_counts(features, vocab_size), labels)

    def measure(self, features):
        """{"majority_accuracy": …, "naive_bayes_accuracy": …, …} on other examples: each metric of both."""
        targets = features.per_example["labels"]
        predicted = {
            "majority": np.full(len(targets), self._most_frequent),
            "naive_bayes": self._naive_bayes.predict(_counts(features, self._vocab_size)),
        }
        return {
            f"{baseline}_{name}": float(metric(targets, values))
            for baseline, values in predicted.items()
            for name, metric in metrics_of("single_label_classification", self._label_count).items()
        }


def _counts(features, vocab_size):
    """How often each example has each token, sparse (N, vocabulary); equal entries of a row add up."""
    ids = features.per_token["input_ids"]
    return csr_matrix((np.ones(len(ids)), ids, features.offsets), shape=(len(features), vocab_size))
