"""The command `bert-finetune classify` (what it does is in `downstream.classify`)."""

from bert_tf.errors import InputError
from downstream.commands import FILES, add_command, add_recipe_options, take_recipe


def add_classify(commands):
    parser = add_command(
        commands,
        "classify",
        _classify,
        "train a classifier of texts or of pairs of texts",
        "Fine-tunes a BERT to classify texts (or pairs of texts), or to give them a number. The run directory gets "
        "model/ (a Hugging Face directory: weights, tokenizer, labels), results.json, metrics.jsonl, "
        "learning_curve.png, tensorboard/ and checkpoints/. model/ is the best after any epoch by the validation "
        "metric. The same command again continues a run that was interrupted, to the same bits; a finished run says "
        "so and does nothing. " + FILES,
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
        "--class-weights",
        nargs="+",
        metavar="WEIGHT",
        help="what labels count in the training loss: balanced, or LABEL=WEIGHT for some of them",
    )
    task.add_argument(
        "--metric",
        help="the figure that chooses the best epoch: accuracy (the usual one), macro_f1 or matthews, for two "
        "labels also f1 (of the second) or accuracy_f1 (the mean of both); with several "
        "labels micro_f1 (usual), macro_f1 or exact_match; for regression pearson_spearman (usual), pearson, spearman "
        "or negative_mean_squared_error",
    )
    task.add_argument("--max-seq-length", type=int, default=128, help="tokens of a text or pair, [CLS], [SEP] included")
    task.add_argument("--new-head", action="store_true", help="begin with a fresh head where the model has one")
    add_recipe_options(parser)


def _classify(model, train, validation, test, output, new_head, **options):
    from downstream.classify import classify
    from downstream.examples import read_examples
    from downstream.tasks import Task

    recipe = take_recipe(options)
    options["labels"] = tuple(options["labels"]) if options["labels"] else None
    options["class_weights"] = read_class_weights(options["class_weights"])
    task = Task(**options)
    files = {"train": train, "validation": validation} | ({"test": test} if test else {})
    examples = {split: read_examples(path, task) for split, path in files.items()}
    classify(output, model, examples, task, recipe, new_head=new_head)


def read_class_weights(words):
    """ "balanced", {label: weight} or None, from `--class-weights balanced` or `--class-weights neg=2 pos=0.5`."""
    if not words:
        return None
    if words == ["balanced"]:
        return "balanced"
    weights = {}
    for word in words:
        label, equals, number = word.rpartition("=")
        try:
            weights[label] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise InputError(f"--class-weights takes balanced, or LABEL=WEIGHT for each label, got {word!r}")
    return weights
