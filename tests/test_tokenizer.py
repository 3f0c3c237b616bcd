"""BertTokenizer: the steps on examples worked by hand, the forms of input, and each refusal."""

import inspect
import re

import numpy as np
import pytest
import tensorflow as tf

from bert_tf import BertTokenizer, InputError
from bert_tf.tokenizer_files import DEFAULTS

# id:     0       1        2        3        4        5      6      7       8      9       10    11    12   13
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "sat", "##at", ",", "cafe", "中", "s"]
PAD, UNK, CLS, SEP, MASK, THE, CAT, _S, SAT, _AT, COMMA, CAFE, ZHONG, S = range(14)


@pytest.fixture(scope="module")
def tokenizer():
    return BertTokenizer(VOCAB)


def ids(tokenizer, text, **arguments):
    """Ids of one text without padding."""
    return tokenizer(text, **arguments)["input_ids"][0].numpy().tolist()


def test_rows_of_texts(tokenizer):
    batch = tokenizer(["the cats sat", "The"])
    assert batch["input_ids"].numpy().tolist() == [[CLS, THE, CAT, _S, SAT, SEP], [CLS, THE, SEP, PAD, PAD, PAD]]
    assert batch["attention_mask"].numpy().tolist() == [[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]]
    assert not batch["token_type_ids"].numpy().any()
    assert {values.dtype for values in batch.values()} == {tf.int32}


