"""The command `bert-tf`: export a SavedModel, fill masks, say what a checkpoint holds, convert it.

A script: it alone in this package knows the heads of `pretraining` and `downstream`, to open the class that a
checkpoint names. Nothing imports it.
"""

import argparse
import importlib
import json
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

from bert_tf.checkpoints import canonical_name, model_directory, read_checkpoint
from bert_tf.config import read_json
from bert_tf.errors import InputError
from bert_tf.files import whole_directory
from bert_tf.foreign_tokenizers import has_vocabulary, read_tokenizer
from bert_tf.tokenizer_files import write_tokenizer_files

_HOMES = {
    "BertModel": "bert_tf",
    "BertForPreTraining": "pretraining",
    "BertForMaskedLM": "pretraining",
    "BertForNextSentencePrediction": "pretraining",
    "BertForSequenceClassification": "downstream",
    "BertForTokenClassification": "downstream",
    "BertForQuestionAnswering": "downstream",
}
# The class for a checkpoint that names none: the first whose heads are all there.
_HEADS = {
    "BertForQuestionAnswering": ("qa_outputs.",),
    "BertForSequenceClassification": ("classifier.",),
    "BertForTokenClassification": ("classifier.",),
    "BertForPreTraining": ("cls.predictions.", "cls.seq_relationship."),
    "BertForMaskedLM": ("cls.predictions.",),
    "BertForNextSentencePrediction": ("cls.seq_relationship.",),
    "BertModel": (),
}
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
    return parser


# export


def _export(arguments):
    from bert_tf.export import export_saved_model
    from bert_tf.export_ids import export_ids
    from bert_tf.export_tasks import ARCHITECTURES, answers_of, training_of, usual_length, usual_task

    form, precision = arguments.format, arguments.precision
    if precision == ("int8" if form == "saved_model" else "bfloat16"):
        raise InputError(f"--precision {precision} is not for --format {form}; it has float32 and the other one")
    folder, checkpoint = _read(arguments.model)
    task = arguments.task or usual_task(_architecture(checkpoint))
    architecture = ARCHITECTURES[task]
    if not all(map(checkpoint.holds, _HEADS[architecture])) or (
        "classifier." in _HEADS[architecture] and _architecture(checkpoint) != architecture
    ):
        raise InputError(f"{folder} holds no {architecture}; --task embeddings exports its encoder")
    model, tokenizer, trained = _open(checkpoint, architecture), _tokenizer(folder), _fine_tuned_task(folder)
    if not 1 <= arguments.top_k <= tokenizer.vocab_size:
        raise InputError(f"--top-k must be from 1 to the {tokenizer.vocab_size} tokens of the vocabulary")
    options = {"pair": arguments.pair, "pooling": arguments.pooling, "top_k": arguments.top_k}
    answers = answers_of(task, model, trained, normalize=not arguments.no_normalize, **options)
    settings = {"max_length": arguments.max_length or usual_length(task, model.config, trained)}
    settings["card"] = training_of(folder)
    if form == "saved_model":
        reference = model
        if precision != "float32":
            model = _open(checkpoint, architecture, dtype=precision)
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

    folder, checkpoint = _read(arguments.model)
    if not checkpoint.holds("cls.predictions."):
        raise InputError(f"{folder} holds no masked language model head; expected the output of bert-pretrain train")
    model = _open(checkpoint, "BertForMaskedLM")
    answers = fill_mask(model, _tokenizer(folder), arguments.texts, arguments.top_k)
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
    folder, checkpoint = _read(arguments.source)
    architecture = _architecture_of_all_heads(checkpoint)
    changes = {"hidden_act": arguments.hidden_act} if arguments.hidden_act else None
    model = _open(checkpoint, architecture, config_changes=changes)
    stored = {tensor.dtype.name for tensor in checkpoint.tensors.values()}
    dtype = arguments.dtype or (stored.pop() if len(stored) == 1 and stored <= {*STORED_DTYPES} else "float32")
    tokenizer = read_tokenizer(folder) if has_vocabulary(folder) else None
    with whole_directory(output) as partial:
        model.save_pretrained(partial, dtype=dtype)
        if tokenizer is not None:
            write_tokenizer_files(partial, tokenizer.vocabulary, tokenizer.settings)
        if _fine_tuned_task(folder):
            shutil.copy(folder / "task.json", partial / "task.json")

    print(f"Wrote {output}: {architecture}, {model.count_params():,} parameters as {dtype}.")
    left_out = sorted(set(checkpoint.tensors) - {canonical_name(name) for name in model.weight_table()})
    if left_out:
        print(f"Left out, since a {architecture} has no place for them: {', '.join(left_out)}.")
    if tokenizer is None:
        print(f"{folder} has no vocabulary; the tokenizer is to be added.")


