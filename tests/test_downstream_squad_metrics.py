"""The official figures of SQuAD, against values worked out by hand, and `bert-finetune evaluate --task squad`."""

import json
import re

import numpy as np
import pytest

from bert_tf import InputError
from downstream.__main__ import main
from downstream.squad_evaluate import evaluate_predictions
from downstream.squad_metrics import best_threshold, f1, measure, normalize
from downstream.squad_questions import read_questions
from tests.squad_files import write_squad


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  U.S. and an 'apple'", "us and apple"),  # "." goes before words are divided, so U.S. is one word
        ("a-the-b", "atheb"),  # punctuation first: what is left is no article
        ("A\tTHE\nAn", ""),
        ("“Théâtre” anthem", "“théâtre” anthem"),  # only ASCII punctuation; an article inside a word stays
    ],
)
def test_normalize(text, expected):
    assert normalize(text) == expected


def test_f1_counts_shared_words_as_often_as_both_have_them():
    assert f1("in the old town", "old town hall", False) == pytest.approx(2 / 3)  # 2 shared of 3 and of 3
    assert f1("york york", "York", True) == pytest.approx(2 / 3)  # 1 shared of 2 and of 1
    assert f1("york york", "york, new york!", True) == pytest.approx(4 / 5)  # 2 shared of 2 and of 3
    assert f1("paris", "rome", True) == 0.0


def test_texts_of_which_nothing_is_left():
    # v1.1's script divides shared words by words and gives 0 where none is shared; v2.0's compares the two.
    assert [f1("the", "a", version_2) for version_2 in (False, True)] == [0.0, 1.0]
    assert [f1("the", "tower", version_2) for version_2 in (False, True)] == [0.0, 0.0]


CONTEXT = "The old town hall of Berne was built in 1406 by the town."


@pytest.fixture
def files(tmp_path):
    """(v1.1, v2.0): three questions; in v2.0 a fourth and a fifth without an answer."""
    qas = [("q1", "What?", ["old town hall", "The old town"]), ("q2", "When?", ["1406"]), ("q3", "The?", ["The"])]
    one = write_squad(tmp_path / "one.json", [(CONTEXT, qas)])
    two = write_squad(
        tmp_path / "two.json", [(CONTEXT, [*qas, ("q4", "Who?", []), ("q5", "Why?", [])])], version_2=True
    )
    return one, two


PREDICTIONS = {"q1": "Old Town!", "q2": "in 1406", "q3": "an", "q4": "", "q5": "the town"}


def test_version_1(files):
    # q1: equals "The old town" after normalising. q2: F1 2/3. q3: "an" and "The" both become "", so equal, but share no
    # word. q4, q5 are not in this file.
    figures = measure(read_questions(files[0]), PREDICTIONS)
    assert figures == {
        "exact": pytest.approx(100 * 2 / 3),
        "f1": pytest.approx(100 * (1 + 2 / 3 + 0) / 3),
        "total": 3,
    }


def test_version_2(files):
    # q3's only answer becomes "", so the right answer is none, and "an" is as good as none; yet it counts as a question
    # with an answer. q4 is right, q5 wrong.
    figures = measure(read_questions(files[1]), PREDICTIONS)
    assert figures == {
        "exact": pytest.approx(100 * 3 / 5),
        "f1": pytest.approx(100 * (1 + 2 / 3 + 1 + 1 + 0) / 5),
        "total": 5,
        "HasAns_exact": pytest.approx(100 * 2 / 3),
        "HasAns_f1": pytest.approx(100 * (1 + 2 / 3 + 1) / 3),
        "HasAns_total": 3,
        "NoAns_exact": 50.0,
        "NoAns_f1": 50.0,
        "NoAns_total": 2,
    }


def test_the_best_threshold_by_hand():
    # Nothing answered: the two questions without an answer are right, 2. The question of odds -3 scores 1: 3. That of
    # -1 has no answer, a text loses its 1: 2. That of 2 scores 0.5: 2.5. That of 5 loses 1: 1.5.
    scores, has_answer = np.array([0.5, 1.0, 0.0, 0.0]), np.array([True, True, False, False])
    odds, answered = np.array([2.0, -3.0, 5.0, -1.0]), np.ones(4, bool)
    assert best_threshold(scores, odds, has_answer, answered) == (75.0, -3.0)
    # With equal odds the questions at -3 and -1 are answered together: 2, then 2.5 is best.
    assert best_threshold(scores, np.array([2.0, -3.0, 5.0, -3.0]), has_answer, answered) == (62.5, 2.0)
    # Where "" was predicted, nothing is lost by letting it count.
    assert best_threshold(scores, odds, has_answer, np.array([True, True, False, False])) == (87.5, 2.0)
    # Answering nothing is best: a threshold below all odds.
    assert best_threshold(np.zeros(4), odds, has_answer, answered) == (50.0, -4.0)


