"""A server under load: clients that ask one text after another, many at once and one alone, in turns.

    bert-tf export --model RUN --output SAVED_MODEL
    python -m benchmarks.serving_load SAVED_MODEL TEXTS [--clients 8] [--seconds 60] [--rounds 1]

TEXTS is a file with a text a line. In a round first `--clients` clients ask for `--seconds`, then one for a quarter of
that: what a server without batches would give, one request at a time. Then as many as overload the server ask for ten
seconds, and one client asks again. Prints errors, texts a second, latencies and the ratio; a row for RESULTS.md.
"""

import argparse
import collections
import http.client
import itertools
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("saved_model", type=Path)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    texts = [line for line in arguments.texts.read_text(encoding="utf-8").splitlines() if line]
    command = [sys.executable, "-m", "bert_tf", "serve", str(arguments.saved_model), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    port = int(re.search(r"http://127\.0\.0\.1:(\d+) ", process.stdout.readline())[1])
    try:
        ask(port, texts, 8, 3)  # once, so that all is compiled and warm
        ratios = []
        for _ in range(arguments.rounds):
            together = ask(port, texts, arguments.clients, arguments.seconds)
            alone = ask(port, texts, 1, arguments.seconds / 4)
            for name, got in ((f"{arguments.clients} clients", together), ("one client", alone)):
                print(f"{name:12} {report(got)}", flush=True)
            ratios.append(together["rate"] / alone["rate"])
        print(f"throughput against one request at a time: {statistics.median(ratios):.2f} times")
        overload = ask(port, texts, 400, 10)
        print(f"400 clients  {report(overload)}")
        print(f"afterwards   {report(ask(port, texts, 1, 2))}")
    finally:
        process.terminate()
        print(f"stopped by SIGTERM with status {process.wait(60)}")


def ask(port, texts, clients, seconds):
    """What `clients` get in so many seconds: {"statuses", "rate" of answered texts, "latencies" of these}."""
    statuses, latencies = collections.Counter(), []
    each, lock, end = itertools.cycle(texts), threading.Lock(), time.perf_counter() + seconds

    def client():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while time.perf_counter() < end:
            with lock:
                text = next(each)
            start = time.perf_counter()
            try:
                connection.request("POST", "/v1/models/bert:predict", json.dumps({"instances": [text]}))
                answer = connection.getresponse()
                content, status = answer.read(), answer.status
                if status == 200:
                    assert "predictions" in json.loads(content)
            except (OSError, http.client.HTTPException) as error:
                status = type(error).__name__
                connection.close()
            taken = time.perf_counter() - start
            with lock:
                statuses[status] += 1
                if status == 200:
                    latencies.append(taken)
            if status == 503:
                time.sleep(float(answer.headers["retry-after"]))

    start = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {
        "statuses": dict(statuses),
        "rate": statuses[200] / (time.perf_counter() - start),
        "latencies": latencies,
    }


def report(got):
    shares = " ".join(f"p{share} {1000 * np.percentile(got['latencies'], share):.1f}" for share in (50, 90, 99))
    return f"{got['rate']:8.1f} texts/s   {shares} ms   statuses {got['statuses']}"


if __name__ == "__main__":
    main()
