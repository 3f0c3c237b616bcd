"""ROUGE of summaries (by `rouge-score`), the greedy oracle of extractive ones, and the choice without repetition.

The words of English are those of rouge-score: runs of a to z and digits, where they are scored with Porter's stemmer,
as is usual for summaries (the option -m of ROUGE-1.5.5). All other letters it drops, so that in other languages the
words are runs of letters, marks and digits of any script; of Chinese and Japanese each character is a word.
"""

import collections
import functools
import re
import unicodedata

import numpy as np

from bert_tf.errors import InputError

try:
    from rouge_score import rouge_scorer, tokenizers
except ImportError:
    raise InputError("summaries are scored by rouge-score, which is not installed; pip install rouge-score") from None

NAMES = ("rouge1", "rouge2", "rougeL")
_IDEOGRAPH_OR_KANA = re.compile("[\u3041-\u30fa\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


class _WordsOfAnyScript:
    def tokenize(self, text):
        """The words in lower case."""
        parts = (one if unicodedata.category(one)[0] in "LMN" else " " for one in text.lower())  # letter, mark, number
        return _IDEOGRAPH_OR_KANA.sub(r" \g<0> ", "".join(parts)).split()


@functools.cache
def _tokenizer(language, stemmed):
    return tokenizers.DefaultTokenizer(use_stemmer=stemmed) if language == "en" else _WordsOfAnyScript()


def mean_rouge(references, summaries, language="en"):
    """{"rouge1", "rouge2", "rougeL": the mean F1 over the documents}, each in [0, 1]."""
    scorer = rouge_scorer.RougeScorer(NAMES, tokenizer=_tokenizer(language, stemmed=True))
    scores = [scorer.score(one, other) for one, other in zip(references, summaries, strict=True)]
    return {name: float(np.mean([score[name].fmeasure for score in scores])) for name in NAMES}


def greedy_oracle(sentences, reference, language="en"):
    """The numbers of the sentences that a summary of the best ROUGE has, found greedily, in the order of the document.

    The sentence that raises the sum of the F1 of ROUGE-1 and ROUGE-2 most is added until none raises it (Nallapati et
    al. 2016, arXiv 1611.04230, section 3.1; `greedy_selection` of BERTSUM). Pairs of words do not cross sentences.
    """
    tokenize = _tokenizer(language, stemmed=True).tokenize
    wanted = [_ngrams(tokenize(reference), size) for size in (1, 2)]
    offered = [[_ngrams(tokens, size) for size in (1, 2)] for tokens in map(tokenize, sentences)]
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


def choose_sentences(sentences, scores, count, language="en"):
    """The numbers of the `count` sentences with the largest scores, none with a trigram of one chosen before it.

    Trigram blocking: Paulus et al. 2017 (arXiv 1705.04304, section 2.5). Fewer than `count` where the rest is blocked;
    in the order of the document.
    """
    chosen, seen = [], set()
    for index in np.argsort(-np.asarray(scores), kind="stable"):
        trigrams = set(_ngrams(_tokenizer(language, stemmed=False).tokenize(sentences[index]), 3))
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
