"""A vocabulary extended: new words begin as the mean of their pieces, and nothing that was there changes.

`test_jax_backend.py` runs this module again with Keras on JAX.
"""

import re

import numpy as np
import pytest
from safetensors.numpy import load_file

from bert_tf import BertModel, BertTokenizer, InputError
from bert_tf.__main__ import main
from bert_tf.vocabulary_extension import extend_vocabulary, resize_token_embeddings
from downstream import BertForQuestionAnswering, BertForSequenceClassification, BertForTokenClassification
from pretraining import BertForMaskedLM, BertForNextSentencePrediction, BertForPreTraining
from tests.autodiff import outputs_of
from tests.checkpoint_files import VOCABULARY, hugging_face_tensors, write_hugging_face
from tests.small_bert import batch, small_config

MODELS = {
    "encoder": lambda config: BertModel(config, add_pooling_layer=False),
    "pretraining": BertForPreTraining,
    "padded": lambda config: BertForPreTraining(config, pad_vocab_size_multiple_of=16),
    "masked lm": BertForMaskedLM,
    "next sentence": BertForNextSentencePrediction,
    "sequences": lambda config: BertForSequenceClassification(config, labels=("a", "b", "c"), classifier_dropout=0.3),
    "tokens": lambda config: BertForTokenClassification(config, labels=tuple("abcdefg")),
    "answers": BertForQuestionAnswering,
}


def random_model(name="pretraining", **changes):
    """Every weight random, none at its initial value."""
    model = MODELS[name](small_config(num_hidden_layers=1, **changes))
    rng = np.random.default_rng(3)
    for name, place in model.weight_table().items():
        mean = 1.0 if name.endswith("LayerNorm.weight") else 0.0
        place.write(rng.normal(mean, 0.4, place.shape).astype("float32"))
    return model


def tensors(model):
    return {name: place.read() for name, place in model.weight_table().items()}


def has_a_row_a_token(name):
    return name.endswith("word_embeddings.weight") or name == "cls.predictions.bias"


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [64, 67, 7])
def test_resized(name, size):
    """61 words to 64, 67 and 7: common rows bitwise equal, new vectors like fresh ones, new biases 0."""
    model = random_model(name)
    before = tensors(model)
    resized = resize_token_embeddings(model, size)
    assert type(resized) is type(model)
    assert resized.config == model.config.replace(vocab_size=size)
    assert resized.head_settings == model.head_settings
    after = tensors(resized)
    assert sorted(after) == sorted(before)
    for tensor, value in before.items():
        np.testing.assert_array_equal(tensors(model)[tensor], value)  # the given model is left alone
        if not has_a_row_a_token(tensor):
            np.testing.assert_array_equal(after[tensor], value, err_msg=tensor)
            continue
        assert len(after[tensor]) == size
        np.testing.assert_array_equal(after[tensor][:61], value[:size])
        new = after[tensor][61:]
        assert not new.any() if tensor.endswith("bias") else (np.abs(new) < 0.05).all() and new.all()  # 2 · 0.02


def test_outputs_on_old_ids_stay():
    model = random_model()
    inputs = batch(model.config)
    before, after = outputs_of(model, inputs), outputs_of(resize_token_embeddings(model, 70), inputs)
    np.testing.assert_allclose(after["prediction_logits"][..., :61], before["prediction_logits"], atol=1e-5)
    np.testing.assert_array_equal(after["seq_relationship_logits"], before["seq_relationship_logits"])


@pytest.mark.parametrize("name", MODELS)
def test_extended(name):
    """The pieces are worked out by hand; everything else is bitwise what it was."""
    model, tokenizer = random_model(name), BertTokenizer(VOCABULARY)
    ids = tokenizer.token_to_id
    # "cat" is there, "CATS" is "cats" again, and "running" is unknown: no token begins like it.
    words = ["Cats", "dogsing", "cat", "running", "CATS", "cafés"]
    pieces = [["cat", "##s"], ["dog", "##s", "##ing"], ["[UNK]"], ["caf", "##e", "##s"]]
    before = tensors(model)
    extended, new_tokenizer = extend_vocabulary(model, tokenizer, words)

    assert new_tokenizer.vocab == (*VOCABULARY, "cats", "dogsing", "running", "cafes")
    assert new_tokenizer.settings == tokenizer.settings
    assert tokenizer.vocab == tuple(VOCABULARY)
    assert extended.config.vocab_size == 65
    assert new_tokenizer(["the cats, Running Cafés"])["input_ids"].numpy().tolist() == [
        [ids("[CLS]"), ids("the"), 61, ids(","), 63, 64, ids("[SEP]")]
    ]
    after = tensors(extended)
    for tensor, value in before.items():
        np.testing.assert_array_equal(after[tensor][:61] if has_a_row_a_token(tensor) else after[tensor], value)
        if has_a_row_a_token(tensor):
            expected = np.stack([value[[ids(piece) for piece in word]].mean(axis=0) for word in pieces])
            np.testing.assert_allclose(after[tensor][61:], expected, rtol=1e-6)


