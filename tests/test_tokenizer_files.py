"""The tokenizer directory: what is written, what of Hugging Face's files is read, and what is refused."""

import json
import re

import pytest

from bert_tf import BertTokenizer, InputError
from bert_tf.tokenizer_files import read_tokenizer_files

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "Cat", "##s"]
NOTHING = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}


def write(path, **files):
    """Writes NAME.json for each argument, and vocab.txt with VOCAB unless vocab= gives other bytes (None: no file)."""
    vocab = files.pop("vocab", "\n".join([*VOCAB, ""]).encode())
    if vocab is not None:
        (path / "vocab.txt").write_bytes(vocab)
    for name, values in files.items():
        (path / f"{name}.json").write_text(values if isinstance(values, str) else json.dumps(values))
    return path


def rust(**changes):
    """A tokenizer.json as the `tokenizers` package writes it for a cased BERT; changes go by "part.key"."""
    parts = {
        "added_tokens": [{"id": 4, "content": "[MASK]", **NOTHING, "special": True}],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": False,
            "strip_accents": None,
            "lowercase": False,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {token: index for index, token in enumerate(VOCAB)},
        },
    }
    for key, value in changes.items():
        part, name = key.split("__")
        parts[part][name] = value
    return parts


def test_what_is_written(tmp_path):
    BertTokenizer(VOCAB, do_lower_case=False, additional_special_tokens=["cat"]).save_pretrained(tmp_path)
    assert (tmp_path / "vocab.txt").read_bytes() == b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncat\nCat\n##s\n"
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert config.pop("added_tokens_decoder") == {
        str(index): {"content": VOCAB[index], **NOTHING, "special": True} for index in (0, 1, 2, 3, 4, 6)
    }
    assert config == {
        "additional_special_tokens": ["cat"],
        "clean_up_tokenization_spaces": False,
        "cls_token": "[CLS]",
        "do_lower_case": False,
        "mask_token": "[MASK]",
        "model_max_length": 512,
        "pad_token": "[PAD]",
        "sep_token": "[SEP]",
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "tokenizer_class": "BertTokenizer",
        "unk_token": "[UNK]",
    }


def test_round_trip(tmp_path):
    first = BertTokenizer(
        ["é", *VOCAB],
        do_lower_case=False,
        strip_accents=True,
        tokenize_chinese_chars=False,
        mask_token="cat",
        additional_special_tokens=["the"],
        model_max_length=77,
        clean_up_tokenization_spaces=True,
    )
    first.save_pretrained(tmp_path)
    second = BertTokenizer.from_pretrained(tmp_path)
    assert second.vocab == first.vocab
    assert dict(second.settings) == dict(first.settings)
    assert BertTokenizer.from_pretrained(tmp_path, mask_token="[MASK]").mask_token_id == 5


def test_vocabulary_alone(tmp_path):
    """Google's directories hold no settings: BERT's defaults, and the longest row of bert_config.json."""
    files = read_tokenizer_files(write(tmp_path, bert_config={"max_position_embeddings": 128}))
    assert files.settings["do_lower_case"] is True
    assert files.sources["do_lower_case"] == "default"
    assert files.settings["model_max_length"] == 128
    assert files.sources["model_max_length"] == "bert_config.json"


def test_lines_of_the_vocabulary(tmp_path):
    """Only line feeds end a token; U+2028 is a token of the published Chinese vocabulary."""
    vocab = "\r\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "\u2028", " x "]).encode()
    assert BertTokenizer.from_pretrained(write(tmp_path, vocab=vocab)).vocab[5:] == ("\u2028", " x ")


def test_settings_of_the_configuration(tmp_path):
    config = {
        "do_lower_case": False,
        "strip_accents": None,
        "tokenize_chinese_chars": False,
        "model_max_length": 1000000000000000019884624838656,  # "no limit" of `transformers`
        "mask_token": {"__type": "AddedToken", "content": "cat", **NOTHING},
        "sep_token": None,
        "tokenizer_class": "BertTokenizerFast",
        "do_basic_tokenize": True,
        "never_split": None,
        "name_or_path": "somewhere",
    }
    files = read_tokenizer_files(write(tmp_path, tokenizer_config=config, config={"max_position_embeddings": 64}))
    assert files.settings["do_lower_case"] is False
    assert files.settings["strip_accents"] is None
    assert files.settings["tokenize_chinese_chars"] is False
    assert files.settings["mask_token"] == "cat"
    assert files.settings["sep_token"] == "[SEP]"
    assert files.settings["model_max_length"] == 64
    assert files.sources["mask_token"] == "tokenizer_config.json"
    assert files.sources["model_max_length"] == "config.json"


