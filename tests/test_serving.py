"""The parts of the server: batches by length, the JSON of TensorFlow Serving, answers without padding, limits."""

import asyncio
import threading
import types

import keras
import numpy as np
import pytest

from bert_tf import InputError
from bert_tf.__main__ import main
from bert_tf.serving.batching import Batcher, OverloadedError, length_class
from bert_tf.serving.limits import Limits
from bert_tf.serving.rest import read_request, response
from tests.small_exports import write_exports

# Batches


class Model:
    """Answers with the length of an instance; waits for `go` in its first call, and remembers its batches."""

    def __init__(self):
        self.batches, self.begun, self.go = [], threading.Event(), threading.Event()

    def __call__(self, instances):
        self.batches.append(instances)
        self.begun.set()
        assert self.go.wait(20)
        if b"fault" in [text for (text,) in instances]:
            raise ValueError("a fault")
        return [len(text) for (text,) in instances]


def test_what_waits_is_answered_together_by_length():
    model, sizes = Model(), []
    batcher = Batcher(model, max_batch=3, max_wait=0, max_queue=99, observe=sizes.append)
    first = batcher.submit([(b"first",)])
    assert model.begun.wait(20)  # now the thread is at work, and these wait
    texts = [b"a", b"x" * 400, b"bb", b"ccc", b"y" * 390, b"dddd"]
    futures = [batcher.submit([(text,)])[0] for text in texts]
    assert len(batcher) == 6
    model.go.set()
    assert [future.result(20) for future in first + futures] == [5, 1, 400, 2, 3, 390, 4]
    # The oldest and others of its class, three at most; then the long ones; then what was left.
    assert [[text for (text,) in batch] for batch in model.batches] == [
        [b"first"],
        [b"a", b"bb", b"ccc"],
        [b"x" * 400, b"y" * 390],
        [b"dddd"],
    ]
    assert sizes == [1, 3, 2, 1]
    batcher.close()


def test_a_full_queue_takes_all_instances_of_a_request_or_none():
    model = Model()
    batcher = Batcher(model, max_batch=1, max_wait=0, max_queue=2)
    waiting = batcher.submit([(b"1",)])
    assert model.begun.wait(20)
    waiting += batcher.submit([(b"2",)])
    with pytest.raises(OverloadedError):
        batcher.submit([(b"3",), (b"4",)])
    waiting += batcher.submit([(b"5",)])
    with pytest.raises(OverloadedError):
        batcher.submit([(b"6",)])
    model.go.set()
    assert [future.result(20) for future in waiting] == [1, 1, 1]
    batcher.close()
    assert len(model.batches) == 3
    with pytest.raises(OverloadedError):
        batcher.submit([(b"too late",)])


def test_a_fault_is_told_to_its_batch_alone_and_what_was_cancelled_is_left_out():
    model = Model()
    batcher = Batcher(model, max_batch=8, max_wait=0, max_queue=9)
    first = batcher.submit([(b"first",)])[0]
    assert model.begun.wait(20)
    (faulty, beside), (cancelled,), (other,) = (
        batcher.submit([(b"fault",), (b"beside",)]),
        batcher.submit([(b"cancelled",)]),
        batcher.submit([(b"o" * 300,)]),
    )
    assert cancelled.cancel()
    model.go.set()
    for future in (faulty, beside):
        with pytest.raises(ValueError, match="a fault"):
            future.result(20)
    assert (first.result(20), other.result(20)) == (5, 300)
    assert [[text for (text,) in batch] for batch in model.batches[1:]] == [[b"fault", b"beside"], [b"o" * 300]]
    batcher.close()


def test_company_is_waited_for():
    model = Model()
    model.go.set()
    batcher = Batcher(model, max_batch=2, max_wait=30, max_queue=9)  # so long that only the second can end it
    futures = batcher.submit([(b"a",)]) + batcher.submit([(b"b",)])
    assert [future.result(20) for future in futures] == [1, 1]
    assert len(model.batches) == 1
    batcher.close()


