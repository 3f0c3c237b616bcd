"""SQuAD files, windows and answers, against values worked out by hand."""

import json
import re

import numpy as np
import pytest

from bert_tf import BertTokenizer, InputError
from downstream.features import Features
from downstream.squad_answers import AnswerSettings, best_spans, find_answers
from downstream.squad_questions import Answer, read_questions
from downstream.squad_windows import Windows, WindowSettings, make_windows
from downstream.windows import best_windows, cut
from tests.downstream_toys import VOCABULARY
from tests.squad_files import write_squad

CONTEXT = "A good film, it was a sad day."


def refuses(message):
    return pytest.raises(InputError, match=re.escape(message) + "$")


# ------------------------------------------------------------------------------------------------------------- files


def test_what_is_read(tmp_path):
    path = write_squad(tmp_path / "a.json", [("x y", [("1", "q?", ["y", "x y"])]), (CONTEXT, [("2", "r?", ["sad"])])])
    questions = read_questions(path)
    assert (questions.version_2, questions.ids, questions.texts) == (False, ["1", "2"], ["q?", "r?"])
    assert questions.answers == [[Answer(2, "y"), Answer(0, "x y")], [Answer(22, "sad")]]
    assert [questions.context(index) for index in range(2)] == ["x y", CONTEXT]
    assert questions.contents()[0] == ("q?", "x y")


def test_version_2_is_seen_or_asked_for(tmp_path):
    path = write_squad(tmp_path / "a.json", [("x", [("1", "q", ["x"]), ("2", "r", [])])], version_2=True)
    assert read_questions(path).version_2
    assert read_questions(path).answers[1] == []
    assert read_questions(path, version_2=True).version_2
    with refuses(f"{path}, question 2 has no answer; pass --version-2 for data in which questions may have none"):
        read_questions(path, version_2=False)
    # Code points, not bytes or UTF-16 units: the answer begins at character 2.
    path = write_squad(tmp_path / "b.json", [("\U0001f600 \U0001f600x", [("1", "q", ["\U0001f600x"])])])
    assert read_questions(path).answers[0] == [Answer(2, "\U0001f600x")]


def changed(path, change):
    """A file with one question, changed by a function of its data, its paragraph and its question."""
    entry = {"id": "q7", "question": "Which?", "answers": [{"text": "sad", "answer_start": 22}]}
    paragraph = {"context": CONTEXT, "qas": [entry]}
    values = {"data": [{"paragraphs": [paragraph]}]}
    change(values, paragraph, entry)
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v, p, q: v.pop("data"), ": expected the key 'data', got "),
        (lambda v, p, q: v.update(data={}), ": 'data' must be a list, got {}"),
        (lambda v, p, q: v.update(data=[3]), ", data[0]: expected the key 'paragraphs', got 3"),
        (lambda v, p, q: p.pop("context"), ", data[0].paragraphs[0]: expected the key 'context', got 'qas'"),
        (
            lambda v, p, q: p.update(context=" \n"),
            ", data[0].paragraphs[0]: 'context' is empty; give it a text or remove the entry",
        ),
        (lambda v, p, q: q.update(id=7), ", data[0].paragraphs[0]: 'id' must be a string, got 7"),
        (
            lambda v, p, q: q.update(question=""),
            ", question q7: 'question' is empty; give it a text or remove the entry",
        ),
        (lambda v, p, q: q.pop("answers"), ", question q7: expected the key 'answers', got 'id', 'question'"),
        (
            lambda v, p, q: q.update(answers=[]),
            ", question q7 has no answer; give it one, or is_impossible true and --version-2",
        ),
        (
            lambda v, p, q: q.update(answers=[], is_impossible=False),
            ", question q7 has no answer; give it one, or is_impossible true and --version-2",
        ),
        (
            lambda v, p, q: q.update(is_impossible=True),
            ", question q7 has is_impossible true and the answer 'sad'; remove one of them",
        ),
        (lambda v, p, q: q.update(is_impossible=0), ", question q7: 'is_impossible' must be true or false, got 0"),
        (
            lambda v, p, q: q["answers"][0].update(answer_start="22"),
            ", question q7: 'answer_start' must be a whole number, got \"22\"",
        ),
        (
            lambda v, p, q: q["answers"][0].update(answer_start=True),
            ", question q7: 'answer_start' must be a whole number, got true",
        ),
        (
            lambda v, p, q: q["answers"][0].update(answer_start=21),
            ", question q7: the answer 'sad' is not at answer_start 21: the context has ' sa' there; set "
            "answer_start to 22",
        ),
        (
            lambda v, p, q: q["answers"][0].update(answer_start=-1, text="a"),
            ", question q7: the answer 'a' is not at answer_start -1: the context has 'A' there; set "
            "answer_start to 17 or 20 or 23 or 27",
        ),
        (
            lambda v, p, q: q["answers"][0].update(text="bad"),
            ", question q7: the answer 'bad' is not at answer_start 22: the context has 'sad' there; correct the "
            "answer, or remove the question",
        ),
        (
            lambda v, p, q: q.update(question="\ud83d?"),
            ", question q7: 'question' has a lone surrogate, U+D83D, at character 0; correct the text",
        ),
        (lambda v, p, q: p.update(qas=[]), " has no question; expected data, their paragraphs and the qas of these"),
        (lambda v, p, q: p["qas"].append(q), " has two questions with the id q7; give each its own"),
    ],
)
def test_bad_files(tmp_path, change, message):
    path = changed(tmp_path / "bad.json", change)
    with refuses(f"{path}{message}"):
        read_questions(path)


