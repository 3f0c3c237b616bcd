"""fill-mask: words and probabilities equal a softmax over the logits of the float64 NumPy BERT."""

import numpy as np
import pytest

from bert_tf import BertTokenizer, InputError
from bert_tf.__main__ import main
from bert_tf.fill_mask import fill_mask
from pretraining import BertForMaskedLM
from tests import numpy_bert
from tests.checkpoint_files import VOCABULARY, encoder_tensors, hugging_face_tensors, small_config, write_hugging_face
from tests.small_bert import parameters

TEXTS = ["the [MASK] sat on a [MASK].", "[MASK]!", "it was not a good film and the dog [MASK]ran far [MASK] [MASK]"]


@pytest.fixture
def folder(tmp_path):
    return write_hugging_face(tmp_path / "m", "BertForPreTraining", hugging_face_tensors())


def expected(ids):
    """[(probability of every token) of each mask] of one text, alone in its batch."""
    config, ids = small_config(), np.array([ids])
    outputs, _ = numpy_bert.bert(parameters(config), config, ids, np.ones_like(ids), np.zeros_like(ids))
    positions = np.flatnonzero(ids[0] == VOCABULARY.index("[MASK]"))[None]
    logits, _ = numpy_bert.mlm_head(parameters(config), config, outputs["last_hidden_state"], positions)
    return [weights / weights.sum() for weights in np.exp(logits[0])]


def test_words_and_probabilities_of_every_mask(folder):
    model, tokenizer = BertForMaskedLM.from_pretrained(folder), BertTokenizer.from_pretrained(folder)
    answers = fill_mask(model, tokenizer, TEXTS, top_k=4)
    assert [len(masks) for masks in answers] == [2, 1, 3]
    firsts = set()
    for text, masks in zip(TEXTS, answers, strict=True):
        words = ["[CLS]", *text.replace("[MASK]", " [MASK] ").replace(".", " .").replace("!", " !").split(), "[SEP]"]
        for mask, probabilities in zip(masks, expected([VOCABULARY.index(word) for word in words]), strict=True):
            best = np.argsort(-probabilities)[:4]
            assert [token for token, _ in mask] == [VOCABULARY[index] for index in best]
            np.testing.assert_allclose([value for _, value in mask], probabilities[best], rtol=1e-4)
            firsts.add(mask[0][0])
    assert len(firsts) > 1  # a constant answer would not pass


def test_top_k_reaches_from_one_to_the_whole_vocabulary(folder):
    model, tokenizer = BertForMaskedLM.from_pretrained(folder), BertTokenizer.from_pretrained(folder)
    [[every]] = fill_mask(model, tokenizer, ["[MASK]"], top_k=61)
    assert sorted(token for token, _ in every) == sorted(VOCABULARY)
    assert sum(value for _, value in every) == pytest.approx(1)
    assert fill_mask(model, tokenizer, ["[MASK]"], top_k=1) == [[every[:1]]]
    for top_k in (0, 62):
        with pytest.raises(InputError, match=f"top_k must be from 1 to the 61 tokens of the vocabulary, got {top_k}"):
            fill_mask(model, tokenizer, ["[MASK]"], top_k=top_k)


def test_word_vectors_without_a_word_are_never_an_answer(folder):
    model = BertForMaskedLM.from_pretrained(folder)
    whole, part = BertTokenizer(VOCABULARY), BertTokenizer(VOCABULARY[:20])
    [[every]] = fill_mask(model, whole, ["the [MASK]"], top_k=61)
    [[some]] = fill_mask(model, part, ["the [MASK]"], top_k=20)
    assert some == [pair for pair in every if pair[0] in VOCABULARY[:20]]  # of the same distribution


def test_a_text_without_mask_and_a_mask_that_is_cut_off(folder):
    model, tokenizer = BertForMaskedLM.from_pretrained(folder), BertTokenizer.from_pretrained(folder)
    with pytest.raises(InputError, match=r"the text 'a \[mask\] b' has no \[MASK\]; write \[MASK\] where a word"):
        fill_mask(model, tokenizer, [TEXTS[0], "a [mask] b"])
    # 19 positions: [CLS], [MASK], 16 words, [SEP]; the second mask is the 18th word
    with pytest.raises(
        InputError, match=r"of the 2 \[MASK\] in the text .* the model sees 1: the rest lies beyond its 19"
    ):
        fill_mask(model, tokenizer, ["[MASK]" + " the" * 16 + " [MASK]"])
    [masks] = fill_mask(model, tokenizer, ["[MASK]" + " the" * 15 + " [MASK] cut"])
    assert len(masks) == 2


def test_the_command(folder, capsys):
    assert main(["fill-mask", "--model", str(folder), "--top-k", "2", *TEXTS[:2]]) == 0
    lines = capsys.readouterr().out.splitlines()
    model, tokenizer = BertForMaskedLM.from_pretrained(folder), BertTokenizer.from_pretrained(folder)
    first, second = fill_mask(model, tokenizer, TEXTS[:2], top_k=2)
    shown = [[f"  {value:6.1%}  {token}" for token, value in mask] for mask in (*first, *second)]
    assert lines == [TEXTS[0], "  mask 1", *shown[0], "  mask 2", *shown[1], TEXTS[1], *shown[2]]


def test_the_command_refuses_a_text_without_mask_and_a_model_without_head(folder, tmp_path, capsys):
    assert main(["fill-mask", "--model", str(folder), "no mask"]) == 2
    assert capsys.readouterr().err == (
        "bert-tf: error: the text 'no mask' has no [MASK]; write [MASK] where a word is to be filled in\n"
    )
    encoder = write_hugging_face(tmp_path / "e", "BertModel", encoder_tensors())
    assert main(["fill-mask", "--model", str(encoder), "[MASK]"]) == 2
    assert "holds no masked language model head" in capsys.readouterr().err
