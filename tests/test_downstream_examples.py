"""Reading .tsv, .csv and .jsonl: what comes out, and the sentence for each kind of bad input."""

import re

import numpy as np
import pytest

from bert_tf import InputError
from downstream.examples import read_columns, read_examples
from downstream.labels import count_labels, encode, find_labels
from downstream.tasks import Task


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refuses(message):
    """The error's whole text ends in `message`, which names what is wrong and where."""
    return pytest.raises(InputError, match=re.escape(message) + "$")


# ------------------------------------------------------------------------------------------------- what is read


def test_a_tsv_has_no_quoting(tmp_path):
    # A quote is a character like any other, also one that is never closed; CRLF and LF both end a line.
    path = written(tmp_path, "a.tsv", 'text\tlabel\n"quoted"\t1\r\nan "open quote\t0\n')
    assert read_columns(path, ["label", "text"]) == (
        [2, 3],
        {"label": ["1", "0"], "text": ['"quoted"', 'an "open quote']},
    )


def test_a_csv_has_quotes_and_counts_physical_lines(tmp_path):
    # The first field spans lines 2 and 3, so the second row begins on line 4.
    path = written(tmp_path, "a.csv", 'text,label\n"two\nlines, and a ""quote""",1\nplain,0\n')
    assert read_columns(path, ["text", "label"]) == (
        [2, 4],
        {"text": ['two\nlines, and a "quote"', "plain"], "label": ["1", "0"]},
    )


def test_a_jsonl_keeps_json_values(tmp_path):
    path = written(tmp_path, "a.jsonl", '{"label": 1, "text": "a\\tb"}\n{"text": "c", "label": ["x"], "more": null}')
    assert read_columns(path, ["text", "label"]) == ([1, 2], {"text": ["a\tb", "c"], "label": [1, ["x"]]})


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    path = written(tmp_path, "a.tsv", b"\xef\xbb\xbftext\tlabel\nx\t1\n")
    assert read_columns(path, ["text"]) == ([2], {"text": ["x"]})


def test_other_line_separators_stay_in_the_text(tmp_path):
    # str.splitlines would cut at U+2028 and U+0085; a .tsv file is cut at LF alone.
    path = written(tmp_path, "a.tsv", "text\nx\u2028y\u0085z\n")
    assert read_columns(path, ["text"]) == ([2], {"text": ["x\u2028y\u0085z"]})


def test_a_header_may_come_from_the_task(tmp_path):
    # CoLA's files have no header: the first line is a row.
    path = written(tmp_path, "a.tsv", "gj04\t1\t\tThe sailors rode.\n")
    task = Task(text="sentence", label="acceptable", header=("source", "acceptable", "star", "sentence"))
    examples = read_examples(path, task)
    assert (examples.texts, examples.labels, examples.where(0)) == (["The sailors rode."], ["1"], f"{path}, line 1")


def test_pairs_keep_their_order(tmp_path):
    path = written(tmp_path, "a.tsv", "second\tfirst\nB\tA\n")
    examples = read_examples(path, Task(text="first", text_pair="second"), with_labels=False)
    assert (examples.texts, examples.pairs, examples.labels) == (["A"], ["B"], None)
    assert examples.contents() == [("A", "B")]


def test_a_long_field_of_a_csv_is_read(tmp_path):
    long = "word " * 40_000  # 200,000 characters; the csv module's own limit is 131,072
    path = written(tmp_path, "a.csv", f"text\n{long}\n")
    assert read_columns(path, ["text"])[1] == {"text": [long]}


# ------------------------------------------------------------------------------------------------- what is refused


def test_bad_tables(tmp_path):
    path = written(tmp_path, "a.tsv", "text\tlabel\nx\t1\ny\t1\tmore\n")
    with refuses(
        f"{path}, line 3: expected 2 columns (text, label), got 3; a .tsv has no quoting: a text holds no tab and no "
        "line break"
    ):
        read_columns(path, ["text"])
    path = written(tmp_path, "a.csv", 'text,label\n"x\ny",1\nz\n')
    with refuses(f"{path}, line 4: expected 2 columns (text, label), got 1"):
        read_columns(path, ["text"])
    path = written(tmp_path, "b.csv", 'text,label\nx,1\n"never closed,1\n')
    with pytest.raises(InputError, match=re.escape(f"{path}, line 3: ") + ".*quoted, its quotes doubled$"):
        read_columns(path, ["text"])
    path = written(tmp_path, "b.tsv", "text\ttext\nx\t1\n")
    with refuses(f"{path}, line 1: two columns have the same name in text, text"):
        read_columns(path, ["text"])


def test_rows_of_another_width_are_left_out_where_that_is_asked_for(tmp_path, capsys):
    path = written(tmp_path, "a.tsv", "text\tlabel\nx\t1\ny\nz\t1\tmore\nw\t2\n")
    assert read_columns(path, ["text"], leave_out_ragged=True) == ([2, 5], {"text": ["x", "w"]})
    message = f"{path}: 2 rows left out, whose number of columns is not the header's: lines 3, 4\n"
    assert capsys.readouterr().out == message
    path = written(tmp_path, "b.tsv", "text\tlabel\nx\n")
    with refuses(f"{path} has no rows; expected a header line and then rows"):
        read_columns(path, ["text"], leave_out_ragged=True)


