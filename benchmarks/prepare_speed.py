"""Documents a second of `bert-pretrain prepare` with one worker, and of the slow way (benchmarks.slow_prepare).

    python -m benchmarks.prepare_speed TEXT… --tokenizer DIR --slow-python PYTHON [--megabytes 20] [--rounds 3]

TEXT are files that `prepare` reads, of which the first documents of about so many megabytes are taken; PYTHON is the
interpreter of an environment with transformers 4.57. In turns: the whole command `prepare`, from its start to its end,
sentence splitting, reading and writing included, by the clock; and the slow way on every n-th of the same documents,
its loading left out. Prints documents and megabytes a second of each round, and the ratios of the medians.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

from benchmarks.prepare_command import run
from pretraining.corpus import sentences
from pretraining.inputs import find_inputs


def first_documents(names, megabytes):
    found, characters = [], 0
    for one in find_inputs(names)[0]:
        for document in one.documents():
            if characters >= megabytes * 1e6:
                return found
            found.append(document)
            characters += len(document.encode())
    return found


def slow_seconds(python, sentences_file, tokenizer):
    command = [
        python,
        "-m",
        "benchmarks.slow_prepare",
        "--sentences",
        sentences_file,
        "--vocab",
        tokenizer / "vocab.txt",
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="+")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--slow-python", required=True)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--every", type=int, default=1)
    arguments = parser.parse_args()
    documents = first_documents(arguments.text, arguments.megabytes)
    slow_documents = documents[:: arguments.every]
    rates = {"prepare": [], "slow way": []}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "text.txt").write_text("\n\n".join(documents), encoding="utf-8")
        lines = [json.dumps(sentences(document, "en")[0]) + "\n" for document in slow_documents]
        (folder / "sentences.jsonl").write_text("".join(lines), encoding="utf-8")
        size = (folder / "text.txt").stat().st_size / 1e6
        slow_size = sum(len(document.encode()) for document in slow_documents) / 1e6
        print(f"{len(documents):,} documents of {size:.1f} MB; the slow way on {len(slow_documents):,} of them")
        for _ in range(arguments.rounds):
            seconds, _ = run([folder / "text.txt"], arguments.tokenizer, folder / "out")
            rates["prepare"].append((len(documents) / seconds, size / seconds))
            seconds = slow_seconds(arguments.slow_python, folder / "sentences.jsonl", arguments.tokenizer)
            rates["slow way"].append((len(slow_documents) / seconds, slow_size / seconds))
            for name, each in rates.items():
                print(f"{name:10} {each[-1][0]:9.1f} documents/s {each[-1][1]:8.3f} MB/s", flush=True)
    ours, slow = ([statistics.median(column) for column in zip(*each, strict=True)] for each in rates.values())
    print(f"ratio of the medians: {ours[0] / slow[0]:.1f} by documents, {ours[1] / slow[1]:.1f} by megabytes")


if __name__ == "__main__":
    main()
