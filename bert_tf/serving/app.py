"""The ASGI application: the REST shape of TensorFlow Serving, health, metrics and the page.

    POST /v1/models/NAME:predict     rest.py
    GET  /v1/models/NAME             {"model_version_status": [{"version": "1", "state": "AVAILABLE", …}]}
    GET  /v1/models/NAME/metadata    {"model_card": …, "inputs": […]}
    POST /v1/models/NAME:attention   {"instance": {…}, "layer": 0, "head": 0} -> {"tokens": […], "weights": [[…]]}
    GET  /healthz  /metrics  /

An error is {"error": "one sentence"}: 400 for what is asked, or a client that hangs up in the midst of it, 408 for a
body that does not come, 413 for one too large, 503 with Retry-After where the queue is full.
"""

import asyncio
import json
import time
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from bert_tf.errors import InputError
from bert_tf.serving.batching import Batcher, OverloadedError
from bert_tf.serving.limits import Limits
from bert_tf.serving.measures import Measures
from bert_tf.serving.rest import example, read_object, read_request, response

PAGE = Path(__file__).parent / "page"
_DISCARDED = 64 * 2**20  # of a body that is too large, so many bytes are read and dropped before the answer


def make_app(exported, name="bert", limits=None):
    """The application for a model.

    Args:
        exported: `Exported`, or what has its `card`, `inputs`, `answers` and `attention`.
        name: of the model, in its addresses.
        limits: `Limits`; None: the usual ones.
    """
    limits, measures = limits or Limits(), Measures()
    batcher = Batcher(
        exported.answers,
        max_batch=limits.max_batch,
        max_wait=limits.max_wait_ms / 1000,
        max_queue=limits.max_queue,
        observe=measures.batches.observe,
    )

    async def predict(request):
        start, status = time.perf_counter(), 500
        try:
            body = await _body(request, limits)
            instances, form = read_request(body, exported.inputs)
            _check_texts(instances, limits)
            if len(instances) > limits.max_queue:
                raise InputError(f"{len(instances)} instances in one request; send at most {limits.max_queue}")
            answers = await asyncio.gather(*map(asyncio.wrap_future, batcher.submit(instances)))
            measures.texts.inc(len(answers))
            status = 200
            return JSONResponse(response(answers, form))
        except InputError as error:
            status = 400
            raise HTTPException(400, str(error)) from None
        except OverloadedError:
            status = 503
            raise HTTPException(503, "too many texts wait; ask again later", {"Retry-After": "1"}) from None
        except HTTPException as error:
            status = error.status_code
            raise
        finally:
            measures.requests.labels(str(status)).inc()
            measures.seconds.observe(time.perf_counter() - start)

    async def attention(request):
        try:
            asked = read_object(await _body(request, limits))
            wanted = {"instances": [asked.get("instance")]}
            instances, _ = read_request(json.dumps(wanted).encode(), exported.inputs)
            _check_texts(instances, limits)
            layer, head = (asked.get(key, 0) for key in ("layer", "head"))
            if not isinstance(layer, int) or not isinstance(head, int):
                raise InputError("layer and head must be whole numbers")
            found = await asyncio.to_thread(exported.attention, instances[0], layer, head)
        except InputError as error:
            raise HTTPException(400, str(error)) from None
        return JSONResponse(found)

    def state(request):
        status = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        return JSONResponse({"model_version_status": [status]})

    def metadata(request):
        about = {"name": name, "inputs": list(exported.inputs), "example": json.loads(example(exported.inputs))}
        return JSONResponse({"model_card": exported.card, **about})

    def health(request):
        return PlainTextResponse("ok\n")

    def metrics(request):
        measures.queue.set(len(batcher))
        return PlainTextResponse(measures.text(), media_type="text/plain; version=0.0.4")

    def others(request):
        asked, _, verb = request.path_params["other"].partition(":")
        if asked != name:
            raise HTTPException(404, f"no model {asked!r} here; it is called {name!r}")
        if verb in ("predict", "attention"):
            raise HTTPException(405, f":{verb} takes POST, not {request.method}", {"Allow": "POST"})
        raise HTTPException(404, f"the model has :predict, :attention and /metadata, not {request.url.path}")

    model = f"/v1/models/{name}"
    routes = [
        Route(f"{model}:predict", predict, methods=["POST"]),
        Route(f"{model}:attention", attention, methods=["POST"]),
        Route(model, state),
        Route(f"{model}/metadata", metadata),
        Route("/model", metadata),  # for the page, which is not told the name
        Route("/v1/models/{other:path}", others, methods=["GET", "POST"]),
        Route("/healthz", health),
        Route("/metrics", metrics),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _error, Exception: _fault})
    app.state.batcher = batcher
    return app


async def _body(request, limits):
    """The body, read as it comes: no more of it is kept than may be."""
    parts, size = [], 0
    declared = request.headers.get("content-length", "")
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for part in request.stream():
                size += len(part)
                if size > limits.max_body_bytes:
                    parts.clear()
                    if size > _DISCARDED:
                        break
                else:
                    parts.append(part)
    except ClientDisconnect:
        raise HTTPException(400, f"the client hung up after {size} bytes of the body") from None
    except TimeoutError:
        sentence = f"the body did not come in {limits.body_seconds:g} seconds"
        sentence += f": {size} of {declared} bytes" if declared else ""
        raise HTTPException(408, sentence, {"Connection": "close"}) from None
    if size > limits.max_body_bytes:
        raise HTTPException(413, f"the body is larger than {limits.max_body_bytes} bytes; send fewer texts")
    return b"".join(parts)


def _check_texts(instances, limits):
    longest = max((len(text) for instance in instances for text in instance), default=0)
    if longest > limits.max_text_bytes:
        raise HTTPException(413, f"a text has {longest} bytes; send at most {limits.max_text_bytes}")


def _error(request, error):
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _fault(request, error):
    return JSONResponse({"error": f"the model failed: {type(error).__name__}"}, 500)
