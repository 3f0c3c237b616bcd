"""CoNLL files, schemes of tags, windows of sentences and the F1 of entities, against values worked out by hand."""

import re

import numpy as np
import pytest

from bert_tf import BertTokenizer, InputError
from downstream.conll import read_conll, write_conll
from downstream.entities import check_scheme, find_entities, find_scheme, score_entities, write_tags
from downstream.tag_labels import encode_entities, entity_labels, usual_tags
from downstream.tag_windows import make_tag_windows
from downstream.token_objectives import IGNORED
from tests.downstream_toys import VOCABULARY


def written(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refuses(message):
    return pytest.raises(InputError, match=re.escape(message) + "$")


# ------------------------------------------------------------------------------------------------------------- files

NEWS = "-DOCSTART- -X- O\n\nEU  NNP B-ORG\nrejects VBZ O\n\n\nPeter NNP B-PER\n-DOCSTART- -X- O\nLee NNP B-PER\n"


def test_columns_and_sentences(tmp_path):
    # Blank lines end a sentence, two of them no more than one; so does -DOCSTART-; several spaces are one.
    sentences = read_conll(written(tmp_path / "a.conll", NEWS))
    assert sentences.words == [["EU", "rejects"], ["Peter"], ["Lee"]]
    assert sentences.tags == [["B-ORG", "O"], ["B-PER"], ["B-PER"]]
    assert sentences.lines == [[3, 4], [7], [9]]
    assert sentences.where(0, 1) == f"{tmp_path / 'a.conll'}, line 4"
    assert sentences.word_count() == 4
    assert read_conll(tmp_path / "a.conll", word_column=2, tag_column=1).words == [["NNP", "VBZ"], ["NNP"], ["NNP"]]
    assert read_conll(tmp_path / "a.conll", with_tags=False).tags is None


def test_tabs_keep_spaces_in_words_and_a_tab_alone_is_blank(tmp_path):
    # As in WNUT17: tabs between columns, a line with a tab alone between sentences; CRLF; a byte order mark.
    path = written(tmp_path / "a.conll", b"\xef\xbb\xbfNew York\tB-LOC\r\n\t\r\n4\xc2\xa0pm\tO")
    sentences = read_conll(path)
    assert sentences.words == [["New York"], ["4\u00a0pm"]]
    write_conll(tmp_path / "out.conll", sentences, [["B-PER"], ["O"]])
    assert (tmp_path / "out.conll").read_text() == "New York\tB-LOC\tB-PER\n\t\n4\u00a0pm\tO\tO\n"


def test_written_files_are_the_read_ones_with_one_column_more(tmp_path):
    sentences = read_conll(written(tmp_path / "a.conll", NEWS))
    write_conll(tmp_path / "out.conll", sentences, [["O", "B-X"], ["O"], ["I-Y"]])
    assert (tmp_path / "out.conll").read_text() == (
        "-DOCSTART- -X- O\n\nEU  NNP B-ORG O\nrejects VBZ O B-X\n\n\nPeter NNP B-PER O\n-DOCSTART- -X- O\n"
        "Lee NNP B-PER I-Y\n"
    )
    words = read_conll(written(tmp_path / "b.conll", "one\ntwo\n"), with_tags=False)
    write_conll(tmp_path / "out.conll", words, [["O", "B-X"]])
    assert (tmp_path / "out.conll").read_text() == "one O\ntwo B-X\n"


def test_bad_files(tmp_path):
    path = tmp_path / "a.conll"
    with refuses(f"{path} does not exist; expected a CoNLL file, a word a line"):
        read_conll(path)
    with refuses(f"{tmp_path} is a folder; expected a CoNLL file, a word a line"):
        read_conll(tmp_path)
    with refuses(f"{path} is not UTF-8 at byte offset 2; convert the file to UTF-8"):
        read_conll(written(path, b"a\t\xff\n"))
    with refuses(f"{path} has no words; expected a word a line, its tag in the last column"):
        read_conll(written(path, "\n-DOCSTART- O\n\n"))
    with refuses(
        f"{path}, line 4: expected 2 columns as in line 1, got 3: 'York I-LOC O'; a line is a word with its columns, "
        "or blank between sentences"
    ):
        read_conll(written(path, "New B-LOC\n\n-DOCSTART-\nYork I-LOC O\n"))
    with refuses(f"{path}, line 2: the tag in column 2 is empty: 'b\\t'; fill it"):
        read_conll(written(path, "a\tO\nb\t\n"))
    with refuses(f"{path}, line 1: the word in column 1 is empty: '\\tO'; fill it"):
        read_conll(written(path, "\tO\n"))
    with refuses(f"{path}, line 1: no column 3 for the tag, the line has 2: 'a O'; choose another --tag-column"):
        read_conll(written(path, "a O\n"), tag_column=3)
    with refuses(f"{path}, line 1: no column 3 for the word, the line has 2: 'a O'; choose another --word-column"):
        read_conll(path, word_column=3)
    with refuses(
        f"{path}, line 1: column 1 is both the word and the tag: 'a'; choose another --tag-column, or a file with tags"
    ):
        read_conll(written(path, "a\n"))
    with refuses("word_column must be at least 1, got 0"):
        read_conll(path, word_column=0)
    with refuses("tag_column must be at least 1, got -1"):
        read_conll(path, tag_column=-1)


# ----------------------------------------------------------------------------------------------------------- schemes

ENTITIES = [("PER", 0, 1), ("PER", 2, 2), ("LOC", 4, 4), ("ORG", 5, 7)]
SCHEMES = {
    "IOB1": "I-PER I-PER B-PER O I-LOC I-ORG I-ORG I-ORG",
    "IOB2": "B-PER I-PER B-PER O B-LOC B-ORG I-ORG I-ORG",
    "BIOES": "B-PER E-PER S-PER O S-LOC B-ORG I-ORG E-ORG",
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_is_read_and_written(tmp_path, scheme):
    tags = SCHEMES[scheme].split()
    assert find_entities(tags) == ENTITIES
    assert write_tags(ENTITIES, 8, scheme) == tags
    sentences = read_conll(written(tmp_path / "a.conll", "".join(f"w {tag}\n" for tag in tags)))
    assert find_scheme(sentences) == scheme
    check_scheme(sentences, scheme)


def test_tags_that_fit_no_scheme_are_entities_all_the_same():
    # conlleval: I after O begins, a change of type begins, E ends, and what follows S begins.
    assert find_entities("O I-A I-B E-B I-B S-A I-A B-A".split()) == [
        ("A", 1, 1),
        ("B", 2, 3),
        ("B", 4, 4),
        ("A", 5, 5),
        ("A", 6, 6),
        ("A", 7, 7),
    ]
    assert find_entities([]) == []
    assert find_entities(["B-X-Y", "I-X-Y"]) == [("X-Y", 0, 1)]  # a type may have a hyphen


def test_a_tag_that_breaks_the_scheme(tmp_path):
    # Three sentences are IOB2, the fourth has I after O: the scheme with the fewest contradictions is the one named.
    path = written(tmp_path / "a.conll", "a B-X\nb I-X\n\na B-X\n\na B-Y\n\nb O\nc I-X\n")
    sentences = read_conll(path)
    message = (
        "the tag 'I-X' after 'O' does not fit IOB2, in which it would be 'B-X'; correct the tag, or give the scheme "
    )
    with refuses(f"{path}, line 9: {message}of the file with --scheme"):
        find_scheme(sentences)
    message = (
        "the tag 'B-X' at the beginning of a sentence does not fit BIOES, in which it would be 'S-X'; correct the tag"
    )
    with refuses(f"{path}, line 4: {message}, or give the scheme of the file with --scheme"):
        check_scheme(read_conll(written(path, "a B-X\nb E-X\n\na B-X\n")), "BIOES")
    for tag in ("X", "B-", "L-PER", "b-PER", "B_PER"):
        message = (
            f"{tag!r} is no tag; expected O, or B-, I-, E- or S- and a type; correct it, or choose another --tag-column"
        )
        with refuses(f"{path}, line 2: {message}"):
            find_scheme(read_conll(written(path, f"a O\nb {tag}\n")))


# ------------------------------------------------------------------------------------------------------------ figures


def test_scores_by_hand():
    true = [[("A", 0, 1), ("B", 3, 3)], [("A", 0, 0)], []]
    predicted = [[("A", 0, 1), ("B", 3, 4)], [("B", 0, 0)], [("C", 1, 1)]]
    # One of four guesses is right, one of three entities found: F1 2·1/(4 + 3). A: 1 of 1, 1 of 2. B: 0 of 2, 0 of 1.
    rates, types = score_entities(true, predicted)
    assert rates == {"precision": 0.25, "recall": pytest.approx(1 / 3), "f1": pytest.approx(2 / 7)}
    assert types == {
        "A": {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "entities": 2},
        "B": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "entities": 1},
        "C": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "entities": 0},
    }
    assert score_entities([[]], [[]])[0] == {"precision": 0.0, "recall": 0.0, "f1": 0.0}


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")  # seqeval warns where there is nothing to divide by
def test_scores_are_those_of_seqeval():
    """1,000 random cases, among them empty ones, all O, one type, and tags that fit no scheme."""
    seqeval = pytest.importorskip("seqeval.metrics")
    rng = np.random.default_rng(0)
    for case in range(1000):
        kinds = ["A", "B", "C-D"][: rng.integers(0, 4)]
        tags = ["O", *(f"{prefix}-{kind}" for kind in kinds for prefix in "BIES"[: rng.choice([2, 4])])]
        weights = rng.dirichlet(np.ones(len(tags)))
        lengths = rng.integers(0 if case % 10 == 0 else 1, 12, rng.integers(1, 5))
        true = [[str(tag) for tag in rng.choice(tags, length, p=weights)] for length in lengths]
        changed = rng.random() * 0.5
        predicted = [[str(rng.choice(tags)) if rng.random() < changed else tag for tag in row] for row in true]
        rates, types = score_entities(*([find_entities(row) for row in rows] for rows in (true, predicted)))
        expected = {name: getattr(seqeval, f"{name}_score")(true, predicted) for name in ("precision", "recall", "f1")}
        assert rates == pytest.approx(expected)
        if not types:
            continue
        report = seqeval.classification_report(true, predicted, output_dict=True)
        for kind, its_rates in types.items():
            theirs = {name: report[kind][name] for name in ("precision", "recall", "f1-score", "support")}
            assert list(its_rates.values()) == pytest.approx(list(theirs.values()))