def test_the_score_of_a_new_word_is_the_mean_of_those_of_its_pieces():
    model, tokenizer = random_model("masked lm"), BertTokenizer(VOCABULARY)
    extended, _ = extend_vocabulary(model, tokenizer, ["cats"])
    logits = outputs_of(extended, batch(model.config))["prediction_logits"]
    expected = (logits[..., tokenizer.token_to_id("cat")] + logits[..., tokenizer.token_to_id("##s")]) / 2
    np.testing.assert_allclose(logits[..., 61], expected, atol=1e-5)
    assert np.ptp(expected) > 0.1


def test_a_model_with_more_vectors_than_words():
    """70 vectors for 61 words: the first new word takes row 61, rows 62 to 69 stay as they are."""
    model, tokenizer = random_model(vocab_size=70), BertTokenizer(VOCABULARY)
    extended, new_tokenizer = extend_vocabulary(model, tokenizer, ["cats"])
    assert (extended.config.vocab_size, new_tokenizer.vocab_size) == (70, 62)
    name = "bert.embeddings.word_embeddings.weight"
    before, after = tensors(model)[name], tensors(extended)[name]
    np.testing.assert_array_equal(np.delete(after, 61, 0), np.delete(before, 61, 0))
    assert not np.array_equal(after[61], before[61])


@pytest.mark.parametrize(
    ("settings", "word", "token"),
    [
        ({}, "CAFÉS", "cafes"),
        ({"do_lower_case": False}, "CAFÉS", "CAFÉS"),
        ({"do_lower_case": False, "strip_accents": True}, "CAFÉS", "CAFES"),
        ({"strip_accents": False}, "Ça\u200bfés", "çafés"),  # the zero-width space is a control character: removed
        ({}, "€", "€"),
        ({}, "東", "東"),
        ({"tokenize_chinese_chars": False}, "東京", "東京"),
        ({}, "각", "\u1100\u1161\u11a8"),  # decomposed
    ],
)
def test_a_word_is_added_as_the_tokenizer_reads_it(settings, word, token):
    _, tokenizer = extend_vocabulary(random_model(), BertTokenizer(VOCABULARY, **settings), [word])
    assert tokenizer.vocab[61:] == (token,)
    assert tokenizer.tokenize([f"the {word}cat {word}"]).to_list()[0][-1] == token.encode()


@pytest.mark.parametrize(
    ("word", "reading"),
    [
        ("dog-cat", "dog [UNK] cat"),
        ("the cat", "the cat"),
        ("", "nothing"),
        ("\u0301", "nothing"),  # an accent alone
        ("東京", "[UNK] [UNK]"),
        ("[MASK]", "[MASK]"),
        ("x" * 101, "[UNK]"),
    ],
)
def test_what_is_no_single_word_stops(word, reading):
    sentence = f"the tokenizer reads {word!r} as {reading}, not as one word; give single words"
    with pytest.raises(InputError, match=re.escape(sentence)):
        extend_vocabulary(random_model(), BertTokenizer(VOCABULARY), ["cats", word])


def test_a_vocabulary_that_is_larger_than_the_model_stops():
    with pytest.raises(InputError, match="the vocabulary has 61 tokens and the model 60 word vectors; take the voc"):
        extend_vocabulary(random_model(vocab_size=60), BertTokenizer(VOCABULARY), ["cats"])
    with pytest.raises(InputError, match="vocab_size must be an integer of at least 1, got 0"):
        resize_token_embeddings(random_model(), 0)


@pytest.mark.parametrize("architecture", ["BertForPreTraining", "BertForMaskedLM"])
def test_the_command(tmp_path, capsys, architecture):
    """A published checkpoint is named for one head and holds both: both are kept."""
    write_hugging_face(tmp_path / "m", architecture, hugging_face_tensors())
    (tmp_path / "words.txt").write_text("Cats\n\n cafés \ncat\n", encoding="utf-8")
    command = ["extend-vocabulary", "--model", str(tmp_path / "m"), "--words", str(tmp_path / "words.txt")]
    assert main([*command, "--output", str(tmp_path / "new")]) == 0
    assert capsys.readouterr().out == (
        f"Wrote {tmp_path / 'new'}: 2 of 3 words added, the others are tokens already; 63 tokens.\n"
    )
    before, after = hugging_face_tensors(), load_file(tmp_path / "new" / "model.safetensors")
    assert sorted(before) == sorted(after)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name][: len(value)], value)
    words = after["bert.embeddings.word_embeddings.weight"]
    piece = VOCABULARY.index
    np.testing.assert_allclose(words[61], (words[piece("cat")] + words[piece("##s")]) / 2, rtol=1e-6)
    tokenizer = BertTokenizer.from_pretrained(tmp_path / "new")
    assert tokenizer.vocab == (*VOCABULARY, "cats", "cafes")
    assert BertForPreTraining.from_pretrained(tmp_path / "new").config.vocab_size == 63

    assert main([*command, "--output", str(tmp_path / "new")]) == 2
    assert "exists and is not an empty folder; give a new one to write" in capsys.readouterr().err
    command[-1] = str(tmp_path / "none.txt")
    assert main([*command, "--output", str(tmp_path / "other")]) == 2
    assert "expected a text file with a word a line" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_nothing_to_add():
    model, tokenizer = random_model(), BertTokenizer(VOCABULARY)
    for words in ([], ["cat", "Dog"]):
        extended, new_tokenizer = extend_vocabulary(model, tokenizer, words)
        assert new_tokenizer.vocab == tokenizer.vocab
        assert all(np.array_equal(value, tensors(extended)[name]) for name, value in tensors(model).items())