def test_the_best_threshold_is_the_best_of_all():
    # 1,000 random cases, with equal odds and one-sided ones among them, against trying every threshold.
    rng = np.random.default_rng(0)
    for _ in range(1000):
        count = rng.integers(1, 12)
        has_answer = rng.random(count) < rng.choice([0.0, 0.5, 1.0])
        answered = rng.random(count) < 0.8
        scores = np.where(has_answer, rng.random(count).round(1) * answered, ~answered)
        odds = rng.integers(-3, 4, count).astype(float)

        def mean(threshold, odds=odds, scores=scores, has_answer=has_answer):
            return 100 * np.where(odds > threshold, ~has_answer, scores).mean()

        best, threshold = best_threshold(scores, odds, has_answer, answered)
        assert best == pytest.approx(max(mean(value) for value in [*odds, -10.0]))
        assert mean(threshold) == pytest.approx(best)


# --------------------------------------------------------------------------------------------------------- command


def written(path, values):
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def refuses(message):
    return pytest.raises(InputError, match=re.escape(message) + "$")


def test_evaluate_prints_and_writes_the_figures(files, tmp_path, capsys):
    predictions = written(tmp_path / "p.json", PREDICTIONS)
    odds = written(tmp_path / "o.json", {"q1": -2, "q2": -1.0, "q3": 0.5, "q4": 9, "q5": 0.0})
    figures = evaluate_predictions(files[1], predictions, odds, tmp_path / "figures.json")
    # By rising odds: 2 without an answer, + 1 for q1, + 2/3 (exact: 0) for q2, - 1 for q5, + 1 for q3, + 0 for q4.
    assert (figures["best_f1"], figures["best_f1_thresh"]) == (pytest.approx(100 * (3 + 2 / 3) / 5), -1.0)
    assert (figures["best_exact"], figures["best_exact_thresh"]) == (pytest.approx(60.0), -2.0)
    assert (figures["not_predicted"], figures["not_in_data"]) == (0, 0)
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out == (tmp_path / "figures.json").read_text()
    assert json.loads(printed.out) == figures


def test_what_is_missing_scores_nothing_and_is_counted(files, tmp_path, capsys):
    predictions = written(tmp_path / "p.json", {"q1": "old town hall", "q9": "x", "q8": "y"})
    figures = evaluate_predictions(files[1], predictions)
    assert figures["exact"] == 20.0  # q4 and q5 too: without a prediction nothing says that they have no answer
    assert capsys.readouterr().err == (
        f"{predictions}: 4 of 5 questions have no prediction and score 0; 2 predictions are for questions that are not "
        f"in {files[1]}\n"
    )


def test_bad_predictions(files, tmp_path):
    path = tmp_path / "p.json"
    with refuses(f"{path} does not exist; expected predictions, a JSON object of question ids and answers"):
        evaluate_predictions(files[0], path)
    with refuses(f"{path} holds a list; expected predictions, a JSON object of question ids and answers"):
        evaluate_predictions(files[0], written(path, ["a"]))
    with refuses(f'{path}, question q2: expected a string, "" for no answer, got null'):
        evaluate_predictions(files[0], written(path, {"q1": "a", "q2": None}))
    with refuses(f"{path} has no id of a question in {files[0]}; give the predictions for this file"):
        evaluate_predictions(files[0], written(path, {"x": "a"}))
    predictions, odds = written(path, PREDICTIONS), tmp_path / "o.json"
    with refuses(f"{files[0]} is v1.1, in which every question has an answer; leave out --null-odds"):
        evaluate_predictions(files[0], predictions, odds)
    with refuses(f"{odds}, question q1: expected a finite number, got NaN"):
        evaluate_predictions(files[1], predictions, written(odds, {"q1": float("nan")}))
    with refuses(f"{odds}, question q1: expected a finite number, got true"):
        evaluate_predictions(files[1], predictions, written(odds, {"q1": True}))
    with refuses(f"{odds} has no number for the question q2 of {files[1]}; give each question one"):
        evaluate_predictions(files[1], predictions, written(odds, {"q1": 1}))


def test_the_command(files, tmp_path, capsys):
    predictions = written(tmp_path / "p.json", PREDICTIONS)
    words = ["evaluate", "--task", "squad", "--data", str(files[1]), "--predictions", str(predictions)]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["exact"] == 60.0
    (tmp_path / "link.json").symlink_to(predictions)
    for more, message in [
        (["--model", "m"], "--task squad measures a file of --predictions; it takes no --model and no columns"),
        (["--text", "t"], "--task squad measures a file of --predictions; it takes no --model and no columns"),
        (["--output", str(files[1])], f"--output is the input {files[1]}; choose another file"),
        (["--output", str(tmp_path / "link.json")], f"--output is the input {predictions}; choose another file"),
        (["--task", "qa"], "--task must be classification or squad, got 'qa'"),
        (
            ["--task", "classification"],
            "--task classification measures a --model; --predictions and --null-odds are for squad",
        ),
    ]:
        assert main([*words, *more]) == 2
        assert capsys.readouterr().err == f"bert-finetune: error: {message}\n"