def test_classes_of_length():
    assert [length_class((b"x" * size,)) for size in (0, 256, 257, 512, 513)] == [8, 8, 9, 9, 10]
    assert length_class((b"x" * 200, b"y" * 200)) == 9


# JSON


def test_requests():
    one, two = ("text",), ("question", "context")
    assert read_request(b'{"instances": ["a", {"text": "b"}]}', one) == ([(b"a",), (b"b",)], "instances")
    assert read_request(b'{"instances": []}', one) == ([], "instances")
    expected = [(b"q", b"c"), (b"r", b"d")]
    columns = b'{"inputs": {"context": ["c", "d"], "question": ["q", "r"]}, "signature_name": "serving_default"}'
    assert read_request(columns, two) == (expected, "inputs")
    assert read_request(b'{"inputs": "alone"}', one) == ([(b"alone",)], "inputs")
    assert read_request(b'{"inputs": {"text": ["a", {"b64": "/w=="}]}}', one) == ([(b"a",), (b"\xff",)], "inputs")
    assert read_request(b'{"instances": [{"b64": "gQ=="}]}', one) == ([(b"\x81",)], "instances")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"\xff{}", "not UTF-8 at byte 0"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "must be a JSON object, got list"),
        (b"{}", 'expected one of "instances" and "inputs", such as {"instances": [{"text": "…"}]}'),
        (b'{"instances": [], "inputs": []}', "expected one of"),
        (b'{"instance": []}', "unknown key 'instance'"),
        (b'{"instances": "a"}', '"instances" must be a list'),
        (b'{"instances": [1]}', "instances[0] must be an object or a string, got int"),
        (b'{"instances": ["a", {"txt": "b"}]}', "instances[1] has the unknown field 'txt'; expected 'text'"),
        (b'{"instances": [{}]}', "instances[0] lacks the field 'text'"),
        (b'{"instances": [{"text": null}]}', "instances[0], text must be a string, got NoneType"),
        (b'{"instances": [{"b64": "%"}]}', "instances[0], text is not base64"),
        ('{"instances": [{"b64": "é"}]}'.encode(), "instances[0], text is not base64"),
        (b'{"instances": [], "signature_name": "ids"}', "signature_name must be 'serving_default', got 'ids'"),
        (b'{"inputs": {"text": ["a"], "b": ["c", "d"]}}', "must have one length, got [1, 2]"),
    ],
)
def test_faulty_requests(body, sentence):
    with pytest.raises(InputError) as error:
        read_request(body, ("text",))
    assert sentence in str(error.value)


def test_responses():
    several = [{"label": "a", "logits": [1, 2]}, {"label": "b", "logits": [3, 4]}]
    assert response(several, "instances") == {"predictions": several}
    assert response(several, "inputs") == {"outputs": {"label": ["a", "b"], "logits": [[1, 2], [3, 4]]}}
    assert response([{"values": [1]}, {"values": [2]}], "instances") == {"predictions": [[1], [2]]}
    assert response([{"values": [1]}], "inputs") == {"outputs": [[1]]}


def test_limits():
    with pytest.raises(InputError, match="max_queue must be at least 1, got 0"):
        Limits(max_queue=0)
    Limits(max_wait_ms=0)


