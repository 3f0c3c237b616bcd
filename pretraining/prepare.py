"""`bert-pretrain prepare`: text files to a prepared corpus, a directory of shards of token ids with a manifest.

The documents are read in order, exact duplicates are dropped, a share of the documents is held out, and units of about
`shard_megabytes` Mi characters go to the workers; a unit becomes one training shard and one held-out shard. Units are
cut by the input alone and every choice is made by a document's text alone, so the bytes of the shards do not depend on
the number of workers, nor on being interrupted. What the directory holds:

    manifest.json                 written last: settings, input files, counts, shards with their sha256
    tokenizer/                    vocab.txt and tokenizer_config.json, copied
    unigram_counts.npy            int64 [vocab_size]: how often each token occurs in the training shards
    shards/train-00000.bin …      the training documents (format: shards.py)
    shards/held_out-00000.bin …   the documents that training never sees
    unfinished/                   while it is being made: the settings, and what each finished unit holds
"""

import concurrent.futures
import contextlib
import functools
import hashlib
import importlib.metadata
import io
import json
import multiprocessing.connection
import os
import re
import shutil
import sqlite3
import threading
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bert_tf.errors import InputError
from bert_tf.files import whole_file
from pretraining.corpus import document_digest, documents, find_files, in_share, sentences
from pretraining.shards import FORMAT_VERSION, MANIFEST, make_shard, open_shard, read_json, write_shard
from pretraining.tokenizer_directory import CONFIG, VOCABULARY, SentenceEncoder, read_tokenizer_directory

UNFINISHED, SETTINGS = "unfinished", "settings.json"
SPLITS = ("train", "held_out")


def prepare(inputs, tokenizer, output, *, language="en", held_out=0.02, shard_megabytes=16, workers=1):
    """Makes the prepared corpus, or what is missing of it, and returns its manifest.

    Args:
        inputs: paths, folders or patterns of text files (see corpus.py).
        tokenizer: a tokenizer directory.
        output: the directory to make.
        language: sentences are split by the rules of this language (ISO 639 code); None: a line is a sentence.
        held_out: share of the documents that training never sees, chosen by the hash of their text.
        shard_megabytes: Mi characters of text in a shard.
        workers: processes that tokenize (a script that calls this with more than one needs the usual
            `if __name__ == "__main__":`, for they start with `spawn`).

    Raises:
        InputError: see corpus.py and tokenizer_directory.py; no document left; a value out of its range; an output
            directory that holds something else; a disk that takes no more.
    """
    if not 0 <= held_out < 1:
        raise InputError(f"held_out is a share from 0 to below 1, not {held_out}")
    if workers < 1 or not 0 < shard_megabytes <= 1024:
        raise InputError(
            f"workers must be 1 or more and shard_megabytes above 0, to 1024, not {workers} and {shard_megabytes}"
        )
    if language is not None and not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]+)*", language):
        raise InputError(f"language must be an ISO 639 code such as en or de, not {language!r}")
    output = Path(output)
    files, passed_over = find_files(inputs)
    if passed_over:
        print(f"not read, for their names: {len(passed_over)} files, the first is {passed_over[0]}")
    tokenizer = read_tokenizer_directory(tokenizer)
    settings = {
        "format_version": FORMAT_VERSION,
        "inputs": [_describe(file) for file in files],
        "vocabulary_sha256": tokenizer.vocabulary_sha256,
        "tokenizer_settings": tokenizer.settings,
        "special_ids": tokenizer.special_ids.tolist(),
        "language": language,
        "held_out": held_out,
        "shard_megabytes": shard_megabytes,
        "versions": {name: importlib.metadata.version(name) for name in ("tokenizers", "sentencex")},
    }
    finished = _claim(output, settings)
    if finished:
        print(f"{output} is prepared already")
        return finished
    made = len(list((output / UNFINISHED).glob("[0-9]*.json")))
    if made:
        print(f"going on in {output}: {made} shards are there")
    for name in (VOCABULARY, CONFIG):
        with whole_file(output / "tokenizer" / name) as stream:
            stream.write((tokenizer.path / name).read_bytes())

    counts = {"documents_read": 0, "duplicates_dropped": 0}
    units = _units(files, output / UNFINISHED, held_out, int(shard_megabytes * 2**20), counts)
    make = functools.partial(_make_unit, str(output), language)
    with contextlib.closing(units):  # also where a unit fails: the progress bar ends before the sentence about it
        _work_off(make, ((i, unit) for i, unit in enumerate(units) if not _unit_record(output, i).exists()), workers)
    manifest = _summarise(output, settings, tokenizer, counts)
    _write_json(output / MANIFEST, manifest)
    shutil.rmtree(output / UNFINISHED)
    return manifest


