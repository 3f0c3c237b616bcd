"""ROUGE of summaries (by `rouge-score`), the greedy oracle of extractive ones, and the choice without repetition."""

import collections

import numpy as np

from bert_tf.errors import InputError

try:
    from rouge_score import rouge_scorer, tokenizers
except ImportError:
    raise InputError("summaries are scored by rouge-score, which is not installed; pip install rouge-score") from None

# With Porter's stemmer, as summaries are usually scored (the option -m of ROUGE-1.5.5).
_SCORER = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
_STEMMED = tokenizers.DefaultTokenizer(use_stemmer=True)
_PLAIN = tokenizers.DefaultTokenizer(use_stemmer=False)


def mean_rouge(references, summaries):
    """{"rouge1", "rouge2", "rougeL": the mean F1 over the documents}, each in [0, 1]."""
    scores = [_SCORER.score(one, other) for one, other in zip(references, summaries, strict=True)]
    return {name: float(np.mean([score[name].fmeasure for score in scores])) for name in ("rouge1", "rouge2", "rougeL")}


def greedy_oracle(sentences, reference):
    """The numbers of the sentences that a summary of the best ROUGE has, found greedily, in the order of the document.

    The sentence that raises the sum of the F1 of ROUGE-1 and ROUGE-2 most is added until none raises it (Nallapati et
    al. 2016, arXiv 1611.04230, section 3.1; `greedy_selection` of BERTSUM). Pairs of words do not cross sentences.
    """
    wanted = [_ngrams(_STEMMED.tokenize(reference), size) for size in (1, 2)]
    offered = [[_ngrams(tokens, size) for size in (1, 2)] for tokens in map(_STEMMED.tokenize, sentences)]
    chosen, best, counts = [], 0.0, [collections.Counter(), collections.Counter()]
    while True:
        scores = {
            index: sum(_f1(has + more, of) for has, more, of in zip(counts, offered[index], wanted, strict=True))
            for index in range(len(sentences))
            if index not in chosen
        }
        index = max(scores, key=scores.get, default=None)
        if index is None or scores[index] <= best:
            return sorted(chosen)
        best = scores[index]
        chosen.append(index)
        counts = [has + more for has, more in zip(counts, offered[index], strict=True)]


def choose_sentences(sentences, scores, count):
    """The numbers of the `count` sentences with the largest scores, none with a trigram of one chosen before it.

    Trigram blocking: Paulus et al. 2017 (arXiv 1705.04304, section 2.5). Fewer than `count` where the rest is blocked;
    in the order of the document.
    """
    chosen, seen = [], set()
    for index in np.argsort(-np.asarray(scores), kind="stable"):
        trigrams = set(_ngrams(_PLAIN.tokenize(sentences[index]), 3))
        if len(chosen) < count and not trigrams & seen:
            chosen.append(int(index))
            seen |= trigrams
    return sorted(chosen)


def _ngrams(tokens, size):
    return collections.Counter(zip(*(tokens[start:] for start in range(size)), strict=False))


def _f1(found, wanted):
    """F1 of two counters of n-grams, each n-gram counted as often as both have it; 0 where one is empty."""
    common = (found & wanted).total()
    return 2 * common / (found.total() + wanted.total()) if common else 0.0
