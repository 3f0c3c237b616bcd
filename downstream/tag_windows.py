"""Sentences of words as rows of a BERT, [CLS] pieces [SEP], with the tag of each word at its first piece.

As Devlin et al. 2018, section 5.3: the first piece of a word stands for it, the others have no label. A sentence that
is too long becomes several windows; each word is learnt and read in the window where it has most context, so that each
has a tag.
"""

import dataclasses

import numpy as np

from downstream.features import Features
from downstream.pieces import split_into_pieces
from downstream.token_objectives import IGNORED
from downstream.windows import best_windows, cut


@dataclasses.dataclass(frozen=True)
class TagWindows:
    """The W windows of N sentences with K words and T tokens in all.

    Attributes:
        features: their `Features`, with `labels` (T,) int32 per token where there are tags.
        places: (K,) int64, of each word the token that stands for it.
        long_sentences: how many sentences were cut into several windows.
        unknown_words: how many words the tokenizer leaves nothing of; they are read as [UNK].
    """

    features: Features
    places: np.ndarray
    long_sentences: int
    unknown_words: int


def make_tag_windows(sentences, tokenizer, max_seq_length, pad_token_id, labels=None):
    """The `TagWindows` of `Sentences`.

    Args:
        max_seq_length: tokens of a window at most, [CLS] and [SEP] included.
        labels: (K,) int32, the label of each word; None where there are no tags.
    """
    different = {}  # the number of each different word
    numbers = np.array([different.setdefault(word, len(different)) for words in sentences.words for word in words])
    pieces = split_into_pieces(list(different), tokenizer)
    ids_of = [pieces.of(number)[0] for number in range(len(different))]
    nothing = np.array([not len(ids) for ids in ids_of])
    for number in np.flatnonzero(nothing):
        ids_of[number] = np.array([tokenizer.unk_token_id], np.int32)
    ids, token_labels, lengths, places = [], [], [], np.empty(len(numbers), np.int64)
    room, word, token, long_sentences = max_seq_length - 2, 0, 0, 0
    for words in sentences.words:
        of_words = [ids_of[number] for number in numbers[word : word + len(words)]]
        sentence_ids = np.concatenate(of_words)
        firsts = np.cumsum([0, *map(len, of_words)])[:-1]  # of each word its first piece
        starts, counts = cut(len(sentence_ids), room, (room + 1) // 2)
        long_sentences += len(starts) > 1
        best = best_windows(starts, counts)[firsts]  # of each word its window
        for window, (start, count) in enumerate(zip(starts, counts, strict=True)):
            here = np.flatnonzero(best == window)
            inside = 1 + firsts[here] - start  # behind [CLS]
            places[word + here] = token + inside
            row_labels = np.full(count + 2, IGNORED, np.int32)
            if labels is not None:
                row_labels[inside] = labels[word + here]
            ids += [[tokenizer.cls_token_id], sentence_ids[start : start + count], [tokenizer.sep_token_id]]
            token_labels.append(row_labels)
            lengths.append(count + 2)
            token += count + 2
        word += len(words)
    ids = np.concatenate(ids).astype(np.int32)
    features = Features(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        per_token={"input_ids": ids, "token_type_ids": np.zeros_like(ids), "labels": np.concatenate(token_labels)},
        per_example={},
        padding={"input_ids": pad_token_id, "labels": IGNORED},
    )
    return TagWindows(features, places, long_sentences, int(nothing[numbers].sum()))
