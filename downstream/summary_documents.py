"""Documents with their summaries as rows for BERTSUM: [CLS] sentence [SEP] [CLS] sentence [SEP] …

Segments alternate: 0 for the first sentence, 1 for the second, 0 for the third.
"""

import dataclasses

import numpy as np
import sentencex

from bert_tf.errors import InputError
from downstream.examples import read_columns, refuse_surrogates
from downstream.features import Features
from downstream.token_objectives import IGNORED


@dataclasses.dataclass(frozen=True)
class Documents:
    """N documents: their sentences and, as one string each, their summaries; None where they were not asked for."""

    sentences: list
    summaries: list | None

    def __len__(self):
        return len(self.sentences)


def read_documents(path, document, summary, language):
    """The `Documents` of a .jsonl (or .csv, .tsv) file with columns of texts.

    Args:
        document, summary: names of columns; no summary: None.
        language: an ISO 639 code for the rules of `sentencex`. A sentence never crosses a line.

    Raises:
        InputError: see `downstream.examples.read_columns`; a text that is empty or no string.
    """
    lines, columns = read_columns(path, [document] if summary is None else [document, summary])
    for name, texts in columns.items():
        for line, text in zip(lines, texts, strict=True):
            if not isinstance(text, str) or not text.strip():
                raise InputError(f"{path}, line {line}: {name!r} must be a text, got {text!r}; correct the row")
            refuse_surrogates(text, f"{path}, line {line}: {name!r}")
    sentences = [split_sentences(text, language) for text in columns[document]]
    return Documents(sentences, None if summary is None else columns[summary])


def split_sentences(text, language):
    r"""The sentences of a text without the space around them.

    >>> split_sentences("He came. She left.\n\nThe end.", "en")
    ['He came.', 'She left.', 'The end.']
    """
    found = [part.strip() for line in text.split("\n") for part in sentencex.segment(language, line)]
    return [sentence for sentence in found if sentence]


@dataclasses.dataclass(frozen=True)
class SummaryRows:
    """The rows of N documents, T tokens in all.

    Attributes:
        features: `Features`, with `labels` (T,) int32 where there are oracles: 1 or 0 at the [CLS] of a sentence that
            is or is not in the oracle, `IGNORED` elsewhere.
        starts: for each document, the numbers among the T tokens of the [CLS] of its sentences.
        cut_documents, unseen_sentences: documents that did not fit, and those of their sentences that are not in rows.
        shortened: sentences that fill a row alone and lost tokens.
    """

    features: Features
    starts: list
    cut_documents: int
    unseen_sentences: int
    shortened: int


def make_summary_rows(documents, tokenizer, max_seq_length, pad_token_id, oracles=None):
    """The `SummaryRows` of `Documents`: of each the sentences from the first on that fit whole (the first always).

    Args:
        max_seq_length: tokens of a row at most.
        oracles: for each document the numbers of the sentences in its oracle; None: rows without labels.
    """
    lengths, ids, types, labels, starts = [], [], [], [], []
    cut = unseen = shortened = total = 0
    for sentences, oracle in zip(documents.sentences, oracles or [()] * len(documents), strict=True):
        batch = tokenizer(sentences, max_length=max_seq_length + 1, padding="longest")
        rows, real = (np.asarray(batch[name]) for name in ("input_ids", "attention_mask"))
        length, places = 0, []
        for number, (row, mask) in enumerate(zip(rows, real, strict=True)):
            tokens = row[mask == 1].astype(np.int32)
            if length + len(tokens) > max_seq_length:
                if number:
                    break
                tokens = np.append(tokens[: max_seq_length - 1], tokens[-1])  # the first sentence, with its [SEP]
                shortened += 1
            # A [CLS] that stands in the text is no start of a sentence.
            tokens[1:][tokens[1:] == tokens[0]] = tokens[-1]
            places.append(total + length)
            ids.append(tokens)
            types.append(np.full(len(tokens), number % 2, np.int32))
            marks = np.full(len(tokens), IGNORED, np.int32)
            marks[0] = number in oracle
            labels.append(marks)
            length += len(tokens)
        cut += len(places) < len(sentences)
        unseen += len(sentences) - len(places)
        lengths.append(length)
        starts.append(np.array(places))
        total += length
    per_token = {"input_ids": np.concatenate(ids), "token_type_ids": np.concatenate(types)}
    features = Features(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        per_token=per_token | ({"labels": np.concatenate(labels)} if oracles else {}),
        per_example={},
        padding={"input_ids": pad_token_id, "labels": IGNORED},
    )
    return SummaryRows(features, starts, cut, unseen, shortened)
