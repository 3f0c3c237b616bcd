"""`bert-pretrain` and `python -m pretraining`: vocab, prepare, train, evaluate, plan."""

import argparse
import os
import sys
from json import dumps

from bert_tf.errors import InputError
from pretraining.settings import PLANNED, PretrainingSettings, add_arguments, add_device_arguments


def main(argv=None):
    """Runs one command; returns the exit status: 0 done, 2 bad input (one sentence says what), 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="bert-pretrain", description="Pretrain BERT: from text files to a model. Each command has its own --help."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_vocab(commands)
    _add_prepare(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_plan(commands)
    arguments = vars(parser.parse_args(argv))
    run = arguments.pop("run")
    try:
        run(**arguments)
    except InputError as error:
        print(f"bert-pretrain: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bert-pretrain: interrupted; what was finished is kept, the same command continues", file=sys.stderr)
        return 130
    return 0


def _command(commands, name, run, help_text, description):
    parser = commands.add_parser(
        name, help=help_text, description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.set_defaults(run=run)
    return parser


_INPUTS_HELP = (
    "files, folders or patterns, also at URLs (gs://…, s3://…): .txt (UTF-8, blank line between documents), .jsonl, "
    ".parquet, .gz, .zst; or data sets of TFDS by name (tfds:wiki40b/en, tfds:lm1b#train+test)"
)
_FIELD_HELP = "the field or column with the text, in JSON lines, Parquet and data sets"


# ------------------------------------------------------------------------------------------------------------- vocab


def _add_vocab(commands):
    parser = _command(
        commands,
        "vocab",
        _vocab,
        "train a WordPiece vocabulary on text",
        "Trains a WordPiece vocabulary and writes a tokenizer directory (vocab.txt, tokenizer_config.json). The same "
        "text and options give the same file.",
    )
    parser.add_argument("inputs", nargs="+", help=_INPUTS_HELP)
    parser.add_argument("--field", default="text", help=_FIELD_HELP)
    parser.add_argument("--output", required=True, default=argparse.SUPPRESS, help="the tokenizer directory to write")
    parser.add_argument("--vocab-size", type=int, default=30522, help="the largest number of tokens")
    parser.add_argument("--cased", action="store_true", help="keep upper case and accents")
    parser.add_argument("--keep-accents", action="store_true", help="keep accents, whatever the case")
    parser.add_argument("--alphabet", type=int, default=1000, help="how many different characters get a token")
    parser.add_argument("--min-frequency", type=int, default=2, help="how often two pieces must meet to be joined")
    parser.add_argument("--unused", type=int, default=0, help="how many [unused] tokens to reserve after the special")
    parser.add_argument("--share", type=float, default=1.0, help="train on this share of the documents, chosen by hash")
    parser.add_argument("--max-length", type=int, default=512, help="model_max_length in tokenizer_config.json")


def _vocab(inputs, output, cased, keep_accents, max_length, **options):
    from pretraining.vocabulary import make_vocabulary

    settings = {
        "do_lower_case": not cased,
        "strip_accents": False if keep_accents else None,
        "tokenize_chinese_chars": True,
    }
    tokens = make_vocabulary(inputs, output, settings, max_length, **options)
    print(f"{output}: {len(tokens):,} tokens")


# ----------------------------------------------------------------------------------------------------------- prepare


def _add_prepare(commands):
    parser = _command(
        commands,
        "prepare",
        _prepare,
        "turn text into a prepared corpus of token ids",
        "Drops duplicate documents, holds some out, splits sentences, tokenizes and writes shards with a manifest; the "
        "bytes follow from the set of documents alone. The same command again makes only what is missing.",
    )
    parser.add_argument("inputs", nargs="+", help=_INPUTS_HELP + "; a line is a sentence or a paragraph")
    parser.add_argument("--field", default="text", help=_FIELD_HELP)
    parser.add_argument("--tokenizer", required=True, help="tokenizer directory (vocab.txt, tokenizer_config.json)")
    parser.add_argument(
        "--output", required=True, default=argparse.SUPPRESS, help="the prepared corpus: a new directory, or its URL"
    )
    parser.add_argument("--language", default="en", help="sentence rules of this language (ISO 639 code)")
    parser.add_argument("--sentence-per-line", action="store_true", help="a line is a sentence: do not split it")
    parser.add_argument("--held-out", type=float, default=0.02, help="share of documents that training never sees")
    parser.add_argument("--keep-duplicates", action="store_true", help="keep documents that are equal to others")
    parser.add_argument("--shard-megabytes", type=float, default=16, help="Mi characters of text in a shard, about")
    parser.add_argument("--workers", type=int, default=1, help="processes that tokenize, with the local runner")
    parser.add_argument(
        "--runner",
        choices=["local", "direct", "dataflow", "flink", "spark"],
        default="local",
        help="this machine's processes, or a runner of Apache Beam (the extra `beam`)",
    )
    parser.add_argument(
        "--beam-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="beam_options",
        help="an option of Beam's runner, such as project=… or flink_master=…; may be given again",
    )


def _prepare(inputs, tokenizer, output, language, sentence_per_line, **options):
    from pretraining.prepare import prepare

    language = None if sentence_per_line else language
    manifest = prepare(inputs, tokenizer, output, language=language, **options)
    counts, train, held_out = manifest["counts"], manifest["train"], manifest["held_out"]
    print(
        f"documents: {counts['documents_read']:,} read, {counts['duplicates_dropped']:,} duplicates dropped, "
        f"{counts['documents_without_tokens']:,} without a token dropped, {train['documents']:,} for training, "
        f"{held_out['documents']:,} held out\n"
        f"sentences: {train['sentences']:,} for training, {held_out['sentences']:,} held out, "
        f"{counts['sentences_without_tokens']:,} without a token dropped, "
        f"{counts['lines_kept_whole']:,} lines that could not be split\n"
        f"tokens: {train['tokens']:,} for training, {held_out['tokens']:,} held out, "
        f"{manifest['unknown_share']:.3%} unknown"
    )


# ------------------------------------------------------------------------------------------------------------- train


def _add_train(commands):
    parser = _command(
        commands,
        "train",
        _train,
        "pretrain a BERT on a prepared corpus",
        "Trains with MLM and NSP and writes a run directory: checkpoints, metrics.jsonl, TensorBoard events, the "
        "learning curve, results.json and the model directory. The same command again continues the run; SIGTERM or "
        "Ctrl-C writes a checkpoint and ends with status 75. KERAS_BACKEND=jax trains on JAX.",
    )
    parser.add_argument("--output", required=True, help="the run directory: new, or that of the same run")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and stop; nothing is written")
    add_arguments(parser)
    add_device_arguments(parser)


def _train(output, dry_run, devices, model_parallel, coordinator, num_processes, process_id, **settings):
    from bert_tf.devices import open_devices
    from pretraining.train import pretrain

    settings = PretrainingSettings(**settings)
    opened = open_devices(devices, model_parallel, coordinator, num_processes, process_id)
    with opened.speaking():
        pretrain(output, settings, dry_run=dry_run, devices=opened)


# ---------------------------------------------------------------------------------------------------------- evaluate


def _add_evaluate(commands):
    parser = _command(
        commands,
        "evaluate",
        _evaluate,
        "measure a pretrained model on held-out documents",
        "Prints MLM and NSP loss and accuracy on the held-out documents of a prepared corpus, beside what a model that "
        "reads nothing reaches.",
    )
    parser.add_argument("--model", required=True, help="a model directory with an MLM head, or a run directory")
    parser.add_argument("--data", required=True, help="the prepared corpus, made with the model's vocabulary")
    parser.add_argument("--max-seq-length", type=int, default=128, help="tokens in a sequence")
    parser.add_argument("--max-predictions", type=int, default=20, help="masked tokens in a sequence, at most")
    parser.add_argument("--batch-size", type=int, default=32, help="sequences in a batch")
    parser.add_argument("--batches", type=int, help="batches to measure, at most; all if not given")


def _evaluate(model, data, **options):
    from pretraining.evaluation import evaluate_directory

    for name, value in evaluate_directory(model, data, **options).items():
        print(f"{name:30} {value:.4f}")


# -------------------------------------------------------------------------------------------------------------- plan


def _add_plan(commands):
    parser = _command(
        commands,
        "plan",
        _plan,
        "say what a training step takes on TPUs, on a machine without one",
        "Compiles the step of `train` with the TPU compiler (pip install 'bert-tf[tpu]') for a topology, and says "
        "whether it fits, what every chip holds and how many operations a step has. Compiling takes minutes.",
    )
    parser.add_argument(
        "--topology", required=True, help="type and shape of the TPUs: v5e:2x4, v5p:2x2x2, v6e:4x4, v4:2x2x4, …"
    )
    parser.add_argument("--model-parallel", type=int, default=1, help="how many chips share one copy of the weights")
    parser.add_argument("--vocab-size", type=int, help="that of the corpus; that of the configuration if not given")
    parser.add_argument("--find-largest-batch", action="store_true", help="also find the largest batch that fits")
    parser.add_argument("--json", help="also write the figures to this file")
    add_arguments(parser, PLANNED)


def _plan(topology, model_parallel, vocab_size, find_largest_batch, json, **settings):
    os.environ["KERAS_BACKEND"] = "jax"  # before Keras is imported: TPUs train on JAX
    from bert_tf.files import whole_file
    from pretraining.plan import plan

    figures = plan(
        PretrainingSettings(data="", **settings),
        topology,
        model_parallel=model_parallel,
        vocab_size=vocab_size,
        find_largest_batch=find_largest_batch,
    )
    if json:
        with whole_file(json, "w") as stream:
            stream.write(dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
