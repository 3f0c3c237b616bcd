"""`bert-pretrain prepare` killed (SIGKILL) at random moments, run again each time, and at last to its end.

    python -m benchmarks.prepare_kills TEXT… --tokenizer DIR [--kills 10] [--workers 2] [--seed 0]

Each kill comes at a random moment of the time that an uninterrupted run takes: while texts are read or shards made.
Prints what was there at each kill, and whether names and bytes of all files are those of the uninterrupted run; exits
with status 1 if they are not.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.prepare_command import digest, prepare_command, run


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="+")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    options = ["--workers", str(arguments.workers)]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        seconds, _ = run(arguments.text, arguments.tokenizer, folder / "whole", *options)
        expected = digest(folder / "whole")
        print(f"uninterrupted: {seconds:.1f} s, {expected[:16]}", flush=True)
        killed, output = 0, folder / "killed"
        while killed < arguments.kills:
            command = prepare_command(arguments.text, arguments.tokenizer, output, *options)
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(draw.uniform(0.3, seconds))
            if process.poll() is not None:  # it came to its end: begin anew
                print("finished", "the same bytes" if digest(output) == expected else "OTHER BYTES", flush=True)
                shutil.rmtree(output)
                continue
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
            unfinished = output / "unfinished"
            runs, shards = (len(list(unfinished.glob(name))) for name in ("run-*.bin", "[0-9]*.json"))
            print(f"kill {killed}: {runs} runs and {shards} shards were there", flush=True)
        subprocess.run(prepare_command(arguments.text, arguments.tokenizer, output, *options), check=True)
        same = digest(output) == expected
    print("the same bytes" if same else "OTHER BYTES")
    sys.exit(not same)


if __name__ == "__main__":
    main()