def test_files_that_are_no_json(tmp_path):
    expected = "expected a SQuAD file, a JSON object with the key 'data'"
    path = tmp_path / "a.json"
    with refuses(f"{path} does not exist; {expected}"):
        read_questions(path)
    with refuses(f"{tmp_path} is a folder; {expected}"):
        read_questions(tmp_path)
    path.write_text('{"data":\n [}')
    with refuses(f"{path}, line 2: Expecting value; {expected}"):
        read_questions(path)
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match=re.escape(f"{path} cannot be read: ") + ".*" + re.escape(expected)):
        read_questions(path)
    path.write_bytes(b'{"data": "\xff"}')
    with refuses(f"{path} is not UTF-8 at byte offset 10; convert the file to UTF-8"):
        read_questions(path)


# ----------------------------------------------------------------------------------------------------------- windows


def test_windows_cover_all_tokens_and_each_token_has_its_best():
    for length, room, stride in [(10, 6, 3), (0, 5, 3), (6, 6, 3), (7, 6, 3), (12, 6, 9), (41, 7, 1), (100, 13, 4)]:
        starts, counts = cut(length, room, stride)
        assert starts[0] == 0
        assert starts[-1] + counts[-1] == length
        assert (np.diff(starts) == min(stride, room)).all()
        assert (counts[:-1] == room).all()
        assert len(starts) == 1 or starts[-2] + counts[-2] < length  # the last window is needed
        for token, best in enumerate(best_windows(starts, counts)):
            # By the definition: the smaller context to either side plus a hundredth of the size, the first of equals.
            scores = [
                min(token - start, start + count - 1 - token) + 0.01 * count if start <= token < start + count else -1
                for start, count in zip(starts, counts, strict=True)
            ]
            assert best == scores.index(max(scores))
    # Token 5 of 10 in windows 0-5, 3-8, 6-9: 0 to the right in the first, 2 and 3 in the second.
    assert best_windows(*cut(10, 6, 3)).tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 2, 2]


@pytest.fixture(scope="module")
def tokenizer():
    return BertTokenizer([*VOCABULARY, ",", "."])


def tokens(tokenizer, windows, index):
    own = slice(*windows.features.offsets[index : index + 2])
    return [tokenizer.vocab[number] for number in windows.features.per_token["input_ids"][own]], own


