"""The command `bert-finetune glue` (what it does is in `downstream.glue`)."""

from downstream.commands import FILES, add_command, add_recipe_options, take_recipe


def add_glue(commands):
    parser = add_command(
        commands,
        "glue",
        _glue,
        "run a task of GLUE, SuperGLUE or CLUE, or all of GLUE",
        "Fine-tunes a BERT on a task: CoLA, SST-2, MRPC, STS-B, QQP, MNLI, QNLI, RTE, WNLI (AX is answered "
        "with MNLI); BoolQ, WiC; AFQMC, TNEWS. `all`: those of GLUE whose files are there. Prints the official metrics "
        "beside the published ones, and writes the answers to the test files as the zip that the leaderboard takes. "
        "The runs are OUTPUT/TASK/seed-N. " + FILES,
    )
    parser.add_argument("task", metavar="TASK", help="a task of the table, or all")
    parser.add_argument(
        "--data-dir",
        required=True,
        help="the folder with CoLA/train.tsv and so on; or tfds: (each task by its name in TensorFlow Datasets), or "
        "tfds:NAME for one task, tfds:glue/sst2 say",
    )
    parser.add_argument("--tfds-dir", help="where TensorFlow Datasets keeps its data, if not in the usual place")
    parser.add_argument("--model", required=True, help="the model to start from: its directory, or that of a run")
    parser.add_argument(
        "--output", required=True, help="the folder for all runs: a new one, or that of the same command"
    )
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds; median and spread are printed")
    parser.add_argument(
        "--from-mnli", action="store_true", help="begin MRPC, STS-B and RTE from OUTPUT/MNLI/seed-N, without its head"
    )
    parser.add_argument("--max-seq-length", type=int, help="tokens of a text or pair; without it 128, for BoolQ 256")
    add_recipe_options(parser)


def _glue(task, data_dir, model, output, seeds, from_mnli, max_seq_length, tfds_dir, **options):
    from downstream.glue import glue

    glue(
        task,
        data_dir,
        model,
        output,
        take_recipe(options),
        seeds=seeds,
        from_mnli=from_mnli,
        max_seq_length=max_seq_length,
        tfds_dir=tfds_dir,
    )
