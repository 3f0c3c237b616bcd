"""The command `bert-finetune tag` (what it does is in `downstream.tag`)."""

from downstream.commands import add_command, add_recipe_options, take_recipe


def add_tag(commands):
    parser = add_command(
        commands,
        "tag",
        _tag,
        "train a tagger of the entities in sentences",
        "Fine-tunes a BERT to tag the entities (names, products, …) in sentences of words. Files are CoNLL: UTF-8, a "
        "word a line in columns between tabs or spaces, a blank line between sentences; tags are in one of the "
        "schemes IOB1, IOB2 and BIOES. The run directory gets model/ (the best after any epoch by the validation F1 "
        "of entities), validation.conll and test.conll (the files with the predicted tag as one column more), "
        "results.json, metrics.jsonl, learning_curve.png, tensorboard/ and checkpoints/. The same command again "
        "continues a run that was interrupted, to the same bits; a finished run says so and does nothing. No line is "
        "skipped, and a sentence that is too long is read in windows, so that each word gets its tag.",
    )
    files = parser.add_argument_group("what to learn from")
    files.add_argument("--model", required=True, help="the model to start from: its directory, or that of a run")
    files.add_argument("--train", required=True, help="the training file")
    files.add_argument("--validation", required=True, help="the file that chooses the best epoch")
    files.add_argument("--test", help="a file that is measured once, with the best model")
    files.add_argument("--output", required=True, help="the run directory: a new one, or that of the same command")

    task = parser.add_argument_group("the task")
    task.add_argument("--word-column", type=int, default=1, help="the column of the word, from 1")
    task.add_argument("--tag-column", type=int, help="the column of the tag, from 1; without it, the last")
    task.add_argument("--scheme", help="IOB1, IOB2 or BIOES; without it, the one that the training file fits")
    task.add_argument("--max-seq-length", type=int, default=128, help="tokens of a window, [CLS], [SEP] included")
    task.add_argument("--new-head", action="store_true", help="begin with a fresh head where the model has one")
    add_recipe_options(parser)


def _tag(model, train, validation, test, output, **options):
    from downstream.tag import tag

    recipe = take_recipe(options)
    files = {"train": train, "validation": validation} | ({"test": test} if test else {})
    tag(output, model, files, recipe, **options)
