"""`bert-finetune` and `python -m downstream`: classify, predict, evaluate."""

import argparse
import os
import sys

from bert_tf.errors import InputError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported


def main(argv=None):
    """Runs one command; returns the exit status: 0 done, 2 bad input (one sentence says what), 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="bert-finetune",
        description="Fine-tune a BERT and use it. Each command has its own --help.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_classify(commands)
    _add_predict(commands)
    _add_evaluate(commands)
    arguments = vars(parser.parse_args(argv))
    run = arguments.pop("run")
    try:
        run(**arguments)
    except InputError as error:
        print(f"bert-finetune: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bert-finetune: interrupted; the same command does it again", file=sys.stderr)
        return 130
    return 0


_FILES = (
    "Files are UTF-8, by suffix: .tsv (tabs between columns, a row a line, no quoting at all, as the files of GLUE), "
    ".csv (commas, quotes around a field with a comma, a doubled quote or a line break) or .jsonl (a JSON object a "
    "line). The first line of a .tsv or .csv names the columns. No row is skipped: a row with another number of "
    "columns, an empty text or an unknown label stops the command with its file and line. Texts that are too long are "
    "truncated, the longer of a pair first, and counted."
)


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to the help of an option that has one."""

    def _get_help_string(self, action):
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def _command(commands, name, run, help_text, description):
    parser = commands.add_parser(
        name, help=help_text, description=description, formatter_class=_Formatter, allow_abbrev=False
    )
    parser.set_defaults(run=run)
    return parser


# ---------------------------------------------------------------------------------------------------------- classify


def _add_classify(commands):
    parser = _command(
        commands,
        "classify",
        _classify,
        "train a classifier of texts or of pairs of texts",
        "Fine-tunes a BERT to classify texts (or pairs of texts), or to give them a number. The run directory gets "
        "model/ (a Hugging Face directory: weights, tokenizer, labels), results.json, metrics.jsonl, "
        "learning_curve.png, tensorboard/ and checkpoints/. model/ is the best after any epoch by the validation "
        "metric. The same command again continues a run that was interrupted, to the same bits; a finished run says "
        "so and does nothing. " + _FILES,
    )
    files = parser.add_argument_group("what to learn from")
    files.add_argument("--model", required=True, help="the model to start from: its directory, or that of a run")
    files.add_argument("--train", required=True, help="the training file")
    files.add_argument("--validation", required=True, help="the file that chooses the best epoch")
    files.add_argument("--test", help="a file that is measured once, with the best model")
    files.add_argument("--text", required=True, help="the column of the text")
    files.add_argument("--text-pair", help="the column of the second text of a pair")
    files.add_argument("--label", required=True, help="the column of the label")
    files.add_argument("--output", required=True, help="the run directory: a new one, or that of the same command")

    task = parser.add_argument_group("the task")
    task.add_argument(
        "--problem-type",
        default="single_label_classification",
        help="single_label_classification; multi_label_classification: a label cell holds any number of labels (a "
        "list in .jsonl); regression: it holds a number",
    )
    task.add_argument("--labels", nargs="+", help="the labels in order; without it, those of the training file")
    task.add_argument("--label-separator", default=",", help="what stands between several labels in a cell")
    task.add_argument(
        "--metric",
        help="the figure that chooses the best epoch: accuracy (the usual one), macro_f1 or matthews; with several "
        "labels micro_f1 (usual), macro_f1 or exact_match; for regression pearson_spearman (usual), pearson, spearman "
        "or negative_mean_squared_error",
    )
    task.add_argument("--max-seq-length", type=int, default=128, help="tokens of a text or pair, [CLS], [SEP] included")
    task.add_argument("--new-head", action="store_true", help="begin with a fresh head where the model has one")

    recipe = parser.add_argument_group("the recipe")
    recipe.add_argument("--epochs", type=int, default=3, help="times through the training file")
    recipe.add_argument("--batch-size", type=int, default=32, help="examples of one update")
    recipe.add_argument("--accumulation", type=int, default=1, help="parts a batch is computed in, for less memory")
    recipe.add_argument(
        "--learning-rate",
        type=float,
        help="the peak rate; without it 5e-5 x 768 / hidden_size, that is 5e-5 for BERT-base and 3e-4 for BERT-tiny",
    )
    recipe.add_argument("--warmup-share", type=float, default=0.1, help="part of the steps over which the rate rises")
    recipe.add_argument("--weight-decay", type=float, default=0.01, help="of kernels and embeddings")
    recipe.add_argument("--bias-correction", action="store_true", help="correct Adam's moments as PyTorch does")
    recipe.add_argument("--clip-norm", type=float, default=1.0, help="largest global norm of the gradient")
    recipe.add_argument("--dropout", type=float, help="every dropout probability, in place of the model's own")
    recipe.add_argument(
        "--max-shapes",
        type=int,
        help="the most lengths that batches are padded to, each compiled once; 1: all batches have one shape and the "
        "order is plain; without it one for 50 steps, at most 12",
    )
    recipe.add_argument(
        "--precision", choices=["float32", "bfloat16", "float16"], default="float32", help="what is computed in"
    )
    recipe.add_argument("--seed", type=int, default=0, help="of the fresh head, the order and the dropout")
    recipe.add_argument("--save-every", type=int, default=500, help="steps between checkpoints")