def test_rows_positions_and_spans(tmp_path, tokenizer):
    path = write_squad(tmp_path / "a.json", [(CONTEXT, [("1", "Was it sad", ["a sad"]), ("2", "day", ["film"])])])
    questions = read_questions(path)
    settings = WindowSettings(max_seq_length=11, doc_stride=4, max_query_length=2)
    windows = make_windows(questions, tokenizer, settings, pad_token_id=0)
    # The context has 10 tokens: a good film , it was a sad day . The first question is cut to "was it" and leaves room
    # for 11 - 2 - 3 = 6 tokens: windows at 0 and 4. The second has room for 7: at 0 and 4 too.
    assert windows.question.tolist() == [0, 0, 1, 1]
    assert windows.long_questions == 1
    assert tokens(tokenizer, windows, 0)[0] == "[CLS] was it [SEP] a good film , it was [SEP]".split()
    words, own = tokens(tokenizer, windows, 1)
    assert words == "[CLS] was it [SEP] it was a sad day . [SEP]".split()
    assert windows.features.per_token["token_type_ids"][own].tolist() == [0] * 4 + [1] * 7
    assert windows.in_context[own].tolist() == [False] * 4 + [True] * 6 + [False]
    spans = windows.spans[own].tolist()
    assert [CONTEXT[begin:end] for begin, end in spans[4:10]] == "it was a sad day .".split()
    assert spans[:4] + spans[10:] == [[0, 0]] * 5
    # "it" has no token to its left here, one to its right in window 0; "was" has one to its left here, none there.
    assert windows.best_here[own].tolist() == [False] * 5 + [True] * 5 + [False]
    # "a sad" are the tokens 6 and 7 of the context: at 4 + 6 - 4 and 4 + 7 - 4 in window 1, not whole in window 0;
    # "film" is token 2: at 3 + 2 in window 2, not in window 3.
    assert windows.features.per_example["start_positions"].tolist() == [0, 6, 5, 0]
    assert windows.features.per_example["end_positions"].tolist() == [0, 7, 5, 0]
    assert windows.features.padding == {"input_ids": 0}


def test_answers_that_are_no_whole_tokens_or_none(tmp_path, tokenizer):
    # "fil" is in "films" = film ##s: the token that it touches. No answer: [CLS]. Zero-width space: no token.
    path = write_squad(tmp_path / "a.json", [("old films", [("1", "q", ["lms"]), ("2", "q", [])])], version_2=True)
    windows = make_windows(read_questions(path), tokenizer, WindowSettings(), 0)
    assert windows.features.per_example["start_positions"].tolist() == [4, 0]
    assert windows.features.per_example["end_positions"].tolist() == [5, 0]
    path = write_squad(tmp_path / "a.json", [("old \u200b film", [("1", "q", ["\u200b"])])])
    with refuses(
        f"{path}, question 1: the tokenizer leaves nothing of the answer '\\u200b'; correct the answer, or remove the "
        "question"
    ):
        make_windows(read_questions(path), tokenizer, WindowSettings(), 0)


def test_bad_settings():
    with refuses("doc_stride must be at least 1, got 0"):
        WindowSettings(doc_stride=0)
    with refuses("max_query_length must be at least 1, got 0"):
        WindowSettings(max_query_length=0)
    with refuses(
        "max_seq_length must be at least max_query_length + 4 ([CLS], two [SEP], a token of the context), got 67 and 64"
    ):
        WindowSettings(max_seq_length=67)
    with refuses("max_answer_length must be at least 1, got 0"):
        AnswerSettings(max_answer_length=0)
    with refuses("n_best must be at least 1, got 0"):
        AnswerSettings(n_best=0)


# ----------------------------------------------------------------------------------------------------------- answers


