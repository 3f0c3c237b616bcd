"""The command `bert-finetune distill` (what it does is in `downstream.distill`)."""

from bert_tf.errors import InputError
from downstream.commands import FILES, add_command, add_recipe_options, take_recipe


def add_distill(commands):
    parser = add_command(
        commands,
        "distill",
        _distill,
        "train a smaller classifier from a fine-tuned one",
        "Trains a student on the labels of a file and on what a fine-tuned teacher computes of its texts. The same "
        "student is trained on the labels alone first (without_distillation/), and the report has both beside the "
        "teacher, with sizes and speeds. The run directory is as in classify; the same command again continues a run "
        "that was interrupted, to the same bits. " + FILES,
    )
    files = parser.add_argument_group("what to learn from")
    files.add_argument("--teacher", required=True, help="the directory of a fine-tuned classifier, or of its run")
    files.add_argument(
        "--student",
        required=True,
        help="the directory of a model with the same vocabulary; or a size that begins fresh, such as bert-tiny; or a "
        "number of layers, that of the teacher's own to begin with",
    )
    files.add_argument("--train", required=True, help="the training file")
    files.add_argument("--validation", required=True, help="the file that chooses the best epoch")
    files.add_argument("--test", help="a file that is measured once, with the best model")
    files.add_argument("--output", required=True, help="the run directory: a new one, or that of the same command")
    files.add_argument("--text", help="the column of the text; without it, the one the teacher was trained on")
    files.add_argument("--text-pair", help="the column of the second text, likewise")
    files.add_argument("--label", help="the column of the label, likewise")
    files.add_argument("--max-seq-length", type=int, help="tokens at most; without it, as the teacher")
    files.add_argument("--new-head", action="store_true", help="begin with a fresh head where the student has one")

    losses = parser.add_argument_group("the losses")
    losses.add_argument(
        "--losses",
        nargs="+",
        default=["labels=0.5", "soft=0.5"],
        metavar="NAME=WEIGHT",
        help="labels: cross-entropy; soft: the teacher's probabilities at a temperature; hidden: hidden states, and "
        "attention: scores, layer by layer as TinyBERT; relations: those of queries, keys and values as MiniLMv2",
    )
    losses.add_argument("--temperature", type=float, default=2.0, help="of the soft labels")
    losses.add_argument(
        "--layers",
        type=int,
        nargs="+",
        help="for each layer of the student the one of the teacher it learns from, from 1; without it evenly spread",
    )
    losses.add_argument("--relation-layer", type=int, help="the teacher's layer of relations; without it the last")
    losses.add_argument("--relation-heads", type=int, help="parts of relations; without it the teacher's heads")
    add_recipe_options(parser)


def _distill(output, teacher, student, train, validation, test, losses, **options):
    from downstream.distill import distill
    from downstream.distillation_settings import DistillationSettings

    recipe = take_recipe(options)
    names = ("temperature", "layers", "relation_layer", "relation_heads")
    settings = {name: options.pop(name) for name in names}
    settings["layers"] = tuple(settings["layers"]) if settings["layers"] else None
    settings = DistillationSettings(losses=dict(map(_loss, losses)), **settings)
    files = {"train": train, "validation": validation} | ({"test": test} if test else {})
    distill(output, teacher, student, files, recipe, settings, **options)


def _loss(words):
    """ "soft=0.5" -> ("soft", 0.5)."""
    name, _, weight = words.partition("=")
    try:
        return name, float(weight)
    except ValueError:
        raise InputError(f"--losses takes NAME=WEIGHT, such as soft=0.5, got {words!r}") from None
