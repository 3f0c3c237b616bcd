"""This package beside its peers: the same shapes, data, precision and machine, in turns, medians with spread.

    python -m benchmarks train-step --model base --length 128 --batch-size 16 --precision bfloat16 \
        --peers keras_hub,transformers --json FILE

The cases:

    train-step  a pretraining step: forward, backward, clipping and AdamW, the MLM head at masked positions; tokens/s
    finetune    updates of a classifier at the lengths of a file (--data-dir, --task); real tokens/s
    infer       an exported encoder, opened by a process that has nothing else, padded (--length) or on the sentences of
                a file (--sentences, --vocab); sequences/s
    tokenize    the lines of a file (--sentences, --vocab) to padded rows of ids, on one thread; words/s
    prepare     text (--sentences) to pairs with masks (--vocab), one process; MB of text/s
    startup     seconds until the package is imported, until the first training step is done, and until an exported
                encoder has read its first row, each from nothing

A system is a module of `benchmarks.systems`; a peer is measured in all of its modes unless one is named, as in
`transformers:compile`. Each system has a process of its own, which keeps still while another one works. In the table
and the JSON: median, least and most of the rounds; where `ours is` more than 1, ours is better. Beside training steps
stands what the machine can do: the rate of a matrix product of the model's shape in the same precision, measured in the
same turns; `of the limit` is the share of it that the operations of the model make (`bert_tf.flops`).
The Model Garden's BERT needs an environment of its own (`benchmarks.systems.model_garden`) and is measured where
`--python model_garden=PATH` names its interpreter. On a GPU without TensorFlow: KERAS_BACKEND=jax.
"""

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.alternate import Worker, describe_machine, in_turns, table

MODES = {
    "train-step": {
        "keras_hub": ("eager", "jit"),
        "model_garden": ("eager", "jit"),
        "transformers": ("eager", "compile"),
    },
    "finetune": {"keras_hub": ("eager",), "transformers": ("eager",)},
    "infer": {
        "bert_tf": ("onnx", "int8"),
        "keras_hub": ("eager",),
        "model_garden": ("eager",),
        "transformers": ("eager", "compile"),
    },
    "tokenize": {"bert_tf": ("offsets",), "keras_hub": ("eager",), "tokenizers": ("eager",)},
    "prepare": {"bert_tf": ("two_workers",), "transformers": ("eager",)},
    "startup": {"keras_hub": ("eager",), "model_garden": ("eager",), "transformers": ("eager",)},
}
UNITS = {
    "train-step": "tokens/s",
    "finetune": "real tokens/s",
    "infer": "sequences/s",
    "tokenize": "words/s",
    "prepare": "MB/s",
    "startup": "s",
}


