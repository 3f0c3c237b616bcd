"""The tokenizer directory and `transformers`: each reads what the other writes, and then they agree."""

import json

import pytest

from benchmarks.tokenizer_parity import random_texts
from bert_tf import BertTokenizer

pytestmark = pytest.mark.parity
transformers = pytest.importorskip("transformers")

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[A]", "[B]", "the", "naive", "naïve", "中", "don", "'"]
VOCAB += [*"abcdefghijklmnopqrstuvwxyz.,![]-ABC", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_lower_case": False, "clean_up_tokenization_spaces": True},
        {"strip_accents": False, "tokenize_chinese_chars": False, "model_max_length": 40},
        {"mask_token": "[A]", "additional_special_tokens": ["[B]"]},
    ],
)
def test_both_ways(tmp_path, settings):
    ours = BertTokenizer(VOCAB, **settings)
    ours.save_pretrained(tmp_path / "ours")
    (tmp_path / "ours" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert theirs.model_max_length == ours.model_max_length
    assert set(theirs.all_special_ids) == set(ours.all_special_ids)
    texts = [*random_texts(200, seed=11), "the [MASK] [A]naïve[B] NAÏVE don't , 中."]
    pairs = texts[::-1]
    expected = theirs(texts, pairs, truncation=True, max_length=24, padding=True, return_offsets_mapping=True)
    batch = ours(texts, pairs, max_length=24, return_offsets=True)
    for key in ("input_ids", "token_type_ids", "attention_mask"):
        assert batch[key].numpy().tolist() == expected[key]
    offsets = [[tuple(pair) for pair in row] for row in batch["offset_mapping"].numpy().tolist()]
    assert offsets == expected["offset_mapping"]
    for skip in (False, True):
        for row in expected["input_ids"]:
            assert ours.decode(row, skip_special_tokens=skip) == theirs.decode(row, skip_special_tokens=skip)

    theirs.save_pretrained(tmp_path / "theirs")
    assert not (tmp_path / "theirs" / "vocab.txt").exists()  # transformers 5 keeps the vocabulary in tokenizer.json
    again = BertTokenizer.from_pretrained(tmp_path / "theirs")
    assert again.vocab == ours.vocab
    assert dict(again.settings) == dict(ours.settings)
