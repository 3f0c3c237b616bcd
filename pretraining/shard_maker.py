"""From texts to the shards of a prepared corpus: what one machine and Apache Beam do alike.

Every document belongs to a shard by the hash of its text. So texts are encoded wherever they are read, in any grouping
and order; what belongs to a shard comes together, in any order; and `make` turns it into the two files of the shard,
whose bytes follow from the documents alone. Equal documents meet in their shard, where all but one are dropped.
"""

import dataclasses
import functools
import math
from typing import Any

import numpy as np

from pretraining.encoded_documents import encode_documents, from_bytes, joined
from pretraining.shards import SPLITS, TOKENIZER, make_shard, write_array, write_json, write_shard
from pretraining.text_encoder import TextEncoder
from pretraining.tokenizer_directory import read_tokenizer_directory

UNFINISHED = "unfinished"
DROPPED = (  # counts of a record, and summed up of the manifest
    "documents_read",
    "duplicates_dropped",
    "documents_without_tokens",
    "sentences_without_tokens",
    "lines_kept_whole",
)


@dataclasses.dataclass(frozen=True)
class ShardMaker:
    """Picklable: it goes to other processes and machines, which read the tokenizer in `output`.

    Attributes:
        output: the place (places.py) of the corpus.
        shards: how many there are of each split.
        language, held_out, keep_duplicates: see prepare.py.
        vocab_size, token_dtype: of the tokenizer.
    """

    output: Any
    shards: int
    language: str | None
    held_out: float
    keep_duplicates: bool
    vocab_size: int
    token_dtype: str

    def encode(self, texts):
        """[(shard, bytes)]: the documents of `texts` as token ids, by the shards that they belong to, ascending."""
        documents = encode_documents(texts, _encoder(str(self.output / TOKENIZER)), self.language)
        shard = ((documents.digests[:, 1] >> np.uint64(32)) * np.uint64(self.shards) >> np.uint64(32)).astype(np.int64)
        order = np.argsort(shard, kind="stable")
        numbers, firsts = np.unique(shard[order], return_index=True)
        groups = np.split(order, firsts[1:])
        return [(int(number), documents.take(group).to_bytes()) for number, group in zip(numbers, groups, strict=True)]

    def make(self, shard, contents):
        """Writes the two files of a shard, how often its training tokens occur, and last its record.

        Args:
            shard: its number.
            contents: what `encode` gave for it, in any order; none for an empty shard.
        """
        batches = [from_bytes(content, self.token_dtype) for content in contents]
        documents = joined([from_bytes(bytes(24), self.token_dtype), *batches])
        read, order = len(documents.sentences), _in_order(documents)
        if not self.keep_duplicates:
            is_new = np.ones(read, bool)
            is_new[1:] = (documents.digests[order[1:]] != documents.digests[order[:-1]]).any(axis=1)
            order = order[is_new]
        is_empty = documents.sentences[order] == 0
        record = {
            "documents_read": read,
            "duplicates_dropped": read - len(order),
            "documents_without_tokens": int(is_empty.sum()),
            "sentences_without_tokens": int(documents.left_out[order].sum()),
            "lines_kept_whole": int(documents.kept_whole[order].sum()),
        }
        held_out = documents.digests[order, 0] < np.uint64(math.ceil(self.held_out * 2**64))  # as `in_share`
        for split, chosen in zip(SPLITS, (~held_out, held_out), strict=True):
            of_split = documents.take(order[chosen & ~is_empty])
            made = make_shard(of_split.sentences, of_split.lengths, of_split.tokens)
            name = f"shards/{split}-{shard:05d}.bin"
            record[split] = {"file": name, **made.counts(), "sha256": write_shard(self.output / name, made)}
            if split == "train":
                write_array(self.counts_path(shard), np.bincount(made.tokens, minlength=self.vocab_size))
        write_json(self.record_path(shard), record)

    def record_path(self, shard):
        return self.output / UNFINISHED / f"{shard:05d}.json"

    def counts_path(self, shard):
        return self.output / UNFINISHED / f"{shard:05d}.npy"

    def missing(self):
        """The numbers of the shards that have no record yet."""
        made = {path.name for path in (self.output / UNFINISHED).glob("[0-9]*.json")}
        return [shard for shard in range(self.shards) if self.record_path(shard).name not in made]


@functools.cache
def _encoder(tokenizer):
    """One encoder, with its table of words, for everything that a process encodes."""
    return TextEncoder(read_tokenizer_directory(tokenizer))


def _in_order(documents):
    """The documents by their digest, equal ones by their content."""
    digests = documents.digests
    order = np.lexsort((digests[:, 1], digests[:, 0]))
    equal = (digests[order[1:]] == digests[order[:-1]]).all(axis=1)
    tied = np.flatnonzero(np.append(equal, False) | np.insert(equal, 0, False))  # places in the order
    if not len(tied):
        return order
    group = documents.take(order[tied])
    lengths = np.split(group.lengths, np.cumsum(group.sentences)[:-1])
    tokens = np.split(group.tokens, np.cumsum(group.document_tokens())[:-1])
    keys = [(d, a.tobytes(), b.tobytes()) for d, a, b in zip(group.digests.tolist(), lengths, tokens, strict=True)]
    order[tied] = order[tied[sorted(range(len(tied)), key=keys.__getitem__)]]
    return order
