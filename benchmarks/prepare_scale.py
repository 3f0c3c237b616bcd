"""How `bert-pretrain prepare` grows: memory with the text, speed with the workers; the bytes with neither.

    python -m benchmarks.prepare_scale TEXT… --tokenizer DIR [--megabytes 20] [--workers 1,2,3] [--rounds 2]

Memory: one worker on the first documents of about so many megabytes, and on all of TEXT. Speed: all of TEXT with each
number of workers, in turns. Prints seconds by the clock, megabytes a second, the most memory of all processes together,
and a hash of the names and bytes of all files made.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.prepare_command import digest, run
from benchmarks.prepare_speed import first_documents


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="+")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--workers", default="1,2,3")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder, seconds = Path(folder), {}
        small, whole = folder / "small.txt", folder / "whole.txt"
        for file, size in ((small, arguments.megabytes), (whole, float("inf"))):
            file.write_text("\n\n".join(first_documents(arguments.text, size)), encoding="utf-8")

        def measure(text, workers):
            took, memory = run([text], arguments.tokenizer, folder / "out", "--workers", str(workers))
            size = text.stat().st_size / 1e6
            print(
                f"{size:6.1f} MB  {workers} workers  {took:6.2f} s  {size / took:5.1f} MB/s  {memory:5.0f} MiB  "
                f"{digest(folder / 'out')[:16]}",
                flush=True,
            )
            return took

        measure(small, 1)
        for _ in range(arguments.rounds):
            for workers in map(int, arguments.workers.split(",")):
                seconds.setdefault(workers, []).append(measure(whole, workers))
    for workers, each in seconds.items():
        ratios = [statistics.median(seconds[1]) / statistics.median(each), min(seconds[1]) / min(each)]
        print(f"{workers} workers against 1: {ratios[0]:.2f} times as fast by the medians, {ratios[1]:.2f} by the best")


if __name__ == "__main__":
    main()