# ---------------------------------------------------------------------------------------------------- the documents


def _units(files, scratch, held_out, unit_characters, counts):
    """Yields lists of (document, is held out) of about `unit_characters` characters; fills `counts`."""
    unit, characters = [], 0
    size = sum(file.stat().st_size for file in files)
    bar = tqdm(total=size, unit="B", unit_scale=True, unit_divisor=1024, desc="prepare", mininterval=1.0)
    with bar, _SeenDocuments(scratch) as seen:
        for file in files:
            for document in documents(file, bar.update):
                counts["documents_read"] += 1
                digest = document_digest(document)
                if not seen.add(digest):
                    counts["duplicates_dropped"] += 1
                    continue
                unit.append((document, in_share(digest, held_out)))
                characters += len(document)
                if characters >= unit_characters:
                    yield unit
                    unit, characters = [], 0
        if unit:
            yield unit


class _SeenDocuments:
    """A set of digests on disk, in a scratch SQLite database: memory stays bounded whatever the corpus."""

    def __init__(self, folder):
        self.path = folder / "seen.sqlite"

    def __enter__(self):
        self.path.unlink(missing_ok=True)
        with self._refusals():
            self.connection = sqlite3.connect(self.path, isolation_level=None)
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-65536"):
                self.connection.execute("PRAGMA " + pragma)
            self.connection.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")
            self.connection.execute("BEGIN")
        return self

    def add(self, digest):
        """Adds a digest; False where it was there."""
        with self._refusals():
            return self.connection.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount == 1

    def __exit__(self, *_):
        self.connection.close()
        self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _refusals(self):
        try:
            yield
        except sqlite3.OperationalError as error:
            raise InputError(
                f"cannot write {self.path}: {error}; free space, then run the same command again"
            ) from None


# -------------------------------------------------------------------------------------------------------- the units


def _work_off(make, units, workers):
    """Calls make(index, unit) for every unit, in `workers` processes; at most one unit a worker waits in memory."""
    if workers == 1:
        for index, unit in units:
            make(index, unit)
        return
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context, _end_with_parent) as pool:
        running = set()
        try:
            for index, unit in units:
                running.add(pool.submit(make, index, unit))
                if len(running) > workers:
                    done, running = concurrent.futures.wait(running, return_when="FIRST_COMPLETED")
                    for future in done:
                        future.result()
            for future in running:
                future.result()
        except concurrent.futures.BrokenExecutor:
            raise InputError(
                "a worker process was killed (by hand, or for memory); run the same command again, with fewer workers: "
                "what was finished before is kept"
            ) from None
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _end_with_parent():
    """In a worker: ends it when the parent is killed, else it would wait for work for ever."""
    parent = multiprocessing.parent_process().sentinel

    def watch():
        multiprocessing.connection.wait([parent])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _make_unit(output, language, index, unit):
    """Tokenizes one unit, writes its two shards, then the record that says so."""
    output = Path(output)
    encode = _encoder(str(output / "tokenizer"))
    record = {"documents_without_tokens": 0, "sentences_without_tokens": 0, "lines_kept_whole": 0}
    encoded = {split: [] for split in SPLITS}
    for document, held_out in unit:
        texts, kept_whole = sentences(document, language)
        ids = [encode(text) for text in texts]
        full = [sentence for sentence in ids if sentence]
        record["sentences_without_tokens"] += len(ids) - len(full)
        record["lines_kept_whole"] += kept_whole
        if full:
            encoded["held_out" if held_out else "train"].append(full)
        else:
            record["documents_without_tokens"] += 1
    for split, documents_of_split in encoded.items():
        shard = make_shard(documents_of_split, encode.dtype)
        name = f"shards/{split}-{index:05d}.bin"
        record[split] = {"file": name, **shard.counts(), "sha256": write_shard(output / name, shard)}
    _write_json(_unit_record(output, index), record)


