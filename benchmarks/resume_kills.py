"""`bert-pretrain train` killed (SIGKILL) at random moments, run again each time, and at last to its end.

    python -m benchmarks.resume_kills CORPUS [--kills 10] [--steps 400] [--config bert-tiny] [--seed 0]
    KERAS_BACKEND=jax python -m benchmarks.resume_kills CORPUS

Every second kill waits for a checkpoint that is being written; the others come at a random moment of the time that an
uninterrupted run takes, the start of the process included. Dropout is on. Prints what was there at each kill, and
whether the weights are those of the uninterrupted run bit for bit, with the same results and, the machine's speed
apart, the same metrics.jsonl; exits with status 1 if they are not.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--config", default="bert-tiny")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, output = Path(folder) / "whole", Path(folder) / "killed"
        start = time.perf_counter()
        _start(arguments, whole).wait()
        seconds, expected = time.perf_counter() - start, _outcome(whole)
        print(f"uninterrupted: {seconds:.1f} s, {expected['results']['metrics']}", flush=True)
        killed = 0
        while killed < arguments.kills:
            process = _start(arguments, output)
            until = time.perf_counter() + draw.uniform(0.3, seconds)
            inside = killed % 2 == 1
            while process.poll() is None and (time.perf_counter() < until or (inside and not _writes(output))):
                time.sleep(0.0005)
            if process.poll() is not None:  # it came to its end: begin anew
                print("finished", "the same" if _outcome(output) == expected else "DIFFERENT", flush=True)
                shutil.rmtree(output)
                continue
            process.kill()
            process.wait()
            killed += 1
            there = sorted(entry.name for entry in (output / "checkpoints").glob("*"))
            print(f"kill {killed}{', a checkpoint being written' * inside}: {there[-2:]}", flush=True)
        _start(arguments, output).wait()
        same = _outcome(output) == expected
    print("the same weights, results and metrics" if same else "DIFFERENT")
    sys.exit(not same)


def _start(arguments, output):
    """The process of one run, quiet, with a checkpoint every twenty steps."""
    options = {"data": arguments.corpus, "config": arguments.config, "output": output, "steps": arguments.steps}
    options |= {"max-seq-length": 64, "max-predictions": 10, "batch-size": 16, "learning-rate": 1e-3}
    options |= {"log-every": 10, "evaluate-every": 200, "save-every": 20}
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    command = [sys.executable, "-m", "pretraining", "train", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _writes(output):
    """Whether a checkpoint is being written at this moment."""
    return any((output / "checkpoints").glob("*.partial"))


def _outcome(output):
    """Weights, results and metrics of a finished run; what depends on the machine's speed is left out."""
    metrics = [json.loads(line) for line in (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        "weights": (output / "model" / "model.safetensors").read_bytes(),
        "results": json.loads((output / "results.json").read_text(encoding="utf-8")),
        "metrics": [{name: value for name, value in line.items() if name != "tokens_per_second"} for line in metrics],
    }


if __name__ == "__main__":
    main()