# extend-vocabulary


def _extend_vocabulary(arguments):
    from bert_tf.vocabulary_extension import extend_vocabulary

    output = _new_folder(arguments.output)
    folder, checkpoint = _read(arguments.model)
    try:
        lines = Path(arguments.words).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {arguments.words}: {error}; expected a text file with a word a line") from None
    words = [line.strip() for line in lines if line.strip()]
    tokenizer = _tokenizer(folder)
    model = _open(checkpoint, _architecture_of_all_heads(checkpoint))
    extended, extended_tokenizer = extend_vocabulary(model, tokenizer, words)
    with whole_directory(output) as partial:
        extended.save_pretrained(partial)
        extended_tokenizer.save_pretrained(partial)
    added = extended_tokenizer.vocab_size - tokenizer.vocab_size
    print(
        f"Wrote {output}: {added:,} of {len(words):,} words added, the others are tokens already; "
        f"{extended_tokenizer.vocab_size:,} tokens."
    )


# shared


def _new_folder(path):
    output = Path(path)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} exists and is not an empty folder; give a new one to write")
    return output


def _read(path):
    """(the folder, the open checkpoint)."""
    folder = model_directory(path)
    return folder, read_checkpoint(folder)


def _open(checkpoint, architecture, **settings):
    model_class = getattr(importlib.import_module(_HOMES[architecture]), architecture)
    if architecture == "BertModel":
        settings["add_pooling_layer"] = checkpoint.holds("bert.pooler.")
    return model_class.from_pretrained(checkpoint, **{"dtype": "float32"} | settings)


def _tokenizer(folder):
    from bert_tf import BertTokenizer

    files = read_tokenizer(folder)
    return BertTokenizer(files.vocabulary, **files.settings)


def _fine_tuned_task(folder):
    """The task.json that `bert-finetune` keeps beside its model, else {}: a KerasHub preset has one of another kind."""
    values = read_json(folder / "task.json") if (folder / "task.json").exists() else {}
    return values if "text" in values or values.get("task") in ("squad", "tag") else {}


def _architecture_of_all_heads(checkpoint):
    """As `_architecture`, but for the published checkpoints that are named for one pretraining head and hold both."""
    architecture = _architecture(checkpoint)
    both = all(map(checkpoint.holds, ("cls.predictions.", "cls.seq_relationship.", "bert.pooler.")))
    named_for_one = architecture in ("BertForMaskedLM", "BertForNextSentencePrediction")
    return "BertForPreTraining" if named_for_one and both else architecture


def _architecture(checkpoint):
    """The name of the class that a checkpoint is for: what config.json says, else what its heads say."""
    names = checkpoint.values.get("architectures") or []
    if names and names[0] not in _HOMES:
        raise InputError(f"{checkpoint.config_path} names the architecture {names[0]!r}; known are {', '.join(_HOMES)}")
    if names:
        return names[0]
    return next(name for name, prefixes in _HEADS.items() if all(map(checkpoint.holds, prefixes)))


if __name__ == "__main__":
    sys.exit(main())
