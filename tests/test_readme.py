"""The README's commands and Python run as they stand there, at the size of a test, and print what it says."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

import bert_tf.__main__
import downstream.__main__
import pretraining.__main__
from tests.pretraining_runs import WORDS, make_text

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
MAINS = {
    "bert-pretrain": pretraining.__main__.main,
    "bert-finetune": downstream.__main__.main,
    "bert-tf": bert_tf.__main__.main,
}
# A later option takes the place of an earlier one.
SMALLER = {
    ("bert-pretrain", "vocab"): ["--vocab-size", "90"],
    ("bert-pretrain", "prepare"): ["--held-out", "0.2"],
    ("bert-pretrain", "train"): ["--batch-size", "4", "--steps", "4", "--warmup-share", "0.25"],
    ("bert-finetune", "classify"): ["--epochs", "1"],
}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def after_the_commands(tmp_path_factory):
    """A folder in which the README's commands ran, in their order: (the folder, what each printed)."""
    folder = tmp_path_factory.mktemp("readme")
    text = folder / "demo" / "text"
    text.mkdir(parents=True)
    make_text(text / "corpus.txt")
    for number, split in enumerate(("train", "validation", "test")):
        rows = [
            f"{'odd' if i % 2 else 'even'}\t{split} {' '.join(WORDS[i % 9 :: 4])}" for i in range(number, 12 + number)
        ]
        (text / f"{split}.tsv").write_text("package\ttext\n" + "\n".join(rows) + "\n", encoding="utf-8")
    printed = {}
    with contextlib.chdir(folder):
        for command in blocks("bash")[0].replace("\\\n", " ").splitlines():
            program, *arguments = shlex.split(command)
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                status = MAINS[program]([*arguments, *SMALLER.get((program, arguments[0]), [])])
            assert status == 0, command
            printed[program, arguments[0]] = output.getvalue()
    return folder, printed


def test_the_commands_run_and_leave_their_files(after_the_commands):
    folder, printed = after_the_commands
    for name in (
        "tokenizer/vocab.txt",
        "corpus/manifest.json",
        "bert/model/model.safetensors",
        "answers.tsv",
        "classifier/model/model.safetensors",
        "saved_model/saved_model.pb",
        "hugging_face/config.json",
    ):
        assert (folder / "my" / name).exists(), name
    assert printed["bert-tf", "fill-mask"].count("%") == 5
    assert "BertForSequenceClassification" in printed["bert-tf", "info"]
    assert len((folder / "my" / "answers.tsv").read_text().splitlines()) == 13


def test_every_command_of_the_package_is_in_the_table_and_in_the_commands():
    table = set(re.findall(r"^\| `(bert-[a-z]+ [a-z0-9-]+)` \|", README, flags=re.MULTILINE))
    lines = [*blocks("bash")[0].replace("\\\n", " ").splitlines(), *blocks("sh")[0].replace("\\\n", " ").splitlines()]
    assert {" ".join(shlex.split(line)[:2]) for line in lines} == table
    offered = set()
    for program, main in MAINS.items():
        helped = io.StringIO()
        with contextlib.redirect_stdout(helped), pytest.raises(SystemExit):
            main(["--help"])
        offered |= {
            f"{program} {name}" for name in re.findall(r"^    ([a-z0-9-]+)(?:  |$)", helped.getvalue(), re.MULTILINE)
        }
    assert offered == table


@pytest.mark.parametrize("line", blocks("sh")[0].replace("\\\n", " ").splitlines())
def test_commands_that_do_not_run_here_have_their_options(line, capsys):
    """All that they need and nothing else: the one thing refused is what is added here."""
    program, *arguments = shlex.split(line, comments=True)
    with pytest.raises(SystemExit):
        MAINS[program]([*arguments, "--no-such-option"])
    assert capsys.readouterr().err.endswith("unrecognized arguments: --no-such-option\n")


def test_the_python_prints_what_the_readme_says(after_the_commands):
    folder, _ = after_the_commands
    (code,) = blocks("python")
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    (expected,) = re.findall(r"^```python\n.*?^```\n\n```text\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
    # The parameters depend on the vocabulary, which is smaller here: 3,910 words of width 128 fewer.
    parameters = int(re.search(r"([\d,]+) parameters", expected).group(1).replace(",", "")) - 3910 * 128
    expected = re.sub(r"[\d,]+ parameters", f"{parameters:,} parameters", expected)
    assert printed.getvalue() == expected
