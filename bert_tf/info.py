"""What a checkpoint holds, in numbers and words, from its files alone: no model is built and no Keras is imported."""

import dataclasses
import math
from collections import Counter

from bert_tf.checkpoints import model_directory, read_checkpoint
from bert_tf.config import BertConfig
from bert_tf.errors import InputError
from bert_tf.foreign_tokenizers import read_tokenizer

_PARTS = {
    "bert.embeddings.": "embeddings",
    "bert.encoder.": "encoder",
    "bert.pooler.": "pooler",
    "cls.predictions.": "masked language model head",
    "cls.seq_relationship.": "next sentence head",
    "classifier.": "classification head",
    "qa_outputs.": "question answering head",
}


def describe(path):
    """A dictionary of JSON values that says what the checkpoint at `path` holds.

    Keys: path, format, architecture, parameters ({part: number}), stored_as ({dtype: number of parameters}), bytes,
    labels, settings and tokenizer ({name: [value, the file it came from or "default"]}), vocabulary, passed_over.

    Raises:
        InputError: no checkpoint there, a damaged one, or settings or labels that are not those of a BERT.
    """
    folder = model_directory(path)
    checkpoint = read_checkpoint(folder)
    values = checkpoint.values
    config = BertConfig.from_dict(values, source=str(checkpoint.config_path))
    sources = dict.fromkeys(values, checkpoint.config_path.name) | checkpoint.sources
    parameters, stored_as = Counter(), Counter()
    for name, tensor in checkpoint.tensors.items():
        part = next((part for prefix, part in _PARTS.items() if name.startswith(prefix)), "other")
        parameters[part] += tensor.size
        stored_as[tensor.dtype.name] += tensor.size
    return {
        "path": str(folder),
        "format": checkpoint.kind,
        "architecture": (values.get("architectures") or [None])[0],
        "parameters": {part: parameters[part] for part in (*_PARTS.values(), "other") if parameters[part]},
        "stored_as": dict(stored_as),
        "bytes": sum(tensor.nbytes for tensor in checkpoint.tensors.values()),
        "labels": _labels(values, checkpoint.config_path),
        "settings": {
            field.name: [getattr(config, field.name), sources.get(field.name, "default")]
            for field in dataclasses.fields(BertConfig)
            if config.position_embedding_type == "relative" or not field.name.startswith("relative_")
        },
        **_describe_tokenizer(folder),
        "passed_over": sorted(checkpoint.passed_over),
    }


def _labels(values, source):
    """The names of the labels in the order of their numbers."""
    labels = wrong = values.get("id2label") or {}
    if isinstance(labels, dict):
        wrong = {number: name for number, name in labels.items() if not number.isdecimal() or not isinstance(name, str)}
    if wrong:
        raise InputError(f'{source}: id2label must be names by number such as {{"0": "no", "1": "yes"}}, got {wrong!r}')
    return [labels[number] for number in sorted(labels, key=int)]


def _describe_tokenizer(folder):
    try:
        files = read_tokenizer(folder)
    except InputError as error:
        return {"tokenizer": {}, "vocabulary": {"missing": str(error)}}
    tokens = files.vocabulary.tokens
    return {
        "tokenizer": {name: [value, files.sources[name]] for name, value in files.settings.items()},
        "vocabulary": {
            "tokens": len(tokens),
            "continuing a word": sum(token.startswith("##") for token in tokens),
            "unused": sum(token.startswith("[unused") for token in tokens),
        },
    }


def report(description):
    """The description as lines for a person."""
    layers = description["settings"]["num_hidden_layers"][0]
    parameters = description["parameters"]
    lines = [
        f"{description['path']}: {description['format']}",
        f"architecture  {description['architecture'] or 'not named'}",
        f"parameters    {sum(parameters.values()):,} ({description['bytes'] / 2**20:.1f} MiB; "
        + ", ".join(f"{count:,} {dtype}" for dtype, count in description["stored_as"].items())
        + ")",
    ]
    width = max(map(len, parameters))
    for part, count in parameters.items():
        note = f"  {layers} layers of {count // layers:,}" if part == "encoder" and count % layers == 0 else ""
        lines.append(f"  {part:{width}}  {count:>13,}{note}")
    if description["labels"]:
        lines.append(f"labels        {', '.join(description['labels'])}")
    vocabulary = description["vocabulary"]
    lines.append(
        "vocabulary    " + ", ".join(f"{count:,} {name}" for name, count in vocabulary.items())
        if "missing" not in vocabulary
        else f"vocabulary    none: {vocabulary['missing']}"
    )
    for title in ("settings", "tokenizer"):
        if description[title]:
            lines.append(title)
            lines += _table(description[title])
    if description["passed_over"]:
        names = description["passed_over"]
        lines.append(f"not of the model: {len(names)} tensors, such as {names[0]}")
    return "\n".join(lines)


def _table(settings):
    width = max(map(len, settings))
    shown = {name: _show(value) for name, (value, _) in settings.items()}
    value_width = min(max(map(len, shown.values())), 24)
    return [f"  {name:{width}}  {shown[name]:{value_width}}  {source}" for name, (_, source) in settings.items()]


def _show(value):
    return f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)
