"""`bert-pretrain prepare`: text to a prepared corpus, a directory of shards of token ids with a manifest.

A document goes to the shard, and to the training or the held-out split, that the hash of its text says; the documents
of a shard are in the order of their hashes. So the bytes of the corpus follow from the set of documents alone: not from
the number of workers, the order of the inputs, nor from being interrupted. What the directory holds:

    manifest.json                 written last: settings, inputs, counts, shards with their sha256
    tokenizer/                    vocab.txt and tokenizer_config.json, copied
    unigram_counts.npy            int64 [vocab_size]: how often each token occurs in the training shards
    shards/train-00000.bin …      the training documents (format: shards.py)
    shards/held_out-00000.bin …   the documents that training never sees
    unfinished/                   while it is being made: the settings, the texts read so far as token ids
                                  (local_runner.py), and what each finished shard holds
"""

import importlib.metadata
import json
import re

import numpy as np

from bert_tf.errors import InputError
from pretraining.inputs import find_inputs
from pretraining.local_runner import run_locally
from pretraining.places import place, remove_tree, write_whole
from pretraining.shard_maker import DROPPED, UNFINISHED, ShardMaker
from pretraining.shards import (
    FORMAT_VERSION,
    MANIFEST,
    SPLITS,
    TOKENIZER,
    UNIGRAM_COUNTS,
    read_array,
    read_json,
    read_manifest,
    write_array,
    write_json,
)
from pretraining.tokenizer_directory import CONFIG, VOCABULARY, read_tokenizer_directory
from pretraining.workers import Workers

SETTINGS = "settings.json"


def prepare(
    inputs,
    tokenizer,
    output,
    *,
    field="text",
    language="en",
    held_out=0.02,
    keep_duplicates=False,
    shard_megabytes=16,
    workers=1,
    runner="local",
    beam_options=(),
):
    """Makes the prepared corpus, or what is missing of it, and returns its manifest.

    Args:
        inputs: files, folders, patterns and data sets (see inputs.py).
        tokenizer: a tokenizer directory, a path or URL.
        output: the directory to make, a path or URL.
        field: the field of JSON objects, Parquet rows and data sets that holds the text.
        language: sentences are split by the rules of this language (ISO 639 code); None: a line is a sentence.
        held_out: share of the documents that training never sees, chosen by the hash of their text.
        keep_duplicates: keep documents that are equal up to white space; else one of them is kept.
        shard_megabytes: Mi characters of text in a shard, about.
        workers: processes that encode, with the local runner (a script that calls this with more than one needs the
            usual `if __name__ == "__main__":`).
        runner: "local", or a runner of Apache Beam (see beam_runner.py), with `beam_options`.

    Raises:
        InputError: see inputs.py and tokenizer_directory.py; no document left; a value out of its range; an output
            directory that holds something else; a disk that takes no more.
    """
    output = place(output)
    if not 0 <= held_out < 1:
        raise InputError(f"held_out is a share from 0 to below 1, not {held_out}")
    if workers < 1 or not 0 < shard_megabytes <= 128:
        raise InputError(
            f"workers must be 1 or more and shard_megabytes above 0, to 128, not {workers} and {shard_megabytes}"
        )
    if workers > 1 and str(output).startswith("memory://"):
        raise InputError(f"{output} is in the memory of one process: use one worker, or another place")
    if language is not None and not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]+)*", language):
        raise InputError(f"language must be an ISO 639 code such as en or de, not {language!r}")
    inputs, passed_over = find_inputs(inputs, field)
    if passed_over:
        print(f"not read, for their names or as broken links: {len(passed_over)} files, the first is {passed_over[0]}")
    tokenizer = read_tokenizer_directory(tokenizer)
    with Workers(workers, ["pretraining.local_runner"]) as pool:  # they start now, while the inputs are hashed
        characters = sum(one.characters for one in inputs)
        settings = {
            "format_version": FORMAT_VERSION,
            "inputs": [one.identity() for one in inputs],
            "field": field,
            "vocabulary_sha256": tokenizer.vocabulary_sha256,
            "tokenizer_settings": tokenizer.settings,
            "special_ids": tokenizer.special_ids.tolist(),
            "language": language,
            "held_out": held_out,
            "keep_duplicates": keep_duplicates,
            "shards": max(1, round(characters / (shard_megabytes * 2**20))),
            "versions": {name: importlib.metadata.version(name) for name in ("tokenizers", "sentencex")},
        }
        finished = _claim(output, settings)
        if finished:
            print(f"{output} is prepared already")
            return finished
        for name in (VOCABULARY, CONFIG):
            write_whole(output / TOKENIZER / name, (tokenizer.path / name).read_bytes())
        maker = ShardMaker(
            output,
            settings["shards"],
            language,
            held_out,
            keep_duplicates,
            tokenizer.vocab_size,
            tokenizer.token_dtype.str,
        )
        if runner == "local":
            run_locally(maker, inputs, pool)
        else:
            from pretraining.beam_runner import run_on_beam

            run_on_beam(maker, inputs, runner, beam_options)
    manifest = _summarise(maker, settings, tokenizer)
    write_json(output / MANIFEST, manifest)
    remove_tree(output / UNFINISHED)
    return manifest


