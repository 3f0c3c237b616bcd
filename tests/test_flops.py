"""Operations of a training step, against counts by hand, and the peaks of devices."""

import pytest

from bert_tf import BertConfig
from bert_tf.flops import encoder_flops, peak_of, pretraining_flops


def test_by_hand():
    """Two layers, H = 4, I = 6, S = 3: a layer multiplies 3 rows by q, k, v, output (4 x 16) and 2 x 24 weights, and
    has two products of 3 x 3 x 4 for scores and context; two operations each. Heads: 2 words by 4 x 4 and 4 x 10, the
    pooler 4 x 4. Three times that with the backward pass."""
    config = BertConfig(vocab_size=10, hidden_size=4, num_hidden_layers=2, num_attention_heads=2, intermediate_size=6)
    layer = 2 * 3 * (4 * 16 + 2 * 24) + 2 * 2 * 3 * 3 * 4
    assert encoder_flops(config, 3) == 2 * layer
    assert pretraining_flops(config, 3, 2) == 3 * (2 * layer + 2 * 2 * (16 + 40) + 2 * 16)


def test_a_token_of_the_usual_sizes():
    """The known figures at length 128 with 20 predictions, in millions a token."""
    for name, millions in (("bert-tiny", 6.3), ("bert-small", 92.9), ("bert-base", 545)):
        config = BertConfig.from_name(name)
        assert pretraining_flops(config, 128, 20) / 128 / 1e6 == pytest.approx(millions, rel=0.025)


def test_peaks():
    assert peak_of("NVIDIA H100 80GB HBM3", "bfloat16") == 989e12
    assert peak_of("NVIDIA H100 PCIe", "bfloat16") == 756e12
    assert peak_of("TPU v5 lite", "bfloat16") == 197e12
    assert peak_of("TPU v5", "bfloat16") == 459e12
    assert peak_of("cpu", "bfloat16") is None
    assert peak_of("NVIDIA H100 80GB HBM3", "float32") is None
