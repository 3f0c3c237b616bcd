"""The commands `bert-finetune outofscope` and `bert-finetune clinc150`, the data set made for it."""

from downstream.commands import FILES, add_command, check_output

SPLITS = ("train", "validation", "oos_validation", "test", "oos_test")


def add_outofscope(commands):
    parser = add_command(
        commands,
        "outofscope",
        _outofscope,
        "measure how well a classifier knows texts that belong to none of its classes",
        "Scores texts by the maximum softmax probability, the energy of the logits and the Mahalanobis distance of the "
        "pooled output from the classes of the training file; chooses the threshold of each score on validation; "
        "prints the accuracy in scope, the recall out of scope and the AUROC on test as JSON. " + FILES,
    )
    parser.add_argument("--model", required=True, help="the directory of a fine-tuned classifier, or of its run")
    parser.add_argument("--train", required=True, help="the training file, for the Mahalanobis distance")
    parser.add_argument("--validation", required=True, help="texts with labels, to choose the thresholds")
    parser.add_argument("--oos-validation", required=True, help="texts out of scope, to choose the thresholds")
    parser.add_argument("--test", required=True, help="texts with labels, to measure")
    parser.add_argument("--oos-test", required=True, help="texts out of scope, to measure; labels are not read")
    parser.add_argument("--text", help="the column of the text; without it, the one of the training")
    parser.add_argument("--label", help="the column of the label, likewise")
    parser.add_argument("--max-seq-length", type=int, help="tokens at most; without it, as in training")
    parser.add_argument("--batch-size", type=int, default=32, help="texts computed at a time")
    parser.add_argument("--output", help="a .json file to write the same figures to")


def _outofscope(model, output, **options):
    from downstream.out_of_scope import measure_out_of_scope

    files = {split: options.pop(split) for split in SPLITS}
    check_output(output, files.values())
    measure_out_of_scope(model, files, output, **options)


def add_clinc150(commands):
    parser = add_command(
        commands,
        "clinc150",
        _clinc150,
        "turn the data of CLINC150 into files for classify and outofscope",
        "Writes the six parts of CLINC150's data_full.json (train, validation and test of 150 intents, and the same "
        "of texts out of scope) as .jsonl files with the columns text and label.",
    )
    parser.add_argument("--data", required=True, help="data_full.json of github.com/clinc/oos-eval")
    parser.add_argument("--output", required=True, help="the folder to write the files to")


def _clinc150(data, output):
    from downstream.clinc150 import write_clinc150

    write_clinc150(data, output)