# ------------------------------------------------------------------------------------------------------------ windows


@pytest.fixture(scope="module")
def tokenizer():
    return BertTokenizer(VOCABULARY)


def rows(tokenizer, windows):
    """Per window: its tokens, and its labels with a dot for a token without one."""
    read = []
    for begin, end in zip(windows.features.offsets[:-1], windows.features.offsets[1:], strict=True):
        words = [tokenizer.vocab[number] for number in windows.features.per_token["input_ids"][begin:end]]
        labels = windows.features.per_token["labels"][begin:end]
        read.append((" ".join(words), " ".join("." if label == IGNORED else str(label) for label in labels)))
    return read


def sentences_of(tmp_path, *sentences):
    text = "\n".join("".join(f"{word}\tO\n" for word in words) for words in sentences)
    return read_conll(written(tmp_path / "s.conll", text))


def test_the_first_piece_of_each_word_has_its_label(tmp_path, tokenizer):
    # "films" and "day!" have two pieces each; of a zero-width space the tokenizer leaves nothing.
    sentences = sentences_of(tmp_path, ["films", "was", "day!"], ["\u200b", "good"])
    windows = make_tag_windows(sentences, tokenizer, 10, 0, np.arange(5, dtype=np.int32))
    assert rows(tokenizer, windows) == [
        ("[CLS] film ##s was day ! [SEP]", ". 0 . 1 2 . ."),
        ("[CLS] [UNK] good [SEP]", ". 3 4 ."),
    ]
    assert windows.places.tolist() == [1, 3, 4, 8, 9]
    assert (windows.long_sentences, windows.unknown_words) == (0, 1)
    assert windows.features.padding == {"input_ids": 0, "labels": IGNORED}


