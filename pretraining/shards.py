"""The files of a prepared corpus: shards of documents as sentences of token ids, and their memory-mapped reading.

A shard is one file, little-endian, readable by `np.memmap` alone:

    bytes 0 to 63     header: 8 bytes b"BERTSHRD", then seven int64: format version, bytes a token (2 or 4),
                      documents D, sentences S, tokens T, 0, 0
    uint64  [D]       fingerprint of each document: two documents with the same tokens have the same one
    int32   [D + 1]   sentences before each document, and at the end S
    int32   [S + 1]   tokens before each sentence, and at the end T
    uint16 or uint32 [T]   token ids
"""

import hashlib
import io
import itertools
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bert_tf.errors import InputError
from pretraining.corpus_cache import copied
from pretraining.places import place, write_whole
from pretraining.tokenizer_directory import CONFIG, VOCABULARY, read_tokenizer_directory

MAGIC = b"BERTSHRD"
FORMAT_VERSION = 1
MANIFEST, UNIGRAM_COUNTS, TOKENIZER = "manifest.json", "unigram_counts.npy", "tokenizer"
SPLITS = ("train", "held_out")
ENTRY = ("file", "documents", "sentences", "tokens", "sha256")  # what the manifest says of a shard
HEADER_BYTES = 64
MAX_TOKENS = 2**31 - 1  # of a shard: offsets are int32


class Shard(NamedTuple):
    """The arrays of one shard (see the head of this file), memory-mapped or not."""

    fingerprints: np.ndarray  # uint64 [documents]
    document_offsets: np.ndarray  # int32 [documents + 1], in sentences
    sentence_offsets: np.ndarray  # int32 [sentences + 1], in tokens
    tokens: np.ndarray  # uint16 or uint32 [tokens]

    def counts(self):
        """{"documents": D, "sentences": S, "tokens": T}."""
        return {
            "documents": len(self.document_offsets) - 1,
            "sentences": len(self.sentence_offsets) - 1,
            "tokens": len(self.tokens),
        }


def make_shard(sentences, lengths, tokens):
    r"""The shard of documents given by their numbers of sentences, those by their numbers of tokens, and the tokens.

    make_shard([2, 1], [2, 1, 1], [7, 5, 3, 6]) holds the documents [[7, 5], [3]] and [[6]].

    Args:
        sentences: int [documents].
        lengths: int [sentences].
        tokens: uint16 or uint32 [tokens].
    """
    if len(tokens) > MAX_TOKENS:
        raise InputError(f"a shard of {len(tokens):,} tokens is too large: make shards of fewer megabytes")
    document_offsets = np.cumsum([0, *sentences], dtype="<i4")
    sentence_offsets = np.cumsum([0, *lengths], dtype="<i4")
    bounds = sentence_offsets[document_offsets].tolist()
    fingerprints = [
        hashlib.blake2b(tokens[first:last].tobytes(), digest_size=8).digest()
        for first, last in itertools.pairwise(bounds)
    ]
    return Shard(np.frombuffer(b"".join(fingerprints), "<u8"), document_offsets, sentence_offsets, tokens)


def write_shard(path, shard):
    """Writes the file at a place (places.py) whole or not at all; returns its sha256 (hexadecimal)."""
    counts = shard.counts()
    header = MAGIC + np.array([FORMAT_VERSION, shard.tokens.itemsize, *counts.values(), 0, 0], "<i8").tobytes()
    content = b"".join((header, *(array.tobytes() for array in shard)))
    write_whole(path, content)
    return hashlib.sha256(content).hexdigest()


