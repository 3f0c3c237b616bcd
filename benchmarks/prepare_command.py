"""The command `bert-pretrain prepare` as the benchmarks run it: a process of its own, its time and memory."""

import hashlib
import os
import shutil
import subprocess
import sys
import time


def prepare_command(text, tokenizer, output, *options):
    names = [str(name) for name in text]
    return [
        sys.executable,
        "-m",
        "pretraining",
        "prepare",
        *names,
        "--tokenizer",
        tokenizer,
        "--output",
        output,
        *options,
    ]


def run(text, tokenizer, output, *options):
    """Makes `output` anew.

    Returns:
        (seconds by the clock, MiB): the most memory that its processes held at one time.
    """
    shutil.rmtree(output, ignore_errors=True)
    command = prepare_command(text, tokenizer, output, *options)
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    largest = 0
    while process.poll() is None:
        largest = max(largest, _memory(process.pid))
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"this command failed: {' '.join(map(str, command))}")
    return time.perf_counter() - began, largest / 2**20


def _memory(pid):
    """Resident bytes of a process and its children; what they share counts for each."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as stream:
            children = stream.read().split()
        with open(f"/proc/{pid}/statm") as stream:
            own = int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0  # it has just ended
    return own + sum(_memory(child) for child in children)


def digest(folder):
    """One hash of the names and bytes of all files."""
    sha256 = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            sha256.update(str(file.relative_to(folder)).encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return sha256.hexdigest()
