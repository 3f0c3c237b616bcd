"""The short demo, stopped in its midst again and again, ends as the one that ran through.

    python .ci/interrupted_demo.py VENV FINISHED OUTPUT

FINISHED is the folder of a short demo that ran through. Here `make demo` runs into OUTPUT and, at each of `STOPS`, all
its processes get a signal at once, as from Ctrl-C in a terminal (SIGINT) or a power cut (SIGKILL). Then it runs to its
end. Expected: the same text, corpus, weights and results, byte for byte; the path of the folder apart.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

# What lies in OUTPUT when the signal comes, and what must not lie there yet, or the stop would come too late.
STOPS = [
    (signal.SIGKILL, "text/corpus.txt", "tokenizer/vocab.txt"),
    (signal.SIGINT, "corpus/unfinished/settings.json", "corpus/manifest.json"),
    (signal.SIGKILL, "pretrained/checkpoints/step-00000020", "pretrained/results.json"),
    (signal.SIGINT, "pretrained/checkpoints/step-00000040", "pretrained/results.json"),
    (signal.SIGKILL, "finetuned/checkpoints/step-00000020", "finetuned/results.json"),
    (signal.SIGINT, "finetuned/checkpoints/step-00000040", "finetuned/results.json"),
    (signal.SIGKILL, ".saved_model.partial", "saved_model/saved_model.pb"),
]
EQUAL = [
    *("text/corpus.txt", "text/train.tsv", "text/validation.tsv", "text/test.tsv", "tokenizer/vocab.txt"),
    *("corpus/manifest.json", "corpus/unigram_counts.npy", "corpus/shards/train-00000.bin"),
    *("pretrained/model/model.safetensors", "finetuned/model/model.safetensors"),
    *("pretrained/results.json", "finetuned/results.json"),
]


def main(venv, finished, output):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where a shell runs this in the background, it is ignored
    command = ["make", f"VENV={venv}", "demo", f"DEMO=--short --output {output}"]
    for number, reached, too_late in STOPS:
        print(f"\n*** {signal.Signals(number).name} when there is {reached}", flush=True)
        process = subprocess.Popen(command, start_new_session=True)
        while not (output / reached).exists():
            if process.poll() is not None:
                sys.exit(f"the demo ended with status {process.returncode} before there was {reached}")
            time.sleep(0.002)
        os.killpg(process.pid, number)
        if process.wait() == 0 or (output / too_late).exists():
            sys.exit(f"the signal came too late: there is {too_late}")
    print("\n*** to the end", flush=True)
    subprocess.run(command, check=True)
    for name in EQUAL:
        got = (output / name).read_bytes().replace(str(output).encode(), str(finished).encode())
        if got != (finished / name).read_bytes():
            sys.exit(f"{output / name} differs from {finished / name}")
    print(f"\nStopped {len(STOPS)} times, the demo ended with the same {len(EQUAL)} files.")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
