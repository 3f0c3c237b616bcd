"""The command `bert-tf`: export a model and serve it, fill masks, say what a checkpoint holds, convert it.

A script; nothing imports it.
"""

import argparse
import dataclasses
import json
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

from bert_tf.checkpoint_values import canonical_name
from bert_tf.errors import InputError
from bert_tf.extras import needed
from bert_tf.files import whole_directory
from bert_tf.foreign_tokenizers import has_vocabulary, read_tokenizer
from bert_tf.named_models import (
    architecture_of,
    architecture_of_all_heads,
    fine_tuned_task,
    has_head,
    open_model,
    read,
    tokenizer_of,
)
from bert_tf.serving.limits import Limits
from bert_tf.tokenizer_files import write_tokenizer_files

_EXPORT_HELP = "the SavedModel that bert-tf export wrote"
_MODEL_HELP = "a model directory, the output of a run, a TF1 checkpoint, a KerasHub preset, or a Hugging Face hub id"


def main(argv=None):
    """Runs the command line; returns the exit status: 0 done, 2 bad input, 130 interrupted."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except InputError as error:
        print(f"bert-tf: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bert-tf: interrupted; the same command does it again", file=sys.stderr)
        return 130
    return 0


def _parser():
    parser = argparse.ArgumentParser(prog="bert-tf", description="Exports, converts, asks and describes BERT models.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    command = commands.add_parser(
        "export",
        help="write a SavedModel that takes raw text",
        description="Writes a SavedModel whose signature serving_default takes vectors of strings: `text` (and "
        "`text_b` for pairs), or `question` and `context`. A classifier answers with probabilities and label, a tagger "
        "with words and entities, a model for questions with the answer cut from the context, a masked language model "
        "with the words behind each [MASK], an encoder with embeddings. Further signatures: examples "
        "(tf.train.Example), ids, attention. What was written is loaded and compared with the Python model before the "
        "folder takes its name.",
    )
    command.add_argument("--model", required=True, metavar="DIR", help=_MODEL_HELP)
    command.add_argument("--output", required=True, metavar="DIR", help="the folder to write: new, empty or an export")
    command.add_argument(
        "--task",
        choices=("classification", "tagging", "question-answering", "fill-mask", "embeddings"),
        help="what it answers (default: what the model has a head for; an encoder gives embeddings)",
    )
    command.add_argument(
        "--pair",
        action="store_true",
        help="the task reads two texts, text and text_b (default: as in the task.json of a fine-tuned model)",
    )
    command.add_argument(
        "--max-length",
        type=int,
        metavar="TOKENS",
        help="tokens of a row: longer texts are cut, or read in windows by taggers and for questions (default: as in "
        "the task.json of a fine-tuned model, else as many as the model has positions)",
    )
    command.add_argument(
        "--format",
        choices=("saved_model", "onnx", "litert"),
        default="saved_model",
        help="saved_model takes text (default); onnx and litert (one row of fixed length) take token ids",
    )
    command.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "int8"),
        default="float32",
        help="of weights and arithmetic (default: float32); bfloat16 for a saved_model, int8 for onnx and litert",
    )
    command.add_argument("--top-k", type=int, default=5, metavar="N", help="words a mask (default: 5)")
    command.add_argument(
        "--pooling", choices=("mean", "cls", "max"), default="mean", help="of embeddings (default: mean)"
    )
    command.add_argument("--no-normalize", action="store_true", help="leave embeddings at the length that they have")
    command.set_defaults(run=_export)

    command = commands.add_parser(
        "fill-mask",
        help="print the most probable words at each [MASK]",
        description="Prints, for each text and each [MASK] in it, the most probable words and their probabilities.",
    )
    command.add_argument("--model", required=True, metavar="DIR", help=_MODEL_HELP)
    command.add_argument("--top-k", type=int, default=5, metavar="N", help="words a mask (default: 5)")
    command.add_argument("texts", nargs="+", metavar="TEXT", help='such as "The cat sat on the [MASK]."')
    command.set_defaults(run=_fill_mask)

    command = commands.add_parser(
        "info",
        help="say what a checkpoint holds",
        description="Prints the architecture, the parameters by part, the heads, the vocabulary, the settings of model "
        "and tokenizer, and the file that each setting came from.",
    )
    command.add_argument("path", metavar="PATH", help=_MODEL_HELP)
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.set_defaults(run=_info)

    command = commands.add_parser(
        "convert",
        help="write a checkpoint of any known format as a Hugging Face directory",
        description="Reads a checkpoint of any known format and writes config.json, model.safetensors and the "
        "tokenizer as a Hugging Face directory. Tensors keep their bits unless --dtype changes their type. What no "
        "model here has a place for is named and left out.",
    )
    command.add_argument("--from", required=True, dest="source", metavar="PATH", help=_MODEL_HELP)
    command.add_argument("--to", required=True, dest="output", metavar="DIR", help="the folder to write: new or empty")
    command.add_argument(
        "--dtype", choices=("float32", "float16", "bfloat16"), help="the float type to store (default: as it is stored)"
    )
    command.add_argument(
        "--hidden-act",
        help="the activation, where the file's own word is not what was trained: gelu_new for a TF1 checkpoint of "
        "later code of google-research/bert",
    )
    command.set_defaults(run=_convert)

    command = commands.add_parser(
        "extend-vocabulary",
        help="add words of a domain to the vocabulary of a model",
        description="Adds words to the vocabulary, behind the tokens that are there, and writes the model directory. "
        "The vector of a new word is the mean of the vectors of the pieces that it was read as; every other id and "
        "vector stays. A word that is a token already stays that token. Prepare a corpus with the new tokenizer and "
        "go on pretraining from the new model.",
    )
    command.add_argument("--model", required=True, metavar="DIR", help=_MODEL_HELP)
    command.add_argument("--words", required=True, metavar="FILE", help="a text file (UTF-8) with a word a line")
    command.add_argument("--output", required=True, metavar="DIR", help="the folder to write: new or empty")
    command.set_defaults(run=_extend_vocabulary)

    command = commands.add_parser(
        "serve",
        help="answer over HTTP, with a page to try an export in",
        description="Serves a SavedModel of bert-tf export on one machine: the REST shape of TensorFlow Serving "
        "(POST /v1/models/NAME:predict), texts of many requests answered together, /healthz, /metrics for Prometheus, "
        "and on / a page to type a text in. SIGTERM or Ctrl-C finishes what is in flight.",
    )
    command.add_argument("saved_model", metavar="DIR", help=_EXPORT_HELP)
    command.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    command.add_argument("--port", type=int, default=8501, help="0 takes a free one (default: 8501)")
    command.add_argument("--name", default="bert", help="of the model, in its address (default: bert)")
    for field in dataclasses.fields(Limits):
        option, about = f"--{field.name.replace('_', '-')}", field.metadata["help"]
        command.add_argument(
            option, type=field.type, default=field.default, metavar="N", help=f"{about} (default: {field.default:g})"
        )
    command.set_defaults(run=_serve)

    command = commands.add_parser(
        "bench",
        help="measure an export: latencies and throughput",
        description="Prints the percentiles of the latency and the throughput of a SavedModel of bert-tf export, for "
        "texts of several lengths, alone and in batches.",
    )
    command.add_argument("saved_model", metavar="DIR", help=_EXPORT_HELP)
    command.add_argument("--lengths", type=int, nargs="+", default=[16, 32, 64, 128], metavar="TOKENS")
    command.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 32], metavar="N")
    command.add_argument("--seconds", type=float, default=2.0, help="each case is measured so long (default: 2)")
    command.add_argument("--output", metavar="DIR", help="a folder for bench.json and bench.png")
    command.set_defaults(run=_bench)
    return parser


# export


def _export(arguments):
    from bert_tf.export import export_saved_model
    from bert_tf.export_ids import export_ids
    from bert_tf.export_tasks import ARCHITECTURES, answers_of, training_of, usual_length, usual_task

    form, precision = arguments.format, arguments.precision
    if precision == ("int8" if form == "saved_model" else "bfloat16"):
        raise InputError(f"--precision {precision} is not for --format {form}; it has float32 and the other one")
    folder, checkpoint = read(arguments.model)
    task = arguments.task or usual_task(architecture_of(checkpoint))
    architecture = ARCHITECTURES[task]
    if not has_head(checkpoint, architecture):
        raise InputError(f"{folder} holds no {architecture}; --task embeddings exports its encoder")
    model, tokenizer, trained = open_model(checkpoint, architecture), tokenizer_of(folder), fine_tuned_task(folder)
    if not 1 <= arguments.top_k <= tokenizer.vocab_size:
        raise InputError(f"--top-k must be from 1 to the {tokenizer.vocab_size} tokens of the vocabulary")
    options = {"pair": arguments.pair, "pooling": arguments.pooling, "top_k": arguments.top_k}
    answers = answers_of(task, model, trained, normalize=not arguments.no_normalize, **options)
    settings = {"max_length": arguments.max_length or usual_length(task, model.config, trained)}
    settings["card"] = training_of(folder)
    if form == "saved_model":
        reference = model
        if precision != "float32":
            model = open_model(checkpoint, architecture, dtype=precision)
        report = export_saved_model(arguments.output, model, tokenizer, answers, reference=reference, **settings)
    else:
        settings["card"] = answers.card() | settings["card"]
        report = export_ids(arguments.output, model, tokenizer, form, int8=precision == "int8", **settings)
    print(
        f"Wrote {arguments.output}: {task}, {report['bytes'] / 2**20:.1f} MiB, {report['milliseconds']:.1f} ms for a "
        f"short text, largest difference from the Python model {report['largest_difference']:.1e}."
    )


# fill-mask


def _fill_mask(arguments):
    from bert_tf.fill_mask import fill_mask

    folder, checkpoint = read(arguments.model)
    if not checkpoint.holds("cls.predictions."):
        raise InputError(f"{folder} holds no masked language model head; expected the output of bert-pretrain train")
    model = open_model(checkpoint, "BertForMaskedLM")
    answers = fill_mask(model, tokenizer_of(folder), arguments.texts, arguments.top_k)
    for text, masks in zip(arguments.texts, answers, strict=True):
        print(text)
        for number, words in enumerate(masks, 1):
            if len(masks) > 1:
                print(f"  mask {number}")
            for token, probability in words:
                print(f"  {probability:6.1%}  {token}")


# info


def _info(arguments):
    from bert_tf.info import describe, report

    description = describe(arguments.path)
    print(json.dumps(description, indent=2, ensure_ascii=False) if arguments.json else report(description))


# convert


def _convert(arguments):
    from bert_tf.pretrained import STORED_DTYPES

    output = _new_folder(arguments.output)
    folder, checkpoint = read(arguments.source)
    architecture = architecture_of_all_heads(checkpoint)
    changes = {"hidden_act": arguments.hidden_act} if arguments.hidden_act else None
    model = open_model(checkpoint, architecture, config_changes=changes)
    stored = {tensor.dtype.name for tensor in checkpoint.tensors.values()}
    dtype = arguments.dtype or (stored.pop() if len(stored) == 1 and stored <= {*STORED_DTYPES} else "float32")
    tokenizer = read_tokenizer(folder) if has_vocabulary(folder) else None
    with whole_directory(output) as partial:
        model.save_pretrained(partial, dtype=dtype)
        if tokenizer is not None:
            write_tokenizer_files(partial, tokenizer.vocabulary, tokenizer.settings)
        if fine_tuned_task(folder):
            shutil.copy(folder / "task.json", partial / "task.json")

    print(f"Wrote {output}: {architecture}, {model.count_params():,} parameters as {dtype}.")
    left_out = sorted(set(checkpoint.tensors) - {canonical_name(name) for name in model.weight_table()})
    if left_out:
        print(f"Left out, since a {architecture} has no place for them: {', '.join(left_out)}.")
    if tokenizer is None:
        print(f"{folder} has no vocabulary; the tokenizer is to be added.")


# extend-vocabulary


def _extend_vocabulary(arguments):
    from bert_tf.vocabulary_extension import extend_vocabulary, read_words

    output = _new_folder(arguments.output)
    folder, checkpoint = read(arguments.model)
    words = read_words(arguments.words)
    tokenizer = tokenizer_of(folder)
    model = open_model(checkpoint, architecture_of_all_heads(checkpoint))
    extended, extended_tokenizer = extend_vocabulary(model, tokenizer, words)
    with whole_directory(output) as partial:
        extended.save_pretrained(partial)
        extended_tokenizer.save_pretrained(partial)
    added = extended_tokenizer.vocab_size - tokenizer.vocab_size
    print(
        f"Wrote {output}: {added:,} of {len(words):,} words added, the others are tokens already; "
        f"{extended_tokenizer.vocab_size:,} tokens."
    )


# serve, bench


def _serve(arguments):
    with needed("the server", "serve"):
        from bert_tf.serving.server import serve

    limits = Limits(**{field.name: getattr(arguments, field.name) for field in dataclasses.fields(Limits)})
    serve(arguments.saved_model, host=arguments.host, port=arguments.port, name=arguments.name, limits=limits)


def _bench(arguments):
    from bert_tf.latency import bench, table, write_bench

    if min(*arguments.lengths, *arguments.batch_sizes) < 1 or not arguments.seconds > 0:
        raise InputError("--lengths, --batch-sizes and --seconds must be above 0")
    cases = {"lengths": arguments.lengths, "batch_sizes": arguments.batch_sizes, "seconds": arguments.seconds}
    card, rows = bench(arguments.saved_model, **cases)
    print("\n".join(table(rows)))
    if arguments.output:
        write_bench(arguments.output, card, rows)
        print(f"{arguments.output}: bench.json, bench.png")


# shared


def _new_folder(path):
    output = Path(path)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} exists and is not an empty folder; give a new one to write")
    return output


if __name__ == "__main__":
    sys.exit(main())