def test_a_missing_column_is_told_the_columns_there(tmp_path):
    path = written(tmp_path, "a.tsv", "sentence\tlabel\nx\t1\n")
    with refuses(f"{path} has no column 'text'; its columns are 'sentence', 'label'"):
        read_columns(path, ["text"])
    path = written(tmp_path, "a.jsonl", '{"text": "x"}\n{"txt": "y"}\n')
    with refuses(f"{path}, line 2, has no column 'text'; its columns are 'txt'"):
        read_columns(path, ["text"])


@pytest.mark.parametrize(
    ("name", "content"), [("a.tsv", ""), ("a.tsv", "text\tlabel\n"), ("a.csv", "text,label\n"), ("a.csv", "")]
)
def test_no_rows(tmp_path, name, content):
    path = written(tmp_path, name, content)
    with refuses(f"{path} has no rows; expected a header line and then rows"):
        read_columns(path, ["text"])


def test_bad_files(tmp_path):
    path = written(tmp_path, "a.jsonl", "")
    with refuses(f"{path} has no rows; expected rows"):
        read_columns(path, ["text"])
    path = written(tmp_path, "a.tsv", b"text\ngood\nbad \xff byte\n")  # 5 + 5 + 4 bytes before it
    with refuses(f"{path} is not UTF-8 at byte offset 14; convert the file to UTF-8"):
        read_columns(path, ["text"])
    with refuses(f"{tmp_path / 'none.tsv'} does not exist; expected a .tsv, .csv or .jsonl file"):
        read_columns(tmp_path / "none.tsv", ["text"])
    (tmp_path / "folder.tsv").mkdir()
    with refuses(f"{tmp_path / 'folder.tsv'} is a folder; expected a .tsv, .csv or .jsonl file"):
        read_columns(tmp_path / "folder.tsv", ["text"])
    with refuses(f"{path / 'b.tsv'} cannot be read: Not a directory; expected a .tsv, .csv or .jsonl file"):
        read_columns(path / "b.tsv", ["text"])
    with refuses(
        f"{tmp_path / 'a.txt'} ends in '.txt'; expected .tsv (tabs, no quoting), .csv (commas, quotes) or .jsonl (a "
        "JSON object a line)"
    ):
        read_columns(tmp_path / "a.txt", ["text"])


def test_bad_json(tmp_path):
    path = written(tmp_path, "a.jsonl", '{"text": "x"}\n{"text": }\n')
    with refuses(f"{path}, line 2: expected a JSON object, got '{{\"text\": }}' (Expecting value)"):
        read_columns(path, ["text"])
    path = written(tmp_path, "a.jsonl", '["x"]\n')
    with refuses(f"{path}, line 1: expected a JSON object, got '[\"x\"]'"):
        read_columns(path, ["text"])
    for line in ('{"text": ' + "9" * 5000 + "}", "[" * 100_000):  # beyond what Python reads
        path = written(tmp_path, "a.jsonl", f'{{"text": "x"}}\n{line}\n')
        with pytest.raises(InputError, match=re.escape(f"{path}, line 2: expected a JSON object, got '{line[:40]}' (")):
            read_columns(path, ["text"])


def test_empty_texts_and_texts_that_are_none(tmp_path):
    path = written(tmp_path, "a.tsv", "text\tlabel\nx\t1\n \t1\n")
    with refuses(f"{path}, line 3: 'text' is empty; give it a text or remove the row"):
        read_examples(path, Task(text="text", label="label"))
    path = written(tmp_path, "b.tsv", "text\tpair\nx\t\n")
    with refuses(f"{path}, line 2: 'pair' is empty; give it a text or remove the row"):
        read_examples(path, Task(text="text", text_pair="pair"), with_labels=False)
    path = written(tmp_path, "a.jsonl", '{"text": 7}\n')
    with refuses(f"{path}, line 1: 'text' must be a string, got 7"):
        read_examples(path, Task(text="text"), with_labels=False)
    path = written(tmp_path, "a.jsonl", '{"text": "a"}\n{"text": "no \\ud83d"}\n')
    with refuses(f"{path}, line 2: 'text' has a lone surrogate, U+D83D, at character 3; correct the text"):
        read_examples(path, Task(text="text"), with_labels=False)


# ---------------------------------------------------------------------------------------------------------- labels


def labelled(folder, cells, task):
    rows = "".join(f'{{"t": "x", "l": {cell}}}\n' for cell in cells)
    return read_examples(written(folder, "l.jsonl", rows), task)


SINGLE = Task(text="t", label="l")
SEVERAL = Task(text="t", label="l", problem_type="multi_label_classification", label_separator="|")
NUMBER = Task(text="t", label="l", problem_type="regression")