def _classify(model, train, validation, test, output, new_head, **options):
    from downstream.classify import classify
    from downstream.tasks import Task
    from downstream.train import Recipe

    task_names = "text text_pair label problem_type labels label_separator metric max_seq_length".split()
    task = {name: options.pop(name) for name in task_names}
    task["labels"] = tuple(task["labels"]) if task["labels"] else None
    files = {"train": train, "validation": validation} | ({"test": test} if test else {})
    classify(output, model, files, Task(**task), Recipe(**options), new_head=new_head)


# ------------------------------------------------------------------------------------------------- predict, evaluate


def _add_predict(commands):
    parser = _command(
        commands,
        "predict",
        _predict,
        "write the label and the probabilities of each text of a file",
        "Writes one answer for each row of a file, in its order; no label column is needed. " + _FILES,
    )
    parser.add_argument("--model", required=True, help="the directory of a classifier, or of its run")
    parser.add_argument("--input", required=True, help="the texts: .tsv, .csv or .jsonl")
    parser.add_argument(
        "--output",
        required=True,
        help=".tsv (line, label, p(LABEL) for each label) or .jsonl (line, label, probabilities); line: of the input",
    )
    _add_reading_options(parser)


def _predict(**arguments):
    from downstream.predict import predict

    predict(**arguments)


def _add_evaluate(commands):
    parser = _command(
        commands,
        "evaluate",
        _evaluate,
        "measure a classifier on a file with labels",
        "Prints the metrics of a classifier on a file as JSON. " + _FILES,
    )
    parser.add_argument("--model", required=True, help="the directory of a classifier, or of its run")
    parser.add_argument("--data", required=True, help="texts with labels: .tsv, .csv or .jsonl")
    parser.add_argument("--label", help="the column of the label; without it, the one of the training file")
    parser.add_argument("--output", help="a .json file to write the same figures to")
    _add_reading_options(parser)


def _evaluate(**arguments):
    from downstream.evaluate import evaluate

    evaluate(**arguments)


def _add_reading_options(parser):
    parser.add_argument("--text", help="the column of the text; without it, the one of the training file")
    parser.add_argument("--text-pair", help="the column of the second text, likewise")
    parser.add_argument("--max-seq-length", type=int, help="tokens at most; without it, as in training")
    parser.add_argument("--batch-size", type=int, default=32, help="texts computed at a time")


if __name__ == "__main__":
    sys.exit(main())