def test_a_long_sentence_is_cut_and_each_word_has_one_label(tmp_path, tokenizer):
    # Room for 4 tokens, windows at 0, 2 and 4 of the 7. Token 2 has 1 to its right in window 0 and 0 to its left in
    # window 1; 3 the other way round; the same with 4 and 5 in windows 1 and 2, the last of three tokens.
    sentences = sentences_of(tmp_path, "a good film was it books".split())
    windows = make_tag_windows(sentences, tokenizer, 6, 0, np.arange(6, dtype=np.int32))
    assert rows(tokenizer, windows) == [
        ("[CLS] a good film was [SEP]", ". 0 1 2 . ."),
        ("[CLS] film was it book [SEP]", ". . 3 4 . ."),
        ("[CLS] it book ##s [SEP]", ". . 5 . ."),
    ]
    assert windows.long_sentences == 1
    assert windows.features.per_token["labels"][windows.places].tolist() == list(range(6))


def test_a_word_longer_than_a_window_still_has_its_label(tmp_path, tokenizer):
    sentences = sentences_of(tmp_path, ["!!!!!!!!!", "good"])  # nine pieces, and room for three
    windows = make_tag_windows(sentences, tokenizer, 5, 0, np.array([7, 8], np.int32))
    assert (windows.features.per_token["labels"] != IGNORED).sum() == 2
    assert windows.features.per_token["labels"][windows.places].tolist() == [7, 8]


# ------------------------------------------------------------------------------------------------ labels and baseline


def test_labels_and_the_most_frequent_tag(tmp_path):
    text = "Rome B-LOC\nCup I-LOC\n\nRome B-ORG\n\nRome B-LOC\nwins O\n"
    train = read_conll(written(tmp_path / "a.conll", text))
    entities = [find_entities(tags) for tags in train.tags]
    assert entity_labels(train, entities) == ("O", "B-LOC", "I-LOC", "B-ORG", "I-ORG")
    held_out = read_conll(written(tmp_path / "b.conll", "Rome O\nwins O\nLazio B-ORG\n"))
    assert usual_tags(train, entities, held_out) == [["B-LOC", "O", "O"]]
    assert encode_entities(train, entities, ("O", "B-LOC", "I-LOC", "B-ORG", "I-ORG")).tolist() == [1, 2, 3, 1, 0]
    with refuses(f"{train.path} has only the tag O; expected entities to learn, or another --tag-column"):
        entity_labels(train, [[]])