def test_labels_are_found_in_numeric_order_or_by_code_points(tmp_path):
    assert find_labels(labelled(tmp_path, ['"10"', '"9"', "-1", '" 9 "'], SINGLE), SINGLE) == ("-1", "9", "10")
    assert find_labels(labelled(tmp_path, ['"10"', '"9"', "true"], SINGLE), SINGLE) == ("10", "9", "true")


def test_single_labels_become_their_numbers(tmp_path):
    examples = labelled(tmp_path, ['"b"', '"c"', '"b"'], SINGLE)
    targets = encode(examples, SINGLE, ("a", "b", "c"))
    assert targets.dtype == np.int32
    assert targets.tolist() == [1, 2, 1]
    assert count_labels(targets, SINGLE, ("a", "b", "c")) == {"a": 0, "b": 2, "c": 1}


def test_several_labels_become_rows(tmp_path):
    examples = labelled(tmp_path, ['"a|c"', '""', '["b", "c"]'], SEVERAL)  # an empty cell: no label
    assert find_labels(examples, SEVERAL) == ("a", "b", "c")
    targets = encode(examples, SEVERAL, ("a", "b", "c"))
    assert targets.dtype == np.float32
    assert targets.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 1]]
    assert count_labels(targets, SEVERAL, ("a", "b", "c")) == {"a": 1, "b": 1, "c": 2}


def test_numbers(tmp_path):
    examples = labelled(tmp_path, ["3", '"4.5"', "-1e-1"], NUMBER)
    assert find_labels(examples, NUMBER) == ("LABEL_0",)
    assert encode(examples, NUMBER, ("LABEL_0",)).tolist() == [3.0, 4.5, np.float32(-0.1)]


def test_bad_labels(tmp_path):
    path = tmp_path / "l.jsonl"
    with refuses(f"{path}, line 2: unknown label 'z'; the labels are a, b; correct the row, or train with this label"):
        encode(labelled(tmp_path, ['"a"', '"z"'], SINGLE), SINGLE, ("a", "b"))
    for cell in ('" "', "null"):
        with refuses(f"{path}, line 1: the label is empty; give the example one or remove the row"):
            encode(labelled(tmp_path, [cell], SINGLE), SINGLE, ("a", "b"))
    with refuses(f"{path}, line 1: the label is NaN; give the example one or remove the row"):
        find_labels(labelled(tmp_path, ["NaN", '"a"'], SINGLE), SINGLE)
    with refuses(f"{path}, line 1: 'l' must hold one label, got [\"a\"]"):
        encode(labelled(tmp_path, ['["a"]'], SINGLE), SINGLE, ("a", "b"))
    with refuses(f"{path}, line 1: the label 'a\\tb' has a tab or a line break in it; remove it"):
        find_labels(labelled(tmp_path, ['"a\\tb"'], SINGLE), SINGLE)
    with refuses(f"{path} has only the labels ['a'] in column 'l'; expected at least 2"):
        find_labels(labelled(tmp_path, ['"a"', '"a"'], SINGLE), SINGLE)
    with refuses(f"{path} has only the labels [] in column 'l'; expected at least 1"):
        find_labels(labelled(tmp_path, ['""'], SEVERAL), SEVERAL)
    beyond = (("1e39", "1e+39"), ('"1_0"', "1_0"), ("9" * 400, "9" * 400))  # of float32; as Python writes 10
    for cell, shown in (("NaN", "NaN"), ('"inf"', "inf"), ('"high"', "high"), ("true", "true"), ("null", ""), *beyond):
        with refuses(f"{path}, line 1: 'l' must be a finite number, got '{shown}'"):
            encode(labelled(tmp_path, [cell], NUMBER), NUMBER, ("LABEL_0",))


# ----------------------------------------------------------------------------------------------------------- tasks


def test_bad_tasks():
    with refuses(
        "problem_type must be one of single_label_classification, multi_label_classification, regression, got 'x'"
    ):
        Task(text="t", problem_type="x")
    with refuses(
        "the metric of regression must be one of pearson_spearman, pearson, spearman, negative_mean_squared_error, got "
        "'accuracy'"
    ):
        Task(text="t", problem_type="regression", metric="accuracy")
    with refuses("max_seq_length must be at least 3 ([CLS], a token, [SEP]), got 2"):
        Task(text="t", max_seq_length=2)
    with refuses("text, text pair and label must be different columns, got t, t"):
        Task(text="t", label="t")
    with refuses("regression has one number and no labels, got a, b; leave them out"):
        Task(text="t", problem_type="regression", labels=("a", "b"))
    with refuses("label_separator must be a character or more between the labels of a cell, got none"):
        Task(text="t", label_separator="")


def test_the_metric_that_chooses():
    assert Task(text="t").chosen_by == "accuracy"
    assert Task(text="t", metric="matthews").chosen_by == "matthews"
    assert SEVERAL.chosen_by == "micro_f1"
    assert NUMBER.chosen_by == "pearson_spearman"