@functools.cache
def _encoder(tokenizer):
    """One encoder, with its cache of words, for all units of a process."""
    return SentenceEncoder(read_tokenizer_directory(tokenizer))


def _unit_record(output, index):
    return output / UNFINISHED / f"{index:05d}.json"


# ------------------------------------------------------------------------------------------------------ the directory


def _claim(output, settings):
    """Makes `output` ours: returns its manifest where it is finished, else None; refuses what belongs to others."""
    for name, finished in ((MANIFEST, True), (f"{UNFINISHED}/{SETTINGS}", False)):
        if not (output / name).is_file():
            continue
        before = read_json(output / name)
        found = before["settings"] if finished else before
        for key, value in settings.items():
            if found.get(key) != value and not (finished and key == "versions"):
                raise InputError(
                    f"{output} was prepared with other input or settings: {key} was {_short(found.get(key))}, now "
                    f"{_short(value)}; choose another output directory or delete this one"
                )
        if finished:
            shutil.rmtree(output / UNFINISHED, ignore_errors=True)  # left where the last run was killed at its end
            return before
        return None
    begun = (output / UNFINISHED, output / UNFINISHED / f"{SETTINGS}.partial")  # by a run killed at its first file
    if output.exists() and (not output.is_dir() or any(entry not in begun for entry in output.rglob("*"))):
        raise InputError(f"{output} exists and is no prepared corpus: choose another output directory")
    _write_json(output / UNFINISHED / SETTINGS, settings)
    return None


def _summarise(output, settings, tokenizer, counts):
    """Writes `unigram_counts.npy` and returns the manifest, from the records of all units."""
    records = []
    while _unit_record(output, len(records)).exists():
        records.append(read_json(_unit_record(output, len(records))))
    if not counts["documents_read"]:
        shutil.rmtree(output)  # it holds nothing, and would be refused for the corrected input
        raise InputError(f"no document in the input: {len(settings['inputs'])} files without any text")
    unigrams = np.zeros(tokenizer.vocab_size, np.int64)
    for record in records:
        unigrams += np.bincount(open_shard(output / record["train"]["file"]).tokens, minlength=len(unigrams))
    if not unigrams.sum():
        shutil.rmtree(output)
        raise InputError("no document is left for training: give more text, or hold out a smaller share")
    buffer = io.BytesIO()
    np.save(buffer, unigrams, allow_pickle=False)
    with whole_file(output / "unigram_counts.npy") as stream:
        stream.write(buffer.getvalue())
    for name in ("documents_without_tokens", "sentences_without_tokens", "lines_kept_whole"):
        counts[name] = sum(record[name] for record in records)
    splits = {}
    for split in SPLITS:
        shards = [record[split] for record in records]
        totals = {name: sum(shard[name] for shard in shards) for name in ("documents", "sentences", "tokens")}
        splits[split] = totals | {"shards": shards}
    return {
        "settings": settings,
        "vocab_size": tokenizer.vocab_size,
        "counts": counts,
        "unknown_share": float(unigrams[tokenizer.unk_id] / unigrams.sum()),
        **splits,
    }


def _describe(file):
    with open(file, "rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"name": file.name, "bytes": file.stat().st_size, "sha256": sha256}


def _write_json(path, content):
    with whole_file(path, "w") as stream:
        json.dump(content, stream, indent=2)
        stream.write("\n")


def _short(value):
    text = json.dumps(value)
    return text if len(text) <= 120 else text[:117] + "…"
