"""Questions out of a SQuAD file (v1.1 or v2.0): each with its context and its answers, checked.

    {"data": [{"title": …, "paragraphs": [{"context": …, "qas": [
        {"id": …, "question": …, "answers": [{"text": …, "answer_start": …}], "is_impossible": false}]}]}]}

`answer_start` counts characters (code points) of the context from 0. v2.0 is a file whose questions have
`is_impossible`; where it is true there is no answer (Rajpurkar, Jia and Liang 2018).
"""

import dataclasses
import json
from pathlib import Path

from bert_tf.errors import InputError
from downstream.examples import refuse_surrogates


@dataclasses.dataclass(frozen=True)
class Answer:
    """`text` stands in the context from character `start` on."""

    start: int
    text: str


@dataclasses.dataclass(frozen=True)
class Questions:
    """The N questions of one file, about P contexts.

    Attributes:
        path: the file.
        version_2: whether it says of its questions that they may have no answer.
        ids, texts: N strings.
        contexts: P strings.
        context_of: N numbers of contexts.
        answers: N lists of `Answer`; an empty one for a question without an answer.
    """

    path: Path
    version_2: bool
    ids: list
    texts: list
    contexts: list
    context_of: list
    answers: list

    def __len__(self):
        return len(self.ids)

    def context(self, index):
        return self.contexts[self.context_of[index]]

    def where(self, index):
        return f"{self.path}, question {self.ids[index]}"

    def contents(self):
        """What makes two questions the same: the question and its context."""
        return [(text, self.context(index)) for index, text in enumerate(self.texts)]


def read_questions(path, *, version_2=None, with_answers=True):
    """Reads a file.

    Args:
        version_2: False: every question must have an answer; True: some may have none; None: as the file says.
        with_answers: False: only ask the questions; answers that are there are not read.

    Raises:
        InputError: no such file, no JSON, a key that is missing or has another type, no question at all, an id twice,
            an empty question or context, an answer that is not in its context at its `answer_start`, a question with
            answers and `is_impossible`, or with neither.
    """
    path = Path(path)
    ids, texts, contexts, context_of, answers, marked = [], [], [], [], [], False
    for article_number, article in enumerate(_value(_parsed(path), "data", list, path)):
        article_where = f"{path}, data[{article_number}]"
        for number, paragraph in enumerate(_value(article, "paragraphs", list, article_where)):
            where = f"{article_where}.paragraphs[{number}]"
            contexts.append(_text(paragraph, "context", where))
            for entry in _value(paragraph, "qas", list, where):
                ids.append(_text(entry, "id", where))
                where_question = f"{path}, question {ids[-1]}"
                texts.append(_text(entry, "question", where_question))
                marked = marked or "is_impossible" in entry
                context_of.append(len(contexts) - 1)
                answers.append(_answers(entry, contexts[-1], version_2, where_question) if with_answers else [])
    if not ids:
        raise InputError(f"{path} has no question; expected data, their paragraphs and the qas of these")
    if len(set(ids)) < len(ids):
        seen = set()
        twice = next(name for name in ids if name in seen or seen.add(name))
        raise InputError(f"{path} has two questions with the id {twice}; give each its own")
    return Questions(path, marked if version_2 is None else version_2, ids, texts, contexts, context_of, answers)


def read_json_object(path, expected):
    """The JSON object in a file.

    Raises:
        InputError: no such file, not UTF-8, no JSON, no object; `expected` says what should be there.
    """
    try:
        values = json.loads(Path(path).read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; expected {expected}") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder; expected {expected}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 at byte offset {error.start}; convert the file to UTF-8") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: {error.msg}; expected {expected}") from None
    except (OSError, ValueError, RecursionError) as error:  # as a number, or brackets, beyond what Python reads
        raise InputError(f"{path} cannot be read: {error}; expected {expected}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} holds a {type(values).__name__}; expected {expected}")
    return values


def _parsed(path):
    return read_json_object(path, "a SQuAD file, a JSON object with the key 'data'")


def _value(mapping, key, kind, where):
    """mapping[key], which must be there and of a type."""
    if not isinstance(mapping, dict) or key not in mapping:
        found = ", ".join(map(repr, mapping)) if isinstance(mapping, dict) else json.dumps(mapping)[:40]
        raise InputError(f"{where}: expected the key {key!r}, got {found}")
    value = mapping[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        names = {list: "a list", str: "a string", int: "a whole number", bool: "true or false"}
        raise InputError(f"{where}: {key!r} must be {names[kind]}, got {json.dumps(value)[:40]}")
    return value


def _text(mapping, key, where):
    text = _value(mapping, key, str, where)
    if not text.strip():
        raise InputError(f"{where}: {key!r} is empty; give it a text or remove the entry")
    refuse_surrogates(text, f"{where}: {key!r}")
    return text


def _answers(entry, context, version_2, where):
    """The checked answers of a question."""
    impossible = "is_impossible" in entry and _value(entry, "is_impossible", bool, where)
    answers = [
        _answer(value, context, where)
        for value in (_value(entry, "answers", list, where) if "answers" in entry or not impossible else [])
    ]
    if impossible and answers:
        raise InputError(f"{where} has is_impossible true and the answer {answers[0].text!r}; remove one of them")
    if impossible and version_2 is False:
        raise InputError(f"{where} has no answer; pass --version-2 for data in which questions may have none")
    if not impossible and not answers:
        raise InputError(f"{where} has no answer; give it one, or is_impossible true and --version-2")
    return answers


def _answer(value, context, where):
    text, start = _text(value, "text", where), _value(value, "answer_start", int, where)
    if start < 0 or context[start : start + len(text)] != text:
        places, place = [], context.find(text)
        while place >= 0:
            places.append(str(place))
            place = context.find(text, place + 1)
        there = f"the context has {context[max(start, 0) : max(start, 0) + len(text)]!r} there"
        todo = f"set answer_start to {' or '.join(places)}" if places else "correct the answer, or remove the question"
        raise InputError(f"{where}: the answer {text!r} is not at answer_start {start}: {there}; {todo}")
    return Answer(start, text)