def test_a_client_that_hangs_up_is_no_fault():
    """In the midst of the body: nothing is raised into the server's log, and it counts as a faulty request."""
    from bert_tf.serving.app import make_app

    app = make_app(types.SimpleNamespace(answers=None, inputs=("text",)))

    async def ask(method, path, *events):
        events, sent = iter(events), []

        async def receive():
            return next(events)

        async def send(message):
            sent.append(message)

        await app({"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}, receive, send)
        return sent[0]["status"], sent[1]["body"]

    begun = {"type": "http.request", "body": b'{"instances": [', "more_body": True}
    for verb in ("predict", "attention"):
        status, body = asyncio.run(ask("POST", f"/v1/models/bert:{verb}", begun, {"type": "http.disconnect"}))
        assert (status, body) == (400, b'{"error":"the client hung up after 15 bytes of the body"}')
    _, metrics = asyncio.run(ask("GET", "/metrics"))
    assert b'bert_tf_requests_total{status="400"} 1.0' in metrics
    assert b'status="500"' not in metrics
    app.state.batcher.close()


# Exports


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("a SavedModel is TensorFlow's")
    tasks = ("classification", "tagging", "question-answering", "fill-mask", "embeddings")
    return write_exports(tmp_path_factory.mktemp("exports"), tasks)


def test_a_text_has_the_same_answer_alone_and_beside_longer_ones(exports):
    from bert_tf.serving.exported import Exported

    texts = [b"the [MASK] cat sat", b"", b"[MASK] was [MASK] good good good film , and the dog ran on the mat"]
    for task, folder in exports.items():
        exported = Exported(folder)
        instances = [(b"the dog",) * (len(exported.inputs) - 1) + (text,) for text in texts]
        together = exported.answers(instances)
        for instance, answer in zip(instances, together, strict=True):
            (alone,) = exported.answers([instance])
            assert alone.keys() == answer.keys()
            for name, value in alone.items():
                if isinstance(value, str) or not value or isinstance(np.ravel(value)[0], str):
                    assert answer[name] == value, (task, name)
                else:
                    np.testing.assert_allclose(answer[name], value, atol=1e-5, err_msg=f"{task} {name}")
    masks = Exported(exports["fill-mask"]).answers([(text,) for text in texts])
    assert [len(answer["tokens"]) for answer in masks] == [1, 0, 2]
    words = Exported(exports["tagging"]).answers([(texts[0],)])[0]["words"]
    assert words == ["the", "[MASK]", "cat", "sat"]


def test_attention_of_a_head(exports):
    from bert_tf.serving.exported import Exported

    exported = Exported(exports["classification"])
    found = exported.attention((b"the cat sat",), 1, 2)
    assert found["tokens"] == ["[CLS]", "the", "cat", "sat", "[SEP]"]
    np.testing.assert_allclose(np.sum(found["weights"], axis=1), 1, atol=1e-3)
    assert found["weights"] != exported.attention((b"the cat sat",), 0, 2)["weights"]
    with pytest.raises(InputError, match="head must be from 0 to 2, got 3"):
        exported.attention((b"",), 0, 3)
    with pytest.raises(InputError, match="layer must be from 0 to 1, got -1"):
        exported.attention((b"",), -1, 0)


def test_what_is_no_export(tmp_path, capsys):
    for command in (["serve", str(tmp_path), "--port", "0"], ["bench", str(tmp_path)]):
        assert main(command) == 2
        assert "holds no model_card.json" in capsys.readouterr().err
    (tmp_path / "model_card.json").write_text('{"format": "onnx"}')
    assert main(["serve", str(tmp_path), "--port", "0"]) == 2
    assert "holds a model that takes ids; give a SavedModel" in capsys.readouterr().err


def test_bench(exports, tmp_path, capsys):
    import json

    command = ["bench", str(exports["question-answering"]), "--lengths", "9", "32", "--batch-sizes", "1", "3"]
    assert main([*command, "--seconds", "0.01", "--output", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["tokens", "batch", "p50", "ms", "p90", "ms", "p99", "ms", "texts/s", "tokens/s"]
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert [(row["length"], row["batch_size"]) for row in rows] == [(9, 1), (9, 3), (32, 1), (32, 3)]
    for row in rows:
        assert row["calls"] >= 5
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
        assert row["tokens_per_second"] == pytest.approx(row["texts_per_second"] * row["length"])
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    assert main([*command[:2], "--lengths", "33"]) == 2
    assert "takes rows of 5 to 32 tokens, not of 33" in capsys.readouterr().err
    assert main([*command[:2], "--seconds", "0"]) == 2
    assert "must be above 0" in capsys.readouterr().err


def test_texts_of_a_length(exports):
    from bert_tf.latency import text_of
    from bert_tf.serving.exported import Exported

    exported = Exported(exports["classification"])
    for length in (3, 17, 32):
        tokens = exported.tensors([text_of(exported, length)], "attention")["tokens"]
        assert tokens.shape == (1, length)
        assert set(tokens[0]) == {b"[CLS]", b"the", b"[SEP]"}
