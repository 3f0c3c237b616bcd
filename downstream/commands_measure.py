"""The commands `bert-finetune predict` and `bert-finetune evaluate`: what a finished model answers, and how well."""

from bert_tf.errors import InputError
from downstream.commands import FILES, add_command, check_output


def add_predict(commands):
    parser = add_command(
        commands,
        "predict",
        _predict,
        "write the label and the probabilities of each text of a file, the answers to its questions, its tags or "
        "summaries",
        "Writes one answer for each row of a file, in its order; no label column is needed. " + FILES + " With --task "
        "squad: the answers to the questions of a SQuAD file; with --task tag: a CoNLL file with one column more; with "
        "--task summarize: the summaries of documents.",
    )
    parser.add_argument("--task", default="classification", help="classification, squad, tag or summarize")
    parser.add_argument("--model", required=True, help="the directory of a fine-tuned model, or of its run")
    parser.add_argument("--input", required=True, help="the texts: .tsv, .csv or .jsonl; squad: .json; tag: CoNLL")
    parser.add_argument(
        "--output",
        required=True,
        help=".tsv (line, label, p(LABEL) for each label) or .jsonl (line, label, probabilities), line being that of "
        "the input; squad: .json {question id: text}; tag: CoNLL; summarize: .jsonl (summary, sentences)",
    )
    _add_reading_options(parser)


def _predict(task, model, input, output, batch_size, **options):
    check_output(output, [input])
    if task == "classification":
        from downstream.predict import predict

        predict(model, input, output, batch_size=batch_size, **options)
        return
    if task not in ("squad", "tag", "summarize"):
        raise InputError(f"--task must be classification, squad, tag or summarize, got {task!r}")
    if any(value is not None for value in options.values()):
        raise InputError(f"--task {task} reads as its model was trained; it takes no columns and no length")
    if task == "squad":
        from downstream.squad_predict import predict_answers as predict
    elif task == "tag":
        from downstream.tag_predict import predict_tags as predict
    else:
        from downstream.summary_predict import predict_summaries as predict
    predict(model, input, output, batch_size=batch_size)


def add_evaluate(commands):
    parser = add_command(
        commands,
        "evaluate",
        _evaluate,
        "measure a classifier on a file with labels, or a file of answers to questions",
        "Prints the metrics of a classifier on a file as JSON. " + FILES + " With --task squad: the official figures "
        "of SQuAD for a file of predictions; whether the data are v1.1 or v2.0 they say themselves.",
    )
    parser.add_argument("--task", default="classification", help="classification or squad")
    parser.add_argument("--model", help="the directory of a classifier, or of its run")
    parser.add_argument("--data", required=True, help="texts with labels: .tsv, .csv or .jsonl; squad: its .json file")
    parser.add_argument("--predictions", help='squad: a .json file {question id: text}, "" for no answer')
    parser.add_argument("--null-odds", help="squad v2.0: a .json file {question id: number}, for the best threshold")
    parser.add_argument("--label", help="the column of the label; without it, the one of the training file")
    parser.add_argument("--output", help="a .json file to write the same figures to")
    _add_reading_options(parser)


def _evaluate(task, model, predictions, null_odds, **options):
    check_output(options["output"], [options["data"], predictions, null_odds])
    if task == "classification":
        if model is None or predictions is not None or null_odds is not None:
            raise InputError("--task classification measures a --model; --predictions and --null-odds are for squad")
        from downstream.evaluate import evaluate

        evaluate(model, **options)
    elif task == "squad":
        texts = [options.pop(name) for name in ("label", "text", "text_pair", "max_seq_length")]
        if predictions is None or model is not None or texts != [None] * 4:
            raise InputError("--task squad measures a file of --predictions; it takes no --model and no columns")
        from downstream.squad_evaluate import evaluate_predictions

        evaluate_predictions(options["data"], predictions, null_odds, options["output"])
    else:
        raise InputError(f"--task must be classification or squad, got {task!r}")


def _add_reading_options(parser):
    parser.add_argument("--text", help="the column of the text; without it, the one of the training file")
    parser.add_argument("--text-pair", help="the column of the second text, likewise")
    parser.add_argument("--max-seq-length", type=int, help="tokens at most; without it, as in training")
    parser.add_argument("--batch-size", type=int, default=32, help="texts computed at a time")
