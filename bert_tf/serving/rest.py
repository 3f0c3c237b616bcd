"""The JSON of TensorFlow Serving's REST API: requests to instances, answers to responses.

    {"instances": [{"text": "one"}, {"text": "two"}]}   ->  {"predictions": [{…}, {…}]}
    {"instances": ["one", "two"]}, where there is one input
    {"inputs": {"text": ["one", "two"]}}                ->  {"outputs": {name: […]}}

A string may be {"b64": "…"}, for bytes that are no text. An answer of one output is its value alone.
"""

import base64
import json

from bert_tf.errors import InputError

SIGNATURE = "serving_default"


def read_request(body, inputs):
    """The instances of a request, and its form.

    Args:
        body: bytes.
        inputs: the names of the model's inputs.

    Returns:
        ([tuple of bytes, a text for each input], "instances" or "inputs").

    Raises:
        InputError: no UTF-8, no JSON, another shape, a field that is missing, unknown or no string.
    """
    request = read_object(body)
    for key in request:
        if key not in ("instances", "inputs", "signature_name"):
            raise InputError(f'unknown key {key!r}; expected "instances" or "inputs", and "signature_name"')
    if request.get("signature_name", SIGNATURE) != SIGNATURE:
        raise InputError(f"signature_name must be {SIGNATURE!r}, got {request['signature_name']!r}")
    if ("instances" in request) == ("inputs" in request):
        raise InputError(f'expected one of "instances" and "inputs", such as {example(inputs)}')
    if "instances" in request:
        instances = request["instances"]
        if not isinstance(instances, list):
            raise InputError(f'"instances" must be a list, such as {example(inputs)}')
        return [_instance(one, f"instances[{number}]", inputs) for number, one in enumerate(instances)], "instances"
    columns = request["inputs"]
    columns = columns if isinstance(columns, dict) else {inputs[0]: columns}
    columns = {name: texts if isinstance(texts, list) else [texts] for name, texts in columns.items()}
    lengths = {len(texts) for texts in columns.values()}
    if len(lengths) > 1:
        raise InputError(f'the lists of "inputs" must have one length, got {sorted(lengths)}')
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [_instance(row, f"inputs, number {number}", inputs) for number, row in enumerate(rows)], "inputs"


def read_object(body):
    """The JSON object of a body.

    Raises:
        InputError: no UTF-8, no JSON, no object.
    """
    try:
        request = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"the body is not UTF-8 at byte {error.start}; send JSON in UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"the body is not JSON: {error}") from None
    if not isinstance(request, dict):
        raise InputError(f"the body must be a JSON object, got {type(request).__name__}")
    return request


def response(answers, form):
    """The object to send for a list of answers."""
    if form == "instances":
        return {"predictions": [next(iter(one.values())) if len(one) == 1 else one for one in answers]}
    names = answers[0] if answers else ()
    outputs = {name: [one[name] for one in answers] for name in names}
    return {"outputs": next(iter(outputs.values())) if len(outputs) == 1 else outputs}


def example(inputs):
    return json.dumps({"instances": [dict.fromkeys(inputs, "…")]}, ensure_ascii=False)


def _instance(value, where, inputs):
    if isinstance(value, str) or (isinstance(value, dict) and set(value) == {"b64"}):
        value = {inputs[0]: value}
    if not isinstance(value, dict):
        raise InputError(f"{where} must be an object or a string, got {type(value).__name__}")
    for name in value:
        if name not in inputs:
            raise InputError(f"{where} has the unknown field {name!r}; expected {', '.join(map(repr, inputs))}")
    for name in inputs:
        if name not in value:
            raise InputError(f"{where} lacks the field {name!r}; expected {', '.join(map(repr, inputs))}")
    return tuple(_text(value[name], f"{where}, {name}") for name in inputs)


def _text(value, where):
    if isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except ValueError as error:
            raise InputError(f"{where} is not base64: {error}") from None
    if not isinstance(value, str):
        raise InputError(f"{where} must be a string, got {type(value).__name__}")
    return value.encode("utf-8", "surrogatepass")
