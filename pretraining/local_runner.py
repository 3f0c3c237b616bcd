"""`prepare` on one machine: some processes, and memory that does not grow with the corpus.

First the texts are read, by this process, in units; a worker encodes a unit and writes a run, a file in `unfinished/`
with the documents of the unit by the shards that they belong to:

    int64 [shards + 1]    where the documents of each shard begin in this file, and the end
    bytes                 `EncodedDocuments` of each shard that has a document in the unit, ascending

Then each shard is made of its pieces of all runs. A run or a shard that is there is not made again.
"""

import numpy as np
from tqdm import tqdm

from pretraining.places import read_ranges, write_whole
from pretraining.shard_maker import UNFINISHED
from pretraining.shards import read_json, write_json

UNITS, UNITS_OF_A_SHARD, UNIT_CHARACTERS = 256, 8, 16 * 2**20


def run_locally(maker, inputs, workers):
    """Makes the shards that are missing.

    Args:
        maker: `ShardMaker`.
        inputs: see inputs.py.
        workers: `Workers`.
    """
    all_read = maker.output / UNFINISHED / "all_read.json"
    if not all_read.exists():
        made = {path.name for path in (maker.output / UNFINISHED).glob("run-*.bin")}
        if made:
            print(f"going on in {maker.output}: {len(made)} runs are there")
        runs = 0
        for run, unit in enumerate(_units(inputs, maker.shards)):
            if _run_path(maker, run).name not in made:
                workers.submit(_write_run, maker, run, unit)
            runs += 1
        workers.finish()
        write_json(all_read, {"runs": runs})
    runs = read_json(all_read)["runs"]
    missing = maker.missing()
    if len(missing) < maker.shards:
        print(f"going on in {maker.output}: {maker.shards - len(missing)} shards are there")
    for shard in tqdm(missing, desc="shards", mininterval=1.0):
        workers.submit(_make_shard, maker, shard, runs)
    workers.finish()


def _units(inputs, shards):
    """Yields lists of documents: 256, or fewer of an eighth of a shard, or more of 16 Mi characters."""
    unit, characters = [], 0
    total = sum(one.characters for one in inputs)
    unit_characters = min(total / min(UNITS, UNITS_OF_A_SHARD * shards), UNIT_CHARACTERS)
    with tqdm(total=total, unit="B", unit_scale=True, desc="read", mininterval=1.0) as bar:
        for one in inputs:
            left = one.characters  # a guess for compressed files
            for document in one.documents():
                unit.append(document)
                characters += len(document)
                if characters >= unit_characters:
                    yield unit
                    bar.update(min(characters, left))
                    left -= min(characters, left)
                    unit, characters = [], 0
            bar.update(left)
        if unit:
            yield unit


def _run_path(maker, run):
    return maker.output / UNFINISHED / f"run-{run:05d}.bin"


def _write_run(maker, run, texts):
    pieces = dict(maker.encode(texts))
    sizes = [len(pieces.get(shard, b"")) for shard in range(maker.shards)]
    begins = np.cumsum([8 * (maker.shards + 1), *sizes], dtype="<i8")
    write_whole(_run_path(maker, run), begins.tobytes() + b"".join(pieces.values()))


def _make_shard(maker, shard, runs):
    paths = [_run_path(maker, run) for run in range(runs)]
    bounds = read_ranges(paths, [8 * shard] * runs, [8 * shard + 16] * runs)
    begins, ends = np.frombuffer(b"".join(bounds), "<i8").reshape(-1, 2).T.tolist()
    pieces = [piece for piece in zip(paths, begins, ends, strict=True) if piece[1] < piece[2]]
    maker.make(shard, read_ranges(*map(list, zip(*pieces, strict=True))) if pieces else [])