def test_special_tokens_map(tmp_path):
    """It counts unless tokenizer_config.json has an added_tokens_decoder, as in `transformers`."""
    special = {"mask_token": {"content": "cat", **NOTHING}, "additional_special_tokens": ["the"]}
    write(tmp_path, special_tokens_map=special, tokenizer_config={"mask_token": "[MASK]"})
    files = read_tokenizer_files(tmp_path)
    assert files.settings["mask_token"] == "cat"
    assert files.settings["additional_special_tokens"] == ("the",)
    write(tmp_path, tokenizer_config={"mask_token": "[MASK]", "added_tokens_decoder": {}})
    assert read_tokenizer_files(tmp_path).settings["mask_token"] == "[MASK]"


def test_added_tokens(tmp_path):
    added = {
        str(number): {"content": token, **NOTHING, "special": True} for number, token in ((4, "[MASK]"), (9, "<new>"))
    }
    tokenizer = BertTokenizer.from_pretrained(write(tmp_path, tokenizer_config={"added_tokens_decoder": added}))
    assert tokenizer.vocab == (*VOCAB, "<new>")
    assert tokenizer.settings["additional_special_tokens"] == ("<new>",)
    assert tokenizer("the<new>")["input_ids"].numpy().tolist() == [[2, 5, 9, 3]]


def test_tokenizer_json(tmp_path):
    """tokenizer.json serves where there is no vocab.txt and where tokenizer_config.json says nothing."""
    files = read_tokenizer_files(write(tmp_path, vocab=None, tokenizer=rust()))
    assert files.vocabulary.tokens == tuple(VOCAB)
    assert files.settings["do_lower_case"] is False
    assert files.settings["tokenize_chinese_chars"] is False
    assert files.sources["do_lower_case"] == "tokenizer.json"
    write(tmp_path, vocab=None, tokenizer_config={"do_lower_case": True})
    assert read_tokenizer_files(tmp_path).settings["do_lower_case"] is True


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"vocab": None}, "cannot read the vocabulary {path}/vocab.txt: No such file or directory"),
        ({"vocab": b"[PAD]\n\xff\n"}, "{path}/vocab.txt is not UTF-8: byte 6 is 0xff"),
        ({"vocab": b""}, "{path}/vocab.txt is empty"),
        ({"vocab": b"a\nb\na\n"}, "line 3 of {path}/vocab.txt (id 2) repeats the token 'a' of line 1"),
        ({"tokenizer_config": "{"}, "{path}/tokenizer_config.json is not JSON: "),
        ({"tokenizer_config": "[]"}, "{path}/tokenizer_config.json holds a JSON list, expected an object"),
        ({"tokenizer_config": {"do_lower_case": 1}}, "do_lower_case is 1; expected one of True, False"),
        ({"tokenizer_config": {"strip_accents": "no"}}, "strip_accents is 'no'; expected one of None, True, False"),
        ({"tokenizer_config": {"mask_token": 5}}, 'mask_token is 5; expected a string or an object with "content"'),
        (
            {"tokenizer_config": {"mask_token": {"content": "[MASK]", "lstrip": True}}},
            "the token '[MASK]' (mask_token) has lstrip true",
        ),
        ({"tokenizer_config": {"truncation_side": "left"}}, "truncation_side is 'left'; this tokenizer"),
        ({"tokenizer_config": {"tokenizer_class": "RobertaTokenizer"}}, "tokenizer_class is 'RobertaTokenizer'"),
        (
            {"tokenizer_config": {"added_tokens_decoder": {"6": {"content": "cat", **NOTHING, "special": False}}}},
            "the added token 'cat' (id 6) is not special",
        ),
        (
            {"tokenizer_config": {"added_tokens_decoder": {"6": {"content": "dog", **NOTHING, "special": True}}}},
            "the added token 'dog' has id 6, where {path}/vocab.txt has 'cat'",
        ),
        (
            {"tokenizer_config": {"added_tokens_decoder": {"20": {"content": "dog", **NOTHING, "special": True}}}},
            "the added token 'dog' has id 20, where {path}/vocab.txt has only 9 tokens",
        ),
        ({"tokenizer": rust(model__type="BPE")}, "{path}/tokenizer.json: model.type is 'BPE'; BERT's tokenizer has"),
        ({"tokenizer": rust(model__max_input_chars_per_word=50)}, "model.max_input_chars_per_word is 50"),
        ({"tokenizer": rust(normalizer__clean_text=False)}, "normalizer.clean_text is False"),
        (
            {"vocab": None, "tokenizer": rust(model__vocab={"a": 0, "b": 2})},
            "{path}/tokenizer.json: the ids of model.vocab are not 0 .. 1, each once",
        ),
    ],
)
def test_refusals(tmp_path, files, message):
    write(tmp_path, **files)
    with pytest.raises(InputError, match=re.escape(message.format(path=tmp_path))):
        read_tokenizer_files(tmp_path)