def _claim(output, settings):
    """Makes `output` ours: returns its manifest where it is finished, else None; refuses what belongs to others."""
    for name, finished in ((MANIFEST, True), (f"{UNFINISHED}/{SETTINGS}", False)):
        if not (output / name).is_file():
            continue
        before = read_manifest(output) if finished else read_json(output / name)
        found = before["settings"] if finished else before
        for key, value in settings.items():
            if found.get(key) != value and not (finished and key == "versions"):
                raise InputError(
                    f"{output} was prepared with other input or settings: {key} was {_short(found.get(key))}, now "
                    f"{_short(value)}; choose another output directory or delete this one"
                )
        if finished:
            remove_tree(output / UNFINISHED)  # left where the last run was killed at its end
            return before
        return None
    begun = (output / UNFINISHED, output / UNFINISHED / f"{SETTINGS}.partial")  # by a run killed at its first file
    if output.exists() and (not output.is_dir() or any(entry not in begun for entry in output.rglob("*"))):
        raise InputError(f"{output} exists and is no prepared corpus: choose another output directory")
    write_json(output / UNFINISHED / SETTINGS, settings)
    return None


def _summarise(maker, settings, tokenizer):
    """Writes `unigram_counts.npy` and returns the manifest, from the records of all shards."""
    unigrams = np.zeros(tokenizer.vocab_size, np.int64)
    counts, splits = dict.fromkeys(DROPPED, 0), {split: [] for split in SPLITS}
    for shard in range(maker.shards):
        record = read_json(maker.record_path(shard))
        for name in DROPPED:
            counts[name] += record[name]
        for split in SPLITS:
            splits[split].append(record[split])
        unigrams += read_array(maker.counts_path(shard))
    if not unigrams.sum():
        remove_tree(maker.output)  # it holds nothing, and would be refused for the corrected input
        if not counts["documents_read"]:
            raise InputError(f"no document in the input: {len(settings['inputs'])} files without any text")
        raise InputError("no document is left for training: give more text, or hold out a smaller share")
    write_array(maker.output / UNIGRAM_COUNTS, unigrams)
    return {
        "settings": settings,
        "vocab_size": tokenizer.vocab_size,
        "counts": counts,
        "unknown_share": float(unigrams[tokenizer.unk_id] / unigrams.sum()),
        **{
            split: {name: sum(shard[name] for shard in shards) for name in ("documents", "sentences", "tokens")}
            | {"shards": shards}
            for split, shards in splits.items()
        },
    }


def _short(value):
    text = json.dumps(value)
    return text if len(text) <= 120 else text[:117] + "…"
