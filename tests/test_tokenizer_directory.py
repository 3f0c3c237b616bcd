"""The tokenizer directory: written, read, and every way not to be one."""

import json
import re

import numpy as np
import pytest

from bert_tf import InputError
from pretraining.tokenizer_directory import read_tokenizer_directory, write_tokenizer_directory
from tests.small_corpus import TOKENS, make_tokenizer


def refused(text):
    return pytest.raises(InputError, match=re.escape(text))


def test_what_is_written_is_read(tmp_path):
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "é", "##b", "ab"]
    settings = {"do_lower_case": False, "strip_accents": None, "tokenize_chinese_chars": True}
    write_tokenizer_directory(tmp_path, tokens, settings, 128)
    assert (tmp_path / "vocab.txt").read_bytes() == "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\né\n##b\nab\n".encode()
    assert json.loads((tmp_path / "tokenizer_config.json").read_text()) == settings | {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
        "model_max_length": 128,
        "tokenizer_class": "BertTokenizer",
    }
    directory = read_tokenizer_directory(tmp_path)
    assert directory.tokens == tuple(tokens)
    assert directory.vocab_size == 8
    assert directory.settings == settings
    assert (directory.pad_id, directory.unk_id, directory.cls_id, directory.sep_id, directory.mask_id) == (
        0,
        1,
        2,
        3,
        4,
    )
    assert directory.special_ids.tolist() == [0, 1, 2, 3, 4]
    assert directory.continuations().tolist() == [False] * 6 + [True, False]


def test_special_tokens_of_other_names_and_places(tmp_path):
    """`transformers` writes a special token as a string or as an AddedToken."""
    (tmp_path / "vocab.txt").write_text("<m>\nword\r\n<s>\n</s>\n<p>\n<u>")
    config = {"mask_token": {"content": "<m>", "lstrip": False}, "cls_token": "<s>", "sep_token": "</s>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"pad_token": "<p>", "unk_token": "<u>"}))
    directory = read_tokenizer_directory(tmp_path)
    assert directory.tokens == ("<m>", "word", "<s>", "</s>", "<p>", "<u>")
    assert (directory.mask_id, directory.cls_id, directory.sep_id, directory.pad_id, directory.unk_id) == (
        0,
        2,
        3,
        4,
        5,
    )
    assert directory.settings == {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}


@pytest.mark.parametrize(("size", "dtype"), [(65_536, "<u2"), (65_537, "<u4")])
def test_token_dtype(tmp_path, size, dtype):
    """The largest id of 65,536 tokens is 65,535 = 2^16 - 1."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"t{index}" for index in range(size - 5))]
    write_tokenizer_directory(tmp_path, tokens, {}, 512)
    assert read_tokenizer_directory(tmp_path).token_dtype == np.dtype(dtype)


def test_directories_that_are_none(tmp_path):
    folder = make_tokenizer(tmp_path / "t")
    config, vocabulary = folder / "tokenizer_config.json", folder / "vocab.txt"

    (folder / "other").mkdir()
    with refused(f"{folder}/other is not a tokenizer directory: it has no vocab.txt (make one with bert-pretrain"):
        read_tokenizer_directory(folder / "other")
    config.write_text('{"do_lower_case": "yes"}')
    with refused(f"{config}: do_lower_case must be true or false, not 'yes'"):
        read_tokenizer_directory(folder)
    config.write_text('{"do_lower_case": null}')
    with refused(f"{config}: do_lower_case must be true or false, not None"):
        read_tokenizer_directory(folder)
    config.write_text("{")
    with refused(f"{config} is not JSON: "):
        read_tokenizer_directory(folder)
    config.write_text("{}")
    vocabulary.write_text("\n".join(TOKENS).replace("[MASK]", "[mask]"))
    with refused(f"{vocabulary} has no [MASK], the mask_token of pretraining: use another vocabulary"):
        read_tokenizer_directory(folder)
    vocabulary.write_text("\n".join([*TOKENS, "cat"]))
    place = TOKENS.index("cat") + 1
    with refused(f"{vocabulary} has the token 'cat' twice, on lines {place} and {len(TOKENS) + 1}"):
        read_tokenizer_directory(folder)
    vocabulary.write_bytes(b"[PAD]\n\xff\n")
    with refused(f"{vocabulary} is not UTF-8 text: byte offset 6"):
        read_tokenizer_directory(folder)
    config.unlink()
    with refused(f"{folder} is not a tokenizer directory: it has no tokenizer_config.json"):
        read_tokenizer_directory(folder)