def main():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("case", choices=UNITS)
    parser.add_argument("--model", default="base", help="tiny, mini, small, medium, base or large")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--predictions", type=int, default=20, help="masked positions of a row")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--peers", help="comma-separated; default: all that can do the case")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1, help="calls in a round")
    parser.add_argument("--updates", type=int, default=20, help="finetune: in a call")
    parser.add_argument("--threads", type=int, help="of each system; default: as many as it takes")
    parser.add_argument("--data-dir", type=Path, help="the files of GLUE")
    parser.add_argument("--task", default="SST-2")
    parser.add_argument("--sentences", type=Path, help="a text file")
    parser.add_argument("--vocab", type=Path, help="a vocab.txt")
    parser.add_argument("--order", choices=["given", "length"], default="given", help="infer: of the sentences")
    parser.add_argument(
        "--python", action="append", default=[], metavar="SYSTEM=PATH", help="the interpreter of a system's environment"
    )
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args()

    modes = MODES[options.case]
    chosen = options.peers.split(",") if options.peers else list(modes)
    systems = ["bert_tf"]
    for peer in chosen:
        name, _, mode = peer.partition(":")
        if name not in modes or (mode and mode not in modes[name]):
            known = ", ".join(f"{one}:{mode}" for one in modes for mode in modes[one])
            parser.error(f"--peers: nothing does {options.case} as {peer!r}; there are {known}")
        systems += [f"{name}:{one}" for one in modes[name] if mode in ("", one)]
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    for one in options.python:
        if "=" not in one:
            parser.error(f"--python: expected SYSTEM=PATH, got {one!r}")
    settings["python"] = dict(one.split("=", 1) for one in options.python)

    print(describe_machine(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        if options.case == "startup":
            rows = startup_rows(systems, settings, options.rounds, folder)
        elif options.case == "infer":
            rows = rate_rows(exported(systems, settings, folder), {}, options)
        else:
            limits = ("matmul:keras", "matmul:torch") if options.case == "train-step" else ()
            workers, limits = ({name: Worker(name, settings) for name in names} for names in (systems, limits))
            rows = rate_rows(workers, limits, options)
    print(table(rows))
    if options.json:
        report = {"machine": describe_machine(), "settings": settings, "rows": rows}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def exported(systems, settings, folder):
    """{system: a worker that opens what the system has exported into a folder}."""
    workers = {}
    for system in systems:
        name, _, mode = system.partition(":")
        settings = settings | {"export": f"{folder}/{name}-{mode}"}
        maker = Worker(system, settings | {"case": "export"})
        if maker.start():
            maker.stop()
            workers[system] = Worker(f"exports:{mode}", settings | {"case": "infer"}, package=name)
        else:
            print(f"{system}: {maker.failure}", flush=True)
    return workers


def rate_rows(workers, limits, options):
    """A row for each worker, of how many units a second it does, and for each limit."""
    everyone = workers | limits
    try:
        for system in [system for system, worker in everyone.items() if not worker.start()]:
            print(f"{system}: {everyone[system].failure}", flush=True)
            everyone.pop(system)
        taken = in_turns(everyone, options.rounds, options.steps)
        peaks = {system: worker.peak_mib() for system, worker in everyone.items()}
    finally:
        for worker in everyone.values():
            worker.stop()
    limit = max((median_of(taken[name]) for name in limits if name in everyone), default=None)
    rows = []
    for system in [system for system in everyone if system not in limits]:
        row = summary(system, UNITS[options.case], taken[system], median_of(taken["bert_tf"]), more_is_better=True)
        if options.case in ("train-step", "finetune", "infer"):  # the others have no compilation and read whole files
            row |= {"first_s": everyone[system].first_s, "peak_mib": peaks[system]}
        if limit and everyone[system].flops_of_unit:
            row["of_limit"] = row["median"] * everyone[system].flops_of_unit / limit
        rows.append(row)
    for name in [name for name in limits if name in everyone]:
        gflops = [rate / 1e9 for rate in taken[name]]
        rows.append(summary(name, "GFLOP/s", gflops, None, more_is_better=True))
    return rows


def startup_rows(systems, settings, rounds, folder):
    """Rows of how many seconds pass until a mark, each round a fresh process of each system."""
    marks = {}
    readers = exported(systems, settings | {"sentences": None, "batch_size": 1}, folder)

    def seconds_of(worker):
        """(until its import, from there to the end of its first call); None, and why, where it does not run."""
        try:
            if worker.start():
                return worker.import_s, worker.first_s
            print(f"{worker.system}: {worker.failure}", flush=True)
            return None
        finally:
            worker.stop()

    systems = list(systems)
    for _ in range(rounds):
        for system in list(systems):
            seconds = seconds_of(Worker(system, settings | {"case": "train-step"}))
            if seconds is None:
                systems.remove(system)
                continue
            marks.setdefault(("import", system), []).append(seconds[0])
            marks.setdefault(("first step", system), []).append(seconds[1])
            if system in readers and (seconds := seconds_of(readers[system])):
                marks.setdefault(("first answer of an export", system), []).append(sum(seconds))
    rows = []
    for mark in dict.fromkeys(mark for mark, _ in marks):
        ours = median_of(marks[mark, "bert_tf"]) if (mark, "bert_tf") in marks else None
        rows += [
            summary(f"{system}, {mark}", "s", marks[mark, system], ours, more_is_better=False)
            for system in systems
            if (mark, system) in marks
        ]
    return rows


def median_of(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def summary(system, unit, values, ours, *, more_is_better):
    row = {"system": system, "unit": unit, "median": median_of(values), "min": min(values), "max": max(values)}
    if ours is not None:
        row["ratio"] = ours / row["median"] if more_is_better else row["median"] / ours
    return row


if __name__ == "__main__":
    main()
