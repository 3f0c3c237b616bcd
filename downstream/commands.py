"""What the commands of `bert-finetune` share: how one is added, what is said about files, the options of a recipe."""

import argparse
import dataclasses
from pathlib import Path

from bert_tf.errors import InputError

FILES = (
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


def add_command(commands, name, run, help_text, description):
    parser = commands.add_parser(
        name, help=help_text, description=description, formatter_class=_Formatter, allow_abbrev=False
    )
    parser.set_defaults(run=run)
    return parser


def check_output(output, inputs):
    """Refuses an output file that would replace one of the files that are read; both are names, or None.

    Raises:
        InputError: they are one file, by whatever name.
    """
    if output is None:
        return
    for path in inputs:
        if path is not None and Path(path).resolve() == Path(output).resolve():
            raise InputError(f"--output is the input {path}; choose another file")


def add_recipe_options(parser):
    """One option for each field of `downstream.train.Recipe`."""
    recipe = parser.add_argument_group("the recipe")
    recipe.add_argument("--epochs", type=int, default=3, help="times through the training file")
    recipe.add_argument("--batch-size", type=int, default=32, help="examples of one update")
    recipe.add_argument("--accumulation", type=int, default=1, help="parts a batch is computed in, for less memory")
    recipe.add_argument(
        "--learning-rate",
        type=float,
        help="the peak rate; without it 5e-5, and 5e-5 x 768 / hidden_size for models narrower than 384, that is 3e-4 "
        "for BERT-tiny",
    )
    recipe.add_argument("--warmup-share", type=float, default=0.1, help="part of the steps over which the rate rises")
    recipe.add_argument("--weight-decay", type=float, default=0.01, help="of kernels and embeddings")
    recipe.add_argument("--bias-correction", action="store_true", help="correct Adam's moments as PyTorch does")
    recipe.add_argument("--clip-norm", type=float, default=1.0, help="largest global norm of the gradient")
    recipe.add_argument("--dropout", type=float, help="every dropout probability, in place of the model's own")
    recipe.add_argument("--layer-decay", type=float, default=1.0, help="a layer's rate as a part of the one's above")
    recipe.add_argument("--freeze-layers", type=int, help="do not train the embeddings and so many of the first layers")
    recipe.add_argument(
        "--reinit-layers", type=int, default=0, help="top layers to begin fresh, and with any the pooler"
    )
    recipe.add_argument("--patience", type=int, help="end after so many epochs without a better validation metric")
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


def take_recipe(options):
    """The `Recipe` of parsed arguments, whose fields are taken out of `options`."""
    from downstream.train import Recipe

    return Recipe(**{field.name: options.pop(field.name) for field in dataclasses.fields(Recipe)})
