"""The command `bert-finetune summarize` (what it does is in `downstream.summarize`)."""

from downstream.commands import add_command, add_recipe_options, take_recipe


def add_summarize(commands):
    parser = add_command(
        commands,
        "summarize",
        _summarize,
        "train a model that picks the sentences of a summary",
        "Fine-tunes a BERT to choose the sentences of a document that make its summary (BERTSUM): a [CLS] before each "
        "sentence, layers between sentences, labels by a greedy oracle, no trigram twice. Files are .jsonl, a document "
        "with its summary a line (.csv and .tsv too). ROUGE-1, 2 and L (F1) are printed beside those of the first "
        "sentences and of the oracle. The run directory is as in tag, with validation.jsonl and test.jsonl, the "
        "summaries. The same command again continues a run that was interrupted, to the same bits. Needs the extra "
        "`summaries` (rouge-score).",
    )
    files = parser.add_argument_group("what to learn from")
    files.add_argument("--model", required=True, help="the model to start from: its directory, or that of a run")
    files.add_argument("--train", required=True, help="the training file")
    files.add_argument("--validation", required=True, help="the file that chooses the best epoch, by ROUGE-2")
    files.add_argument("--test", help="a file that is measured once, with the best model")
    files.add_argument("--output", required=True, help="the run directory: a new one, or that of the same command")

    task = parser.add_argument_group("the task")
    task.add_argument("--document", default="article", help="the column of the document")
    task.add_argument("--summary", default="summary", help="the column of its summary")
    task.add_argument(
        "--language", default="en", help="an ISO 639 code: the rules by which sentences are split and words counted"
    )
    task.add_argument("--sentences", type=int, default=3, help="how many make a summary")
    task.add_argument("--max-seq-length", type=int, default=512, help="tokens of a document that are read")
    task.add_argument("--num-summary-layers", type=int, default=2, help="layers between sentences")
    task.add_argument("--new-head", action="store_true", help="begin with fresh ones where the model has such layers")
    add_recipe_options(parser)


def _summarize(model, train, validation, test, output, **options):
    from downstream.summarize import summarize

    recipe = take_recipe(options)
    files = {"train": train, "validation": validation} | ({"test": test} if test else {})
    summarize(output, model, files, recipe, **options)