def test_the_best_spans_are_the_best_of_all():
    rng = np.random.default_rng(0)
    for _ in range(100):
        size, settings = rng.integers(1, 15), AnswerSettings(int(rng.integers(1, 6)), int(rng.integers(1, 30)))
        start, end = rng.integers(-3, 4, (2, size)).astype(np.float32)
        may_start, in_context = rng.random((2, size)) < 0.6
        spans = [
            (first, last)
            for first in range(size)
            for last in range(first, min(size, first + settings.max_answer_length))
            if may_start[first] and in_context[last]
        ]
        totals = sorted((float(start[first] + end[last]) for first, last in spans), reverse=True)
        found = best_spans(start, end, may_start, in_context, settings)
        assert set(found) <= set(spans)
        assert len(set(found)) == len(found)
        assert [float(start[first] + end[last]) for first, last in found] == totals[: settings.n_best]


def two_windows(tmp_path, version_2):
    """One question on "ab cd ef", in the windows [CLS] ab cd [SEP] and [CLS] cd ef [SEP]; "cd" is best there."""
    qas = [("1", "q", ["cd"] if not version_2 else [])]
    questions = read_questions(write_squad(tmp_path / "a.json", [("ab cd ef", qas)], version_2=version_2))
    spans = [[0, 0], [0, 2], [3, 5], [0, 0], [0, 0], [3, 5], [6, 8], [0, 0]]
    context, best = [0, 1, 1, 0, 0, 1, 1, 0], [0, 1, 0, 0, 0, 1, 1, 0]
    windows = Windows(
        Features(np.array([0, 4, 8]), {}, {}, {}),
        np.array([0, 0]),
        np.array(spans),
        np.array(context, bool),
        np.array(best, bool),
        0,
    )
    #                  [CLS] ab  cd  [SEP][CLS] cd  ef  [SEP]
    start = np.array([3.0, 1.0, 9.0, 9.0, 1.0, 2.0, 0.0, 9.0], np.float32)
    end = np.array([3.0, 0.0, 2.0, 9.0, 1.5, 1.0, 0.5, 9.0], np.float32)
    return questions, windows, start, end


def test_answers_by_hand(tmp_path):
    answers = find_answers(*two_windows(tmp_path, False), AnswerSettings(2, 3))
    # Window 0 may begin at "ab" alone: "ab cd" 1 + 2, "ab" 1 + 0. Window 1: "cd" 2 + 1, "cd ef" 2 + 0.5, "ef" 0.5. Of
    # the two of 3 the one found first is first; three are kept.
    kept = answers.n_best["1"]
    assert [(one["text"], one["start_logit"], one["end_logit"]) for one in kept] == [
        ("ab cd", 1.0, 2.0),
        ("cd", 2.0, 1.0),
        ("cd ef", 2.0, 0.5),
    ]
    weights = np.exp([0, 0, -0.5])
    np.testing.assert_allclose([one["probability"] for one in kept], weights / weights.sum())
    assert answers.null_odds is None
    assert answers.decide(-100.0) == {"1": "ab cd"}  # v1.1 always answers
    assert find_answers(*two_windows(tmp_path, False), AnswerSettings(1, 3)).texts == {"1": "cd"}  # one token at most


def test_no_answer_by_hand(tmp_path):
    answers = find_answers(*two_windows(tmp_path, True), AnswerSettings(2, 3))
    # [CLS]: 6 in window 0, 2.5 in window 1, which is the one that counts: 2.5 - 3 = -0.5.
    assert answers.null_odds == {"1": -0.5}
    assert [one["text"] for one in answers.n_best["1"]] == ["ab cd", "cd", "cd ef", ""]
    assert answers.n_best["1"][3]["start_logit"] == 1.0
    assert answers.decide(-0.6) == {"1": ""}
    assert answers.decide(-0.5) == {"1": "ab cd"}  # not above the threshold
    assert answers.texts == {"1": "ab cd"}


def test_the_same_text_is_kept_once(tmp_path):
    questions, windows, start, end = two_windows(tmp_path, False)
    windows.spans[:] = [0, 2]  # every span is "ab"
    assert [one["text"] for one in find_answers(questions, windows, start, end, AnswerSettings()).n_best["1"]] == ["ab"]