def test_rows_of_pairs(tokenizer):
    batch = tokenizer(["the cat", "sat"], ["sat", ""])
    assert batch["input_ids"].numpy().tolist() == [[CLS, THE, CAT, SEP, SAT, SEP], [CLS, SAT, SEP, SEP, PAD, PAD]]
    assert batch["token_type_ids"].numpy().tolist() == [[0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 0, 0]]
    assert batch["attention_mask"].numpy().tolist() == [[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]


def test_longest_match_first(tokenizer):
    assert ids(tokenizer, "sat") == [CLS, SAT, SEP]  # not "s" and "##at"
    assert ids(tokenizer, "sats") == [CLS, SAT, _S, SEP]
    assert ids(tokenizer, "cafes") == [CLS, CAFE, _S, SEP]
    assert ids(tokenizer, "satx the") == [CLS, UNK, THE, SEP]  # one unknown rest makes the whole word unknown
    assert ids(tokenizer, "catsatcat") == [CLS, UNK, SEP]  # "cat", "##s", "##at", but there is no "##cat"


def test_word_of_more_than_100_characters_is_unknown(tokenizer):
    assert ids(tokenizer, "s" * 100) == [CLS, S] + [_S] * 99 + [SEP]
    assert ids(tokenizer, "s" * 101 + " s") == [CLS, UNK, S, SEP]


def test_cleaning_and_splitting(tokenizer):
    assert ids(tokenizer, "ＴＨＥ") == [CLS, UNK, SEP]  # full-width letters are lower-cased but stay full-width
    assert ids(tokenizer, "THE\u00a0\u3000cat\tsat\r\n") == [CLS, THE, CAT, SAT, SEP]  # all white space separates
    assert ids(tokenizer, "t\u0000h\u200be\ufffd\ue000") == [CLS, THE, SEP]  # control, format and private characters go
    assert ids(tokenizer, "the,cat") == [CLS, THE, COMMA, CAT, SEP]
    assert ids(tokenizer, "the中cat") == [CLS, THE, ZHONG, CAT, SEP]
    assert ids(tokenizer, "CAFÉ cafe\u0301 cafe\u0323\u0301") == [CLS, CAFE, CAFE, CAFE, SEP]


def test_settings():
    cased = BertTokenizer([*VOCAB, "É", "é", "e", "The"], do_lower_case=False)
    assert ids(cased, "The É é the") == [CLS, 17, 14, 15, THE, SEP]
    stripping = BertTokenizer([*VOCAB, "É", "é", "e", "The"], do_lower_case=False, strip_accents=True)
    assert ids(stripping, "É é") == [CLS, UNK, 16, SEP]  # "E" is in no token
    lower = BertTokenizer([*VOCAB, "É", "é", "e", "The"], strip_accents=False)
    assert ids(lower, "É é") == [CLS, 15, 15, SEP]
    together = BertTokenizer([*VOCAB, "##中"], tokenize_chinese_chars=False)
    assert ids(together, "the中") == [CLS, THE, 14, SEP]


def test_special_tokens_in_the_text(tokenizer):
    assert ids(tokenizer, "the[MASK]cat [SEP]") == [CLS, THE, MASK, CAT, SEP, SEP]
    assert ids(tokenizer, "[mask]") == [CLS, UNK, UNK, UNK, SEP]  # "[", "mask", "]"
    assert ids(tokenizer, "[[MASK]") == [CLS, UNK, MASK, SEP]
    assert ids(tokenizer, "[MASK") == [CLS, UNK, UNK, SEP]


def test_special_tokens_that_overlap():
    tokenizer = BertTokenizer([*VOCAB, "<a>", "<a>b<", "<b>"], additional_special_tokens=["<a>", "<a>b<", "<b>"])
    assert ids(tokenizer, "<a>b<b>") == [
        CLS,
        15,
        UNK,
        UNK,
        SEP,
    ]  # "<a>b<" is the longest of those that start first
    assert ids(tokenizer, "<a><b>") == [CLS, 14, 16, SEP]
    assert tokenizer.all_special_ids == (UNK, SEP, PAD, CLS, MASK, 14, 15, 16)


def test_special_tokens_of_other_names():
    names = {"unk_token": "<unk>", "sep_token": "</s>", "pad_token": "<pad>", "cls_token": "<s>", "mask_token": "<m>"}
    tokenizer = BertTokenizer(["the", "<m>", "<s>", "<pad>", "</s>", "<unk>"], **names)
    assert tokenizer(["the dog", "<m>"])["input_ids"].numpy().tolist() == [[2, 0, 5, 4], [2, 1, 4, 3]]
    assert (tokenizer.mask_token, tokenizer.mask_token_id, tokenizer.pad_token_id) == ("<m>", 1, 3)


def test_longest_first_truncation(tokenizer):
    long, short = "the cat sat , the", "cat sat"  # 5 and 2 tokens
    # 8 - 3 = 5 tokens fit: all 2 of the short text and 3 of the long one, on either side.
    assert ids(tokenizer, long, text_pairs=short, max_length=8) == [CLS, THE, CAT, SAT, SEP, CAT, SAT, SEP]
    assert ids(tokenizer, short, text_pairs=long, max_length=8) == [CLS, CAT, SAT, SEP, THE, CAT, SAT, SEP]
    # 6 - 3 = 3 tokens fit: of two texts of one length the first keeps the smaller half.
    assert ids(tokenizer, long, text_pairs=long, max_length=6) == [CLS, THE, SEP, THE, CAT, SEP]
    assert ids(tokenizer, long, max_length=4) == [CLS, THE, CAT, SEP]
    assert ids(tokenizer, long, max_length=2) == [CLS, SEP]
    for no_limit in (2**31 - 1, 2**31, 2**40, 10**30):
        assert ids(tokenizer, long, max_length=no_limit) == ids(tokenizer, long)
        assert ids(tokenizer, long, text_pairs=short, max_length=no_limit) == ids(tokenizer, long, text_pairs=short)
    assert ids(tokenizer, long, text_pairs=long, max_length=3) == [CLS, SEP, SEP]


def test_padding(tokenizer):
    assert ids(tokenizer, "the", max_length=5, padding="max_length") == [CLS, THE, SEP, PAD, PAD]
    assert ids(tokenizer, "the", max_length=5) == [CLS, THE, SEP]
    short = BertTokenizer(VOCAB, model_max_length=4)
    assert ids(short, "the cat sat", padding="max_length") == [CLS, THE, CAT, SEP]
    assert ids(short, "the cat sat") == [CLS, THE, CAT, SAT, SEP]  # nothing is cut unasked


def test_offsets(tokenizer):
    batch = tokenizer(" Caf\u0065\u0301s,[MASK] xyz 😀the", "the", return_offsets=True)
    #  0 space, 1-5 Cafe with its accent, 6 s, 7 comma, 8-13 [MASK], 15-17 xyz, 19 emoji and the: one unknown word
    assert batch["input_ids"][0].numpy().tolist() == [CLS, CAFE, _S, COMMA, MASK, UNK, UNK, SEP, THE, SEP]
    spans = [(0, 0), (1, 5), (6, 7), (7, 8), (8, 14), (15, 18), (19, 23), (0, 0), (0, 3), (0, 0)]
    assert [tuple(span) for span in batch["offset_mapping"][0].numpy().tolist()] == spans


def test_forms_of_input(tokenizer):
    expected = [[CLS, THE, SEP]]
    for texts in ("the", b"the", ["the"], ("the",), np.array(["the"]), tf.constant("the"), tf.constant(["the"])):
        assert tokenizer(texts)["input_ids"].numpy().tolist() == expected
    assert tokenizer([])["input_ids"].shape == (0, 0)
    assert tokenizer([""])["input_ids"].numpy().tolist() == [[CLS, SEP]]


def test_bytes_that_are_not_utf8(tokenizer):
    batch = tokenizer([b"t\xffhe cat", b"sat\xe4\xb8", b"\xed\xa0\x80the"], return_offsets=True)
    # Each faulty sequence is removed like a control character; it counts as code points in the offsets.
    assert batch["input_ids"][:, 1:3].numpy().tolist() == [[THE, CAT], [SAT, SEP], [THE, SEP]]
    assert batch["offset_mapping"][0, 1:3].numpy().tolist() == [[0, 4], [5, 8]]


def test_tokenize(tokenizer):
    assert tokenizer.tokenize(["Cats dog", "", "[MASK]"]).to_list() == [[b"cat", b"##s", b"[UNK]"], [], [b"[MASK]"]]


def test_decode(tokenizer):
    row = [CLS, THE, CAT, _S, COMMA, MASK, SAT, SEP, PAD]
    assert tokenizer.decode(row) == "[CLS] the cats, [MASK] sat [SEP] [PAD]"
    assert tokenizer.decode(row, skip_special_tokens=True) == "the cats, sat"
    assert tokenizer.decode(tf.constant([row]), skip_special_tokens=True) == ["the cats, sat"]
    assert tokenizer.decode([]) == ""
    apostrophe = BertTokenizer([*VOCAB, "'"], clean_up_tokenization_spaces=True)
    assert apostrophe.decode([CAT, 14, S]) == "cat's"
    assert BertTokenizer([*VOCAB, "'"]).decode([CAT, 14, S]) == "cat ' s"


def test_vocabulary_attributes(tokenizer):
    assert (tokenizer.vocab_size, tokenizer.vocab[CAT]) == (14, "cat")
    assert (tokenizer.token_to_id("cat"), tokenizer.token_to_id("dog")) == (CAT, None)
    assert (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.unk_token_id) == (CLS, SEP, UNK)


def test_in_a_data_pipeline(tokenizer):
    texts = tf.data.Dataset.from_tensor_slices(["the cat", "sat", "the"]).batch(2)
    data = texts.map(lambda batch: tokenizer(batch, max_length=4, padding="max_length"))
    assert data.element_spec["input_ids"].shape.as_list() == [None, 4]
    rows = [row for batch in data for row in batch["input_ids"].numpy().tolist()]
    assert rows == [[CLS, THE, CAT, SEP], [CLS, SAT, SEP, PAD], [CLS, THE, SEP, PAD]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t(["a", 3]), "texts[1] is 3, of type int: expected a str"),
        (lambda t: t(7), "texts must be a str, a list of str or a tf.string tensor, got int"),
        (lambda t: t(tf.constant([1])), "texts must be a scalar or a vector of tf.string, got int32 (1,)"),
        (lambda t: t(tf.constant([["a"]])), "texts must be a scalar or a vector of tf.string, got string (1, 1)"),
        (lambda t: t(["x\ud800"]), "texts[0] holds a lone surrogate, U+D800 at character 1"),
        (lambda t: t(["a", "b"], ["c"]), "expected as many text_pairs as texts (2), got 1"),
        (lambda t: t("a", max_length=1), "max_length 1 leaves no room for the 2 special tokens"),
        (lambda t: t("a", "b", max_length=2), "max_length 2 leaves no room for the 3 special tokens"),
        (
            lambda t: t("a", max_length=2**31, padding="max_length"),
            "a max_length of at most 2147483647, got 2147483648",
        ),
        (lambda t: t("a", max_length="8"), "max_length must be an int or None, got '8'"),
        (lambda t: t("a", padding=True), 'padding must be "longest" or "max_length", got True'),
        (lambda t: t.decode([0, 14]), "id 14 is not in the vocabulary: ids are 0 to 13"),
    ],
)
def test_bad_input(tokenizer, call, message):
    with pytest.raises(InputError, match=re.escape(message)):
        call(tokenizer)


