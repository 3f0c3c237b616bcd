"""Data sets by name, on toy data sets that a process of its own registers, makes and reads."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bert_tf import InputError
from pretraining.inputs import find_inputs
from pretraining.shards import PreparedCorpus
from pretraining.tfds_input import _without_marks
from tests.small_corpus import make_tokenizer

PROGRAM = """
import dataclasses
import sys
import numpy as np
import tensorflow_datasets as tfds
from bert_tf import InputError
from pretraining.__main__ import main
from pretraining.inputs import find_inputs

class ToyText(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"text": tfds.features.Text(), "number": np.int32}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, _):
        bad = [("k", {"text": b"a\\xff", "number": 1})]
        return {"train": self._generate_examples("abcdefgh"), "test": self._generate_examples("ij"), "bad": bad}

    def _generate_examples(self, letters):
        for letter in letters:
            text = f"the cat {letter}\\n\\n rain_NEWLINE_fell \\u00e9\\n_START_PARAGRAPH_"
            yield letter, {"text": text, "number": 1}

for name in sys.argv[3:]:
    name, _, field = name.partition("@")
    try:
        (one,), _ = find_inputs([name], field or "text")
        print(one, "|", one.characters > 100, "|", sorted(one.documents()), flush=True)
    except InputError as error:
        print(error, flush=True)
(one,), _ = find_inputs(["tfds:toy_text"])
print(next(dataclasses.replace(one, name="wiki40b/en/1.3.0").documents()).split("\\n"), flush=True)
sys.exit(main(["prepare", "tfds:toy_text", "tfds:toy_text#test", "--tokenizer", sys.argv[1], "--output", sys.argv[2],
               "--held-out", "0", "--sentence-per-line"]))
"""


def test_data_sets(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    tokenizer = make_tokenizer(tmp_path / "tokenizer")
    names = ["tfds:toy_text", "tfds:toy_text:1.0.0#test", "tfds:toy_text#train[:2]+test"]
    names += ["tfds:toy_text#none", "tfds:nowhere", "tfds:toy_text@number", "tfds:toy_text@body", "tfds:toy_text#bad"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tokenizer, tmp_path / "out", *names],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "TFDS_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [
        line for line in done.stdout.split("\n") if line.startswith(("tfds:", "cannot", "the field", "example", "["))
    ]

    def texts(letters):
        return str([f"the cat {letter}\nrain_NEWLINE_fell é\n_START_PARAGRAPH_" for letter in letters])

    assert lines[:2] == [
        f"tfds:toy_text/1.0.0#train | True | {texts('abcdefgh')}",
        f"tfds:toy_text/1.0.0#test | True | {texts('ij')}",
    ]
    assert lines[2].startswith("tfds:toy_text/1.0.0#train[:2]+test | True | ")
    assert lines[2].count("the cat") == 4
    assert lines[3].startswith("cannot read tfds:toy_text#none: Unknown split 'none'.")
    assert lines[4] == "cannot read tfds:nowhere: Dataset nowhere not found."
    for line, found in zip(lines[5:7], ("'number' is int32 and no text", "'body' is missing"), strict=True):
        assert line.startswith(
            f"the field {found} in example 1 of tfds:toy_text/1.0.0#train, which has 'number', 'text'"
        )
    assert lines[7] == (
        "example 1 of tfds:toy_text/1.0.0#bad is not UTF-8 text: byte 0xff at byte offset 1; convert it to UTF-8"
    )
    assert lines[8].startswith("['the cat ")
    assert lines[8].endswith("', 'rain', 'fell é']")  # Wikipedia's marks are taken out

    corpus = PreparedCorpus(tmp_path / "out")
    assert corpus.manifest["train"]["documents"] == 10
    assert corpus.manifest["train"]["sentences"] == 30
    assert corpus.manifest["settings"]["inputs"] == [
        {"name": "tfds:toy_text/1.0.0", "split": split, "examples": examples}
        for split, examples in (("train", 8), ("test", 2))
    ]


def test_marks_of_wiki40b():
    text = "_START_ARTICLE_\nTitle\n_START_SECTION_\nEarly\n_START_PARAGRAPH_\nOne._NEWLINE_Two _START_SECTION_."
    assert _without_marks(text) == "Title\nEarly\nOne.\nTwo _START_SECTION_."


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError, match=re.escape("the data set tfds:a needs a package that is not installed (")):
        find_inputs(["tfds:a"])
