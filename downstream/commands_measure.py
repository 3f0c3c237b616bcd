"""The commands `bert-finetune predict` and `bert-finetune evaluate`: what a finished model answers, and how well."""

from downstream.commands import FILES, add_command


def add_predict(commands):
    parser = add_command(
        commands,
        "predict",
        _predict,
        "write the label and the probabilities of each text of a file",
        "Writes one answer for each row of a file, in its order; no label column is needed. " + FILES,
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


def add_evaluate(commands):
    parser = add_command(
        commands,
        "evaluate",
        _evaluate,
        "measure a classifier on a file with labels",
        "Prints the metrics of a classifier on a file as JSON. " + FILES,
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
