"""`bert-finetune` and `python -m downstream`: classify, glue, squad, tag, summarize, distill, predict, evaluate, …"""

import argparse
import os
import sys

from bert_tf.errors import InputError
from downstream.commands_classify import add_classify
from downstream.commands_distill import add_distill
from downstream.commands_glue import add_glue
from downstream.commands_measure import add_evaluate, add_predict
from downstream.commands_outofscope import add_clinc150, add_outofscope
from downstream.commands_squad import add_squad
from downstream.commands_summarize import add_summarize
from downstream.commands_tag import add_tag

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

# As --help lists them; each is in a `commands_*.py`.
COMMANDS = (
    add_classify,
    add_glue,
    add_squad,
    add_tag,
    add_summarize,
    add_distill,
    add_predict,
    add_evaluate,
    add_outofscope,
    add_clinc150,
)


def main(argv=None):
    """Runs one command; returns the exit status: 0 done, 2 bad input (one sentence says what), 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="bert-finetune",
        description="Fine-tune a BERT and use it. Each command has its own --help.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for add in COMMANDS:
        add(commands)
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


if __name__ == "__main__":
    sys.exit(main())
