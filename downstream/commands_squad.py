"""The command `bert-finetune squad` (what it does is in `downstream.squad`)."""

from downstream.commands import add_command, add_recipe_options, take_recipe


def add_squad(commands):
    parser = add_command(
        commands,
        "squad",
        _squad,
        "train a model that answers questions from a text",
        "Fine-tunes a BERT to find the answers to questions in their contexts (SQuAD v1.1 and v2.0 and files like "
        "them). A context that is too long is read in windows. The run directory gets model/ (the best after any epoch "
        "by the validation F1), predictions.json, n_best.json, null_odds.json (v2.0), results.json, metrics.jsonl, "
        "learning_curve.png, tensorboard/ and checkpoints/. The same command again continues a run that was "
        "interrupted, to the same bits; a finished run says so and does nothing. No question is skipped: one whose "
        "answer is not in its context at its answer_start stops the command.",
    )
    files = parser.add_argument_group("what to learn from")
    files.add_argument("--model", required=True, help="the model to start from: its directory, or that of a run")
    files.add_argument("--train", required=True, help="the training file, JSON; of several answers the first is learnt")
    files.add_argument("--validation", required=True, help="the file that chooses the best epoch, and the threshold")
    files.add_argument("--output", required=True, help="the run directory: a new one, or that of the same command")

    task = parser.add_argument_group("the task")
    task.add_argument("--version-2", action="store_true", help="questions may have no answer, as in SQuAD v2.0")
    task.add_argument("--max-seq-length", type=int, default=384, help="tokens of question and window, [CLS], [SEP] too")
    task.add_argument("--doc-stride", type=int, default=128, help="tokens from the start of a window to the next one")
    task.add_argument("--max-query-length", type=int, default=64, help="tokens of a question; longer ones are cut")
    task.add_argument("--max-answer-length", type=int, default=30, help="tokens of an answer at most")
    task.add_argument("--n-best", type=int, default=20, help="different answers of a question in n_best.json")
    task.add_argument("--new-head", action="store_true", help="begin with a fresh head where the model has one")
    add_recipe_options(parser)


def _squad(model, train, validation, output, version_2, new_head, **options):
    from downstream.squad import squad
    from downstream.squad_answers import AnswerSettings
    from downstream.squad_windows import WindowSettings

    recipe = take_recipe(options)
    answers = AnswerSettings(options.pop("max_answer_length"), options.pop("n_best"))
    squad(
        output,
        model,
        {"train": train, "validation": validation},
        recipe,
        version_2=version_2,
        windows=WindowSettings(**options),
        answers=answers,
        new_head=new_head,
    )