def test_unequal_pairs_in_a_graph(tokenizer):
    unknown = tf.TensorSpec([None], tf.string)
    encode = tf.function(lambda texts, pairs: tokenizer(texts, pairs), input_signature=[unknown, unknown])
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected as many text_pairs as texts"):
        encode(tf.constant(["a", "b"]), tf.constant(["c"]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"do_lower_case": "no"}, "BertTokenizer: do_lower_case is 'no'; expected one of True, False"),
        ({"model_max_length": 2}, "BertTokenizer: model_max_length is 2; expected an int of at least 3"),
        ({"model_max_length": 64.0}, "BertTokenizer: model_max_length is 64.0; expected an int of at least 3"),
        ({"mask_token": 4}, "BertTokenizer: mask_token is 4; expected a string"),
        ({"additional_special_tokens": ["dog"]}, "lacks 'dog', which is to be the additional special token"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=re.escape(message)):
        BertTokenizer(VOCAB, **settings)


def test_defaults_are_those_of_the_files():
    parameters = inspect.signature(BertTokenizer.__init__).parameters.values()
    assert {parameter.name: parameter.default for parameter in parameters if parameter.name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize(
    ("vocab", "message"),
    [
        ([], "the vocabulary is empty"),
        ([*VOCAB, "cat"], "line 15 of the vocabulary (id 14) repeats the token 'cat' of line 7"),
        ([*VOCAB, ""], "line 15 of the vocabulary (id 14) is blank"),
        ([*VOCAB, "a\nb"], r"line 15 of the vocabulary (id 14), 'a\nb', holds a line break"),
        ([*VOCAB, 5], "line 15 of the vocabulary (id 14) is 5, of type int: a token is a str"),
        ([token for token in VOCAB if token != "[MASK]"], "(13 tokens) lacks '[MASK]', which is to be the mask_token"),
        ([token for token in VOCAB if token != "[UNK]"], "(13 tokens) lacks '[UNK]', which is to be the unk_token"),
    ],
)
def test_bad_vocabularies(vocab, message):
    with pytest.raises(InputError, match=re.escape(message)):
        BertTokenizer(vocab)
