"""Systems that are measured in turns, each in a process of its own.

The process is this file as a script: it takes a line of JSON on its standard input for each thing to do and answers
with one. While it waits it computes nothing, and a pause before each turn lets the threads of the one before rest.
"""

import contextlib
import importlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time

PAUSE = 0.5
PACKAGES = ("tensorflow", "keras", "jax", "torch", "transformers", "keras-hub", "tokenizers", "onnxruntime", "numpy")


class Worker:
    """A system, as in "transformers:compile", and its process.

    After `start`: import_s, the seconds until its modules were there; first_s, from then until the first call was done;
    flops_of_unit, the operations of the model in a unit, where the case knows them; or `failure`, why it does not run.
    """

    def __init__(self, system, settings, package=None):
        """Runs in the environment of the package, that of the system if none is given: settings["python"] by name."""
        self.system, self.settings, self.failure = system, settings, None
        self._python = settings["python"].get(package or system.partition(":")[0], sys.executable)

    def start(self):
        """Whether it runs."""
        # As bert_tf sets it: with it off, which is TensorFlow's choice for AVX2, the peers on TensorFlow are slower.
        onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1")
        self._process = subprocess.Popen(
            [self._python, "-m", "benchmarks.alternate"],
            env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": onednn},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        answer = self._ask({"system": self.system, "settings": self.settings})
        if "failure" in answer:
            self.failure = answer["failure"]
            self.stop()
            return False
        self.import_s, self.first_s = answer["import_s"], answer["first_s"]
        self.flops_of_unit, self._units = answer["flops_of_unit"], answer["units"]
        return True

    def rate(self, calls):
        """Units a second of so many calls."""
        time.sleep(PAUSE)
        return calls * self._units / self._ask_running({"calls": calls})["seconds"]

    def peak_mib(self):
        """The largest resident memory so far; of the device's where there is one."""
        return self._ask_running({"peak": True})["peak_mib"]

    def stop(self):
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()

    def _ask_running(self, question):
        answer = self._ask(question)
        if "failure" in answer:
            raise SystemExit(
                f"{self.system}: {answer['failure']} while it was measured; is there memory for all systems?"
            )
        return answer

    def _ask(self, question):
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return {"failure": "the process ended"}
        line = self._process.stdout.readline()
        return json.loads(line) if line else {"failure": f"the process ended, status {self._process.wait()}"}


def in_turns(workers, rounds, calls):
    """{system: the rates of all rounds}; one round before them warms up."""
    taken = {system: [] for system in workers}
    for number in range(rounds + 1):
        for system, worker in workers.items():
            rate = worker.rate(calls)
            if number:
                taken[system].append(rate)
    return taken


def describe_machine():
    """The processor, its cores and the versions, in a line."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    with contextlib.suppress(OSError):
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
        model = ", ".join([model, *(line.split("(")[0].strip() for line in listed.splitlines())])
    versions = []
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(name)}")
    return f"{model}, {len(os.sched_getaffinity(0))} cores; Python {platform.python_version()}, {', '.join(versions)}"


def table(rows):
    """The rows as Markdown."""
    lines = [
        "| system | unit | median | least | most | ours is | first call, s | peak, MiB | of the limit |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        digits = 2 if row["unit"] in ("s", "MB/s") else 1 if row["median"] < 1000 else 0
        cells = [row["system"], row["unit"], *(f"{row[name]:,.{digits}f}" for name in ("median", "min", "max"))]
        cells.append(f"{row['ratio']:.2f} times" if "ratio" in row and row["ratio"] != 1 else "")
        cells.append(f"{row['first_s']:.1f}" if "first_s" in row else "")
        cells.append(f"{row['peak_mib']:,.0f}" if "peak_mib" in row else "")
        cells.append(f"{row['of_limit']:.0%}" if "of_limit" in row else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------ in the other process


def peak_mib():
    jax = sys.modules.get("jax")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    if jax is not None and jax.default_backend() == "gpu":
        return jax.devices()[0].memory_stats()["peak_bytes_in_use"] / 2**20
    with open("/proc/self/status", encoding="utf-8") as lines:  # of this program alone; getrusage's goes through exec
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def serve(questions, answer):
    """Answers the questions of a `Worker`."""
    first = json.loads(next(questions))
    name, _, mode = first["system"].partition(":")
    options = first["settings"] | {"mode": mode}
    began = time.perf_counter()
    try:
        system = importlib.import_module(f"benchmarks.systems.{name}")
    except ImportError as error:
        answer(failure=f"not here: {error}")
        return
    imported = time.perf_counter()
    measured = getattr(system, options["case"].replace("-", "_"))(options)
    measured.run()
    done = time.perf_counter()
    answer(
        import_s=imported - began,
        first_s=done - imported,
        units=measured.units,
        flops_of_unit=measured.flops_of_unit,
    )
    for question in map(json.loads, questions):
        if "peak" in question:
            answer(peak_mib=peak_mib())
            continue
        began = time.perf_counter()
        for _ in range(question["calls"]):
            measured.run()
        answer(seconds=time.perf_counter() - began)


if __name__ == "__main__":
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the standard error

    def reply(**values):
        print(json.dumps(values), file=channel, flush=True)

    serve(iter(sys.stdin), reply)
