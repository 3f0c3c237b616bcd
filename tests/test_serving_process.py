"""A server as its own process: what clients that are many, large, wrong, slow or too many get from it."""

import concurrent.futures
import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from tests.small_exports import LABELS, write_exports

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel is TensorFlow's")
PREDICT = "/v1/models/bert:predict"


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    return write_exports(tmp_path_factory.mktemp("served"), ["classification"])["classification"]


@contextlib.contextmanager
def server(folder, *options):
    """(process, port) of a server that answers."""
    command = [sys.executable, "-m", "bert_tf", "serve", str(folder), "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        yield process, int(re.search(r"http://127\.0\.0\.1:(\d+) as 'bert'", line)[1])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def port(export):
    with server(export, "--body-seconds", "1", "--max-text-bytes", "50000") as (_, port):
        yield port


def ask(port, method, path, body=None, headers=()):
    """(status, headers, JSON or text)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, dict(headers))
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    kind = answer.headers["content-type"] or ""
    return answer.status, answer.headers, json.loads(content) if "json" in kind else content.decode()


def predict(port, *texts):
    return ask(port, "POST", PREDICT, json.dumps({"instances": list(texts)}))


def check_that_it_answers(port):
    status, _, answer = predict(port, "the cat sat")
    assert status == 200
    assert answer["predictions"][0]["label"] in LABELS


def test_the_addresses(port):
    state = ask(port, "GET", "/v1/models/bert")
    assert (state[0], state[2]["model_version_status"][0]["state"]) == (200, "AVAILABLE")
    _, _, about = ask(port, "GET", "/v1/models/bert/metadata")
    assert about["model_card"]["labels"] == list(LABELS)
    assert (about["inputs"], about["example"]) == (["text"], {"instances": [{"text": "…"}]})
    assert ask(port, "GET", "/healthz")[::2] == (200, "ok\n")
    status, headers, page = ask(port, "GET", "/")
    assert (status, headers.get_content_type()) == (200, "text/html")
    assert "page.js" in page
    status, _, found = ask(
        port, "POST", "/v1/models/bert:attention", json.dumps({"instance": "the cat", "layer": 1, "head": 2})
    )
    assert (status, found["tokens"]) == (200, ["[CLS]", "the", "cat", "[SEP]"])
    assert np.shape(found["weights"]) == (4, 4)


def test_eight_clients_get_what_the_model_says(export, port):
    import tensorflow as tf

    rng = np.random.default_rng(0)
    words = ["the", "cat", "sat", "dog", "good", "bad", "film", "[MASK]", "\U0001f600", "שלום"]
    texts = [" ".join(rng.choice(words, rng.integers(0, 40))) for _ in range(200)]
    serve = tf.saved_model.load(str(export)).signatures["serving_default"]
    expected = [serve(text=tf.constant([text]))["logits"].numpy()[0] for text in texts]
    with concurrent.futures.ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda text: predict(port, text), texts))
    assert {status for status, _, _ in answers} == {200}
    for (_, _, answer), logits in zip(answers, expected, strict=True):
        np.testing.assert_allclose(answer["predictions"][0]["logits"], logits, atol=1e-5)
    _, _, metrics = ask(port, "GET", "/metrics")
    assert float(re.search(r'bert_tf_requests_total\{status="200"\} (\S+)', metrics)[1]) >= 200
    assert float(re.search(r"bert_tf_batch_size_sum (\S+)", metrics)[1]) >= 200
    calls = float(re.search(r"bert_tf_batch_size_count (\S+)", metrics)[1])
    assert calls < float(re.search(r"bert_tf_batch_size_sum (\S+)", metrics)[1])  # some were answered together


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"x" * 10 * 2**20, 413, "the body is larger than 1048576 bytes"),
        (json.dumps({"instances": ["a" * 50_001]}).encode(), 413, "a text has 50001 bytes; send at most 50000"),
        (b"{", 400, "not JSON"),
        (b'{"instances": ["\xff"]}', 400, "not UTF-8 at byte 16"),
        (b'{"instances": [{"txt": "a"}]}', 400, "unknown field 'txt'; expected 'text'"),
        (json.dumps({"instances": ["a"] * 257}).encode(), 400, "257 instances in one request; send at most 256"),
    ],
)
def test_faulty_clients(port, body, status, sentence):
    got, _, answer = ask(port, "POST", PREDICT, body)
    assert (got, list(answer)) == (status, ["error"])
    assert sentence in answer["error"]
    check_that_it_answers(port)


def test_other_addresses_and_methods(port):
    status, _, answer = ask(port, "POST", "/v1/models/other:predict", b"{}")
    assert (status, answer["error"]) == (404, "no model 'other' here; it is called 'bert'")
    status, headers, answer = ask(port, "GET", PREDICT)
    assert (status, headers["allow"], answer["error"]) == (405, "POST", ":predict takes POST, not GET")
    status, _, answer = ask(port, "POST", "/v1/models/bert:classify", b"{}")
    assert (status, answer["error"]) == (
        404,
        "the model has :predict, :attention and /metadata, not /v1/models/bert:classify",
    )
    assert ask(port, "GET", "/nothing")[0] == 404
    faulty = {"instance": "a", "layer": 9}
    status, _, answer = ask(port, "POST", "/v1/models/bert:attention", json.dumps(faulty))
    assert (status, answer["error"]) == (400, "layer must be from 0 to 1, got 9")
    check_that_it_answers(port)


def test_bytes_that_are_no_text(port):
    status, _, answer = ask(port, "POST", PREDICT, b'{"instances": [{"b64": "/8M="}, {"text": "\\ud800"}]}')
    assert (status, len(answer["predictions"])) == (200, 2)


def test_a_client_that_hangs_half_way_is_told_and_disturbs_nobody(port):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n".encode() + b'{"inst')
        check_that_it_answers(port)
        reply = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    assert reply.startswith("HTTP/1.1 408")
    assert "the body did not come in 1 seconds: 6 of 100 bytes" in reply
    check_that_it_answers(port)


def test_overload_is_refused_at_once_and_passes(export):
    with server(export, "--max-queue", "4", "--max-batch", "1", "--max-wait-ms", "0") as (_, port):
        with concurrent.futures.ThreadPoolExecutor(32) as clients:
            answers = list(clients.map(lambda _: predict(port, *["the cat sat on the mat"] * 4), range(64)))
        statuses = {status for status, _, _ in answers}
        assert statuses == {200, 503}
        for status, headers, answer in answers:
            if status == 503:
                assert headers["retry-after"] == "1"
                assert answer == {"error": "too many texts wait; ask again later"}
            else:
                assert len(answer["predictions"]) == 4
        check_that_it_answers(port)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_is_in_flight(export, number):
    # A text waits two seconds for company: that is long enough to stop the server meanwhile.
    with server(export, "--max-wait-ms", "2000") as (process, port):
        with concurrent.futures.ThreadPoolExecutor(3) as clients:
            waiting = [clients.submit(predict, port, "the cat") for _ in range(3)]
            deadline = time.monotonic() + 20
            while "bert_tf_queue_length 3.0" not in ask(port, "GET", "/metrics")[2]:
                assert time.monotonic() < deadline
            process.send_signal(number)
            assert [future.result()[0] for future in waiting] == [200, 200, 200]
        assert process.wait(30) == 0
        with pytest.raises(ConnectionRefusedError):
            ask(port, "GET", "/healthz")


def test_a_port_that_is_taken(export):
    with socket.create_server(("127.0.0.1", 0)) as other:
        command = [sys.executable, "-m", "bert_tf", "serve", str(export), "--port", str(other.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.search(r"bert-tf: error: cannot listen on 127\.0\.0\.1 port \d+: .*; give another", done.stderr)