def open_shard(path):
    """Maps a shard into memory, read-only; nothing but the header is read.

    Raises:
        InputError: the file is missing, no shard of this format, or not as long as its header says.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with open(path, "rb") as stream:
            header = stream.read(HEADER_BYTES)
    except OSError as error:
        raise InputError(f"cannot read the shard {path}: {error.strerror}; prepare the corpus again") from None
    if len(header) < HEADER_BYTES or header[:8] != MAGIC:
        raise InputError(f"{path} is not a shard of a prepared corpus; prepare the corpus again")
    version, token_bytes, documents, sentences, tokens = map(int, np.frombuffer(header, "<i8", 5, 8))
    if version != FORMAT_VERSION:
        raise InputError(f"{path} has shard format {version}, and this program reads {FORMAT_VERSION}: prepare again")
    parts = [
        ("<u8", documents),
        ("<i4", documents + 1),
        ("<i4", sentences + 1),
        (f"<u{token_bytes}", tokens),
    ]
    expected = HEADER_BYTES + sum(np.dtype(dtype).itemsize * length for dtype, length in parts)
    if size != expected:
        raise InputError(f"the shard {path} has {size} bytes instead of {expected}: prepare the corpus again")
    mapped = np.memmap(path, np.uint8, "r")
    arrays, start = [], HEADER_BYTES
    for dtype, length in parts:
        end = start + np.dtype(dtype).itemsize * length
        arrays.append(mapped[start:end].view(dtype))
        start = end
    return Shard(*arrays)


def write_json(path, content):
    write_whole(path, (json.dumps(content, indent=2) + "\n").encode())


def write_array(path, array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_whole(path, buffer.getvalue())


def read_array(path):
    return np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)


def _open_counts(path, vocab_size):
    """int64 [vocab_size], memory-mapped."""
    try:
        counts = np.lib.format.open_memmap(path, "r")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the counts of words {path} ({error}): prepare the corpus again") from None
    if counts.shape != (vocab_size,) or counts.dtype != np.int64:
        raise InputError(
            f"{path} holds {counts.dtype} {list(counts.shape)}, expected int64 [{vocab_size}], a count for every "
            "token: prepare the corpus again"
        )
    return counts


def read_json(path):
    """What a JSON file of a prepared corpus holds."""
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): delete its directory and prepare the corpus again") from None


def read_manifest(path):
    """The manifest of a prepared corpus.

    Raises:
        InputError: the file is damaged, or the manifest of something else.
    """
    manifest = read_json(path / MANIFEST)
    try:
        _ = [manifest["settings"][name] for name in ("format_version", "vocabulary_sha256")]
        _ = [entry[name] for split in SPLITS for entry in manifest[split]["shards"] for name in ENTRY]
    except (KeyError, TypeError):
        raise InputError(
            f"{path / MANIFEST} is not the manifest of a prepared corpus: choose a directory that bert-pretrain "
            "prepare made"
        ) from None
    return manifest


class PreparedCorpus:
    """A directory made by `bert-pretrain prepare`.

    Attributes:
        manifest: what `manifest.json` says.
        tokenizer_dir: its tokenizer directory.
        tokenizer: that directory, read (`TokenizerDirectory`).
        vocab_size: number of tokens in the vocabulary.
        unigram_counts: int64 [vocab_size], how often each token occurs in the training shards, memory-mapped.

    Args:
        path: the directory, or its URL: then it is copied to this machine first (corpus_cache.py).
        check_sha256: whether to read every shard and compare its hash with the manifest's.

    Raises:
        InputError: no such directory, a corpus not finished, or a file that is not what the manifest says.
    """

    def __init__(self, path, check_sha256=False):
        self.path = place(path)
        if not (self.path / MANIFEST).is_file():
            raise InputError(f"{path} is not a prepared corpus: it has no {MANIFEST} (bert-pretrain prepare makes it)")
        self.manifest = read_manifest(self.path)
        if not isinstance(self.path, Path):
            self.path = self._copy()
        version = self.manifest["settings"]["format_version"]
        if version != FORMAT_VERSION:
            raise InputError(f"{path} has format {version}, and this program reads {FORMAT_VERSION}: prepare it again")
        self.tokenizer_dir = self.path / TOKENIZER
        self.tokenizer = read_tokenizer_directory(self.tokenizer_dir)
        if self.tokenizer.vocabulary_sha256 != self.manifest["settings"]["vocabulary_sha256"]:
            raise InputError(
                f"{self.tokenizer_dir} is not the tokenizer that {path} was prepared with: prepare it again"
            )
        self.vocab_size = self.tokenizer.vocab_size
        self.unigram_counts = _open_counts(self.path / UNIGRAM_COUNTS, self.vocab_size)
        for entry in self.shards("train") + self.shards("held_out"):
            file = self.path / entry["file"]
            counts = open_shard(file).counts()
            if any(entry[name] != count for name, count in counts.items()):
                raise InputError(f"{file} does not hold what the manifest says ({counts}): prepare the corpus again")
            if check_sha256 and hashlib.sha256(file.read_bytes()).hexdigest() != entry["sha256"]:
                raise InputError(f"{file} has changed since it was prepared (another sha256): prepare the corpus again")

    def _copy(self):
        names = (MANIFEST, UNIGRAM_COUNTS, f"{TOKENIZER}/{VOCABULARY}", f"{TOKENIZER}/{CONFIG}")
        shards = {entry["file"]: entry["sha256"] for entry in self.shards("train") + self.shards("held_out")}
        return copied(self.path, dict.fromkeys(names) | shards, (self.path / MANIFEST).read_bytes())

    def shards(self, split):
        """The manifest's entries of a split's shards that hold a document: file, documents, sentences, tokens, sha256.

        Args:
            split: "train" or "held_out".
        """
        return [entry for entry in self.manifest[split]["shards"] if entry["documents"]]

    def open(self, entry):
        """The `Shard` of one of those entries, memory-mapped, every id in it below `vocab_size`."""
        file = self.path / entry["file"]
        shard = open_shard(file)
        largest = shard.tokens.max(initial=0)
        if largest >= self.vocab_size:
            raise InputError(
                f"{file} holds the id {largest}, expected ids from 0 to {self.vocab_size - 1}, those of its "
                "vocabulary: prepare the corpus again"
            )
        return shard
