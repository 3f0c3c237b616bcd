"""`bert-finetune glue`: the official files, row by row, at toy size; the table, the answers, TFDS, refusals."""

import dataclasses
import json
import re
import shutil
import zipfile

import numpy as np
import pytest
from keras import ops

import downstream.glue
from bert_tf import InputError
from downstream.__main__ import main
from downstream.examples import read_examples
from downstream.glue import glue, table_lines
from downstream.glue_tasks import GLUE, PUBLISHED, TABLE
from downstream.predict import FineTuned
from downstream.submission import answer_lines
from downstream.tfds_examples import read_tfds
from downstream.train import Recipe
from tests.downstream_toys import BAD, GOOD, PLAIN, write_toy_model

# What the official files look like: (file, its first lines, the texts, the pairs and the labels that come of them).
# Of CoLA a sentence that the source marks with *; of MRPC a quotation mark that begins a field and has no partner.
OFFICIAL = {
    "CoLA": ("train.tsv", "gj04\t0\t*\tThey drank the pub.\n", ["They drank the pub."], None, ["0"]),
    "SST-2": ("train.tsv", "sentence\tlabel\nno wit , \t0\n", ["no wit , "], None, ["0"]),
    "MRPC": (
        "train.tsv",
        '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\t" A\tB "\n',
        ['" A'],
        ['B "'],
        ["1"],
    ),
    "STS-B": (
        "train.tsv",
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
        "0\tg\tf\ty\t1\tn\tn\tA\tB\t3.800\n",
        ["A"],
        ["B"],
        ["3.800"],
    ),
    "QQP": ("train.tsv", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n5\t1\t2\tA\t\t0\n", ["A"], [""], ["0"]),
    "MNLI": (
        "dev_matched.tsv",
        "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\t"
        "sentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label\n"
        "0\t1\t1\tg\t(\t(\t(\t(\tA\tB\tneutral\tcontradiction\n",
        ["A"],
        ["B"],
        ["contradiction"],
    ),
    "QNLI": ("dev.tsv", "index\tquestion\tsentence\tlabel\n0\tA\tB\tentailment\n", ["A"], ["B"], ["entailment"]),
    "RTE": (
        "dev.tsv",
        "index\tsentence1\tsentence2\tlabel\n0\tA\tB\tnot_entailment\n",
        ["A"],
        ["B"],
        ["not_entailment"],
    ),
    "WNLI": ("dev.tsv", "index\tsentence1\tsentence2\tlabel\n0\tA\tB\t1\n", ["A"], ["B"], ["1"]),
    "BoolQ": (
        "val.jsonl",
        '{"question": "is it", "passage": "P", "idx": 0, "label": true}\n',
        ["P"],
        ["is it"],
        [True],
    ),
    "WiC": (
        "val.jsonl",
        '{"word": "bed", "sentence1": "A", "sentence2": "B", "idx": 0, "label": false, "start1": 0}\n',
        ["bed: A"],
        ["B"],
        [False],
    ),
    "AFQMC": ("dev.json", '{"sentence1": "双十一", "sentence2": "花呗", "label": "0"}\n', ["双十一"], ["花呗"], ["0"]),
    "TNEWS": ("dev.json", '{"label": "108", "label_desc": "news_edu", "sentence": "上课"}\n', ["上课"], None, ["108"]),
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_files(tmp_path, name):
    file, content, texts, pairs, labels = OFFICIAL[name]
    (tmp_path / file).write_text(content, encoding="utf-8")
    row = TABLE[name]
    assert file in {row.train, *row.validation.values()}
    examples = read_examples(tmp_path / file, row.task)
    assert (examples.texts, examples.pairs, examples.labels) == (texts, pairs, labels)


def test_the_table():
    assert set(OFFICIAL) | {"AX"} == set(TABLE)
    assert all(set(scores) == set(GLUE) - {"WNLI", "AX"} for scores in PUBLISHED.values())
    for scores in PUBLISHED.values():
        for name, values in scores.items():
            assert len(values) == len(TABLE[name].reported) * len(TABLE[name].validation), name
    # The leaderboard's file names.
    handed_in = {file for name in GLUE for file in TABLE[name].test}
    assert handed_in == set("CoLA SST-2 MRPC STS-B QQP MNLI-m MNLI-mm QNLI RTE WNLI AX".split())


# ----------------------------------------------------------------------------------------------------------- answers


def test_answers_of_a_class():
    logits = np.array([[2.0, 1, 0], [0, 1, 5]])
    assert answer_lines(TABLE["MNLI"], TABLE["MNLI"].task.labels, [0, 1], logits) == [
        "index\tprediction",
        "0\tentailment",
        "1\tcontradiction",
    ]
    assert answer_lines(TABLE["BoolQ"], ("false", "true"), [7], np.array([[0.0, 1.0]])) == [
        '{"idx": 7, "label": "true"}'
    ]
    assert answer_lines(TABLE["AFQMC"], ("0", "1"), [3], np.array([[1.0, 0.0]])) == ['{"id": 3, "label": "0"}']


def test_scores_are_cut_to_0_and_5():
    lines = answer_lines(TABLE["STS-B"], ("LABEL_0",), range(4), np.array([[-0.2], [2.3456], [5.0], [5.4]]))
    assert lines == ["index\tprediction", "0\t0.000", "1\t2.346", "2\t5.000", "3\t5.000"]


# ------------------------------------------------------------------------------------------------------------- a run


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """CoLA, MNLI, RTE and AX in their official forms: the label is said by a good or a bad word."""
    folder = tmp_path_factory.mktemp("glue")
    rng = np.random.default_rng(0)

    def text(label):
        return " ".join([*rng.choice(PLAIN, 3), rng.choice(GOOD if label else BAD)])

    def write(path, lines):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")

    for file, count in (("train", 64), ("dev", 24)):
        write(f"CoLA/{file}.tsv", [["s", str(i % 2), "", text(i % 2)] for i in range(count)])
        header = ["index", "sentence1", "sentence2", "label"]
        labels = TABLE["RTE"].task.labels
        write(f"RTE/{file}.tsv", [header, *([str(i), text(i % 2), text(1), labels[i % 2]] for i in range(count))])
    header = ["index", "sentence1", "sentence2", "gold_label"]
    labels = TABLE["MNLI"].task.labels
    for file, count in (("train", 48), ("dev_matched", 12), ("dev_mismatched", 18)):
        write(f"MNLI/{file}.tsv", [header, *([str(i), text(i % 2), text(1), labels[i % 3]] for i in range(count))])
    write("CoLA/test.tsv", [["index", "sentence"], ["0", "good"], ["1", "bad"], ["2", "awful film"]])
    for path in ("RTE/test.tsv", "MNLI/test_matched.tsv", "diagnostic/diagnostic.tsv"):
        write(path, [["index", "sentence1", "sentence2"], ["0", "good", "bad"], ["1", "a", "b"]])
    write_toy_model(folder / "model")
    return folder


RECIPE = ["--epochs", "2", "--learning-rate", "4e-3", "--max-seq-length", "40", "--max-shapes", "1"]


def words(data, task, output, *more):
    command = ["glue", task, "--data-dir", data, "--model", data / "model", "--output", output, *RECIPE, *more]
    return [str(word) for word in command]


@pytest.fixture(scope="module")
def all_of_it(data):
    assert main(words(data, "all", data / "all", "--from-mnli")) == 0
    return data / "all"


def test_all_runs_what_is_there(data, all_of_it, capsys):
    assert main(words(data, "all", all_of_it, "--from-mnli")) == 0  # finished runs are read, not made again
    printed = capsys.readouterr().out
    assert printed.count("holds a finished run; nothing to do") == 3
    assert f"SST-2: left out, {data / 'SST-2' / 'train.tsv'}, {data / 'SST-2' / 'dev.tsv'} not found" in printed
    summary = json.loads((all_of_it / "results.json").read_text())
    assert summary["seeds"] == [0]
    assert set(summary["metrics"]) == {"CoLA", "MNLI", "RTE"}
    assert set(summary["metrics"]["MNLI"]) == {"accuracy", "accuracy_mismatched"}
    run = json.loads((all_of_it / "CoLA" / "seed-0" / "results.json").read_text())
    assert summary["metrics"]["CoLA"]["matthews"]["median"] == run["metrics"]["validation_matthews"] > 0.3
    assert re.search(r"^CoLA +matthews +\d+\.\d +\d+\.\d to \d+\.\d +0\.0 +0\.0 +27\.8 +38\.0 +52\.1$", printed, re.M)


def test_rte_begins_from_mnli_without_its_head(all_of_it):
    results = json.loads((all_of_it / "RTE" / "seed-0" / "results.json").read_text())
    assert results["model"] == str(all_of_it / "MNLI" / "seed-0")
    assert results["labels"] == ["entailment", "not_entailment"]


def test_the_zip(all_of_it):
    with zipfile.ZipFile(all_of_it / "submission.zip") as archive:
        names = archive.namelist()
        files = {name: archive.read(name).decode().splitlines() for name in names}
    assert names == ["AX.tsv", "CoLA.tsv", "MNLI-m.tsv", "RTE.tsv"]  # what was there; MNLI-mm's file was not
    # Each answer is that of the model on the text alone; labels "0" and "1" are the classes 0 and 1.
    fine_tuned = FineTuned.open(all_of_it / "CoLA" / "seed-0")
    logits = fine_tuned.model(fine_tuned.tokenizer(["good", "bad", "awful film"]))["logits"]
    answers = ops.convert_to_numpy(logits).argmax(axis=1)
    assert files["CoLA.tsv"] == ["index\tprediction", *(f"{index}\t{answer}" for index, answer in enumerate(answers))]
    assert {line.split("\t")[1] for line in files["AX.tsv"][1:]} <= set(TABLE["MNLI"].task.labels)
    assert {line.split("\t")[1] for line in files["RTE.tsv"][1:]} <= set(TABLE["RTE"].task.labels)


def test_seeds_give_median_and_spread_and_the_best_answers(data, tmp_path, monkeypatch):
    scores = {3: 0.5, 4: 0.9, 5: 0.6}
    answering = []

    def classify(run, model, examples, task, recipe, *, new_head):
        assert run == tmp_path / "CoLA" / f"seed-{recipe.seed}"
        return {"metrics": {"validation_matthews": scores[recipe.seed]}}

    monkeypatch.setattr(downstream.glue, "classify", classify)
    monkeypatch.setattr(downstream.glue, "_answers", lambda data, row, run: answering.append(run) or {})
    summary = glue("CoLA", data, data / "model", tmp_path, Recipe(seed=3), seeds=3)
    assert summary == {
        "metrics": {"CoLA": {"matthews": {"median": 0.6, "lowest": 0.5, "highest": 0.9}}},
        "seeds": [3, 4, 5],
    }
    assert answering == [tmp_path / "CoLA" / "seed-4"]


def test_the_table_by_hand():
    one = {"median": 0.8125, "lowest": 0.8, "highest": 0.825}
    lines = table_lines({"MRPC": {"f1": one, "accuracy": one}, "WNLI": {"accuracy": one}})
    assert [line.split() for line in lines[:4]] == [
        "task metric median spread Tiny Mini Small Medium Base".split(),
        "MRPC f1 81.2 80.0 to 82.5 81.1 81.1 83.4 86.6 88.9".split(),
        "MRPC accuracy 81.2 80.0 to 82.5 71.1 71.8 76.2 81.6".split(),
        "WNLI accuracy 81.2 80.0 to 82.5".split(),
    ]


# -------------------------------------------------------------------------------------------------------------- TFDS


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
    """A data set in the form of glue/sst2: sentences with labels, and some without, not in the order of `idx`."""
    tfds = pytest.importorskip("tensorflow_datasets")
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("tfds")
    features = tfds.features.FeaturesDict(
        {
            "sentence": tfds.features.Text(),
            "label": tfds.features.ClassLabel(names=["negative", "positive"]),
            "idx": tf.int32,
        }
    )

    def rows(*examples):
        texts, labels, numbers = zip(*examples, strict=True)
        return tf.data.Dataset.from_tensor_slices(
            {"sentence": list(texts), "label": list(labels), "idx": list(numbers)}
        )

    tfds.dataset_builders.store_as_tfds_dataset(
        "toy_sst2",
        "1.0.0",
        features=features,
        split_datasets={
            "train": rows(("good", 1, 2), ("bad", 0, 0), ("gréat", 1, 1)),
            "test": rows(("film", -1, 2), ("no film", -1, 0), ("a film", -1, 1)),
        },
        data_dir=str(folder),
        config="toy",
        description="toy",
        disable_shuffling=True,
    )
    return folder


def test_tfds_gives_the_labels_of_the_files(tfds_dir):
    examples = read_tfds("toy_sst2/toy", "train", TABLE["SST-2"].task, data_dir=tfds_dir)
    assert sorted(zip(examples.texts, examples.labels, strict=True)) == [("bad", "0"), ("good", "1"), ("gréat", "1")]
    assert examples.lines == [1, 2, 3]
    unlabelled = read_tfds("toy_sst2/toy", "test", TABLE["SST-2"].test_task(), with_labels=False, data_dir=tfds_dir)
    assert (unlabelled.texts, unlabelled.labels) == (["film", "no film", "a film"], None)


def test_answers_to_tfds_have_the_numbers_of_the_official_file(tfds_dir):
    """TFDS stores rows in an order of its own."""
    data = downstream.glue._Data("tfds:toy_sst2/toy", tfds_dir, None)
    examples, numbers = data.read_test(TABLE["SST-2"], "test.tsv")
    assert (examples.texts, numbers) == (["no film", "a film", "film"], [0, 1, 2])
    with pytest.raises(InputError, match=re.escape("tfds:toy_sst2/toy[test] has no feature 'id'; its features are ")):
        data.read_test(dataclasses.replace(TABLE["SST-2"], index="id"), "test.tsv")


def test_a_name_in_tfds_is_that_of_the_task_asked_for():
    assert downstream.glue._chosen("MNLI", downstream.glue._Data("tfds:", None, None)) == ["MNLI", "AX"]
    assert downstream.glue._chosen("MNLI", downstream.glue._Data("tfds:glue/mnli", None, None)) == ["MNLI"]
    for row in TABLE.values():
        assert {row.train, *row.validation.values(), *row.test.values()} - {None} <= set(row.tfds_splits)


@pytest.mark.parametrize(
    ("name", "split", "columns", "message"),
    [
        (
            "toy_sst2/toy",
            "test",
            {},
            "tfds:toy_sst2/toy[test], example 1: has no label (it is -1); it can be answered, not measured",
        ),
        ("toy_sst2/toy", "dev", {}, "tfds:toy_sst2/toy[dev]: no such split; there are "),
        ("toy_sst2/toy", "train", {"label": "class"}, "tfds:toy_sst2/toy[train] has no feature 'class'; its features "),
        ("no_such_set", "train", {}, "TensorFlow Datasets cannot give no_such_set: "),
    ],
)
def test_tfds_refusals(tfds_dir, name, split, columns, message):
    with pytest.raises(InputError, match=re.escape(message)):
        read_tfds(name, split, TABLE["SST-2"].task, columns, data_dir=tfds_dir)


def test_tfds_not_installed(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorflow_datasets", None)
    message = "tfds:glue/sst2 needs TensorFlow Datasets; install the extra with pip install 'bert-tf[datasets]'"
    with pytest.raises(InputError, match=re.escape(message) + "$"):
        read_tfds("glue/sst2", "train", TABLE["SST-2"].task)


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("task", "more", "message"),
    [
        ("SST2", [], f"unknown task 'SST2'; the tasks are {', '.join(TABLE)} and all"),
        ("AX", [], "AX has no training file: it is answered by MNLI; run that"),
        ("CoLA", ["--seeds", 0], "seeds must be at least 1, got 0"),
        (
            "all",
            ["--data-dir", "tfds:glue/cola"],
            "glue all needs a data set for each task; give tfds: without 'glue/cola'",
        ),
        (
            "AFQMC",
            ["--data-dir", "tfds:"],
            "AFQMC is not in TensorFlow Datasets under a name of the table; give tfds:NAME",
        ),
    ],
)
def test_refusals(data, tmp_path, capsys, task, more, message):
    assert main(words(data, task, tmp_path / "run", *more)) == 2
    assert capsys.readouterr().err == f"bert-finetune: error: {message}\n"


def test_files_that_are_wrong(data, tmp_path, capsys):
    def refusal(content, *, file="dev.tsv"):
        folder = tmp_path / "STS-B"
        folder.mkdir(exist_ok=True)
        header = OFFICIAL["STS-B"][1].splitlines()[0]
        row = "0\tg\tf\ty\t1\tn\tn\tA\tB\t"
        for name in ("train.tsv", "dev.tsv"):
            text = f"{header}\n{row}1.5\n{row}2.5\n"
            (folder / name).write_text(text if name != file else content(header, row))
        assert main(words(data, "STS-B", tmp_path / "run", "--data-dir", tmp_path)) == 2
        return capsys.readouterr().err.removeprefix(f"bert-finetune: error: {folder / file}").strip()

    assert (
        refusal(lambda header, row: f"{header}\n{row}nan\n") == ", line 2: 'score' must be a finite number, got 'nan'"
    )
    assert refusal(lambda header, row: f"{header}\n{row}1\textra\n").startswith(
        ", line 2: expected 10 columns (index, "
    )
    without = refusal(lambda header, row: header.removesuffix("\tscore") + f"\n{row[:-1]}\n")
    assert without.startswith("has no column 'score'; its columns are 'index', ")
    assert without.endswith(
        "; without labels a file can be answered by predict, but nothing is learnt from it or measured"
    )
    assert not (tmp_path / "run").exists()


def test_a_bad_row_of_the_last_task_is_named_before_the_first_is_trained(data, tmp_path, capsys):
    shutil.copytree(data / "CoLA", tmp_path / "CoLA")
    (tmp_path / "RTE").mkdir()
    for name in ("train", "dev"):
        (tmp_path / "RTE" / f"{name}.tsv").write_text("index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n")
    (tmp_path / "RTE" / "test.tsv").write_text("index\tsentence1\tsentence2\n0\ta\t \n")
    assert main(words(data, "all", tmp_path / "run", "--data-dir", tmp_path)) == 2
    assert f"{tmp_path / 'RTE' / 'test.tsv'}, line 2: 'sentence2' is empty" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_cut_rows_of_qqp_are_left_out(tmp_path, capsys):
    """Of its train.tsv; a .tsv of any other task that has such a row is refused."""
    for name in ("QQP", "QNLI"):
        (tmp_path / name).mkdir()
    header = OFFICIAL["QQP"][1].splitlines()[0]
    content = f"{header}\n5\t1\t2\tA\tB\t0\n6\t1\t2\tIs this\n\tcut?\t1\n7\t1\t2\tA\tC\t1\n"
    (tmp_path / "QQP" / "train.tsv").write_text(content)
    (tmp_path / "QNLI" / "train.tsv").write_text("index\tquestion\tsentence\tlabel\n0\tA\n")
    data = downstream.glue._Data(tmp_path, None, None)
    assert data.read(TABLE["QQP"], "train.tsv").labels == ["0", "1"]
    assert "2 rows left out, whose number of columns is not the header's: lines 3, 4" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"train\.tsv, line 2: expected 4 columns"):
        data.read(TABLE["QNLI"], "train.tsv")


def test_no_task_is_there(data, tmp_path, capsys):
    assert main(words(data, "all", tmp_path / "run", "--data-dir", tmp_path)) == 2
    told = f"{tmp_path} has the files of no task of GLUE; expected CoLA/train.tsv and so on"
    assert told in capsys.readouterr().err
