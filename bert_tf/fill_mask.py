"""The most probable words at each [MASK] of a text (Devlin et al. 2018, section 3.1: the masked language model)."""

import numpy as np
from keras import ops

from bert_tf.errors import InputError


def fill_mask(model, tokenizer, texts, top_k=5):
    """Asks a masked language model for the words behind the masks.

    Args:
        model: a model that returns `prediction_logits` (`BertForMaskedLM`, `BertForPreTraining`).
        tokenizer: the `BertTokenizer` with its vocabulary.
        texts: a list of strings, each with one mask token ([MASK]) or more.
        top_k: how many words a mask.

    Returns:
        for each text a list of its masks in order, each a list of `top_k` pairs (token, probability), the most
        probable first. A probability is the softmax over the whole vocabulary, with every other mask left as it is.

    Raises:
        InputError: a text without mask, or with one beyond the last position of the model; `top_k` out of range.
    """
    mask = tokenizer.mask_token
    if not 1 <= top_k <= tokenizer.vocab_size:
        raise InputError(f"top_k must be from 1 to the {tokenizer.vocab_size} tokens of the vocabulary, got {top_k}")
    for text in texts:
        if mask not in text:
            raise InputError(f"the text {text!r} has no {mask}; write {mask} where a word is to be filled in")
    batch = tokenizer(texts, max_length=model.config.max_position_embeddings, padding="longest")
    batch = {name: np.asarray(value) for name, value in batch.items()}
    rows, columns = np.nonzero(batch["input_ids"] == tokenizer.mask_token_id)
    for row, text in enumerate(texts):
        found, written = int((rows == row).sum()), text.count(mask)
        if found != written:
            raise InputError(
                f"of the {written} {mask} in the text {text[:60]!r} the model sees {found}: the rest lies beyond its "
                f"{model.config.max_position_embeddings} positions; cut the text before the first words"
            )

    counts = np.bincount(rows, minlength=len(texts))
    slots = np.concatenate([np.arange(count) for count in counts])
    positions = np.zeros((len(texts), counts.max()), "int32")  # (B, P); unused slots ask for position 0
    positions[rows, slots] = columns
    logits = model(batch | {"masked_lm_positions": positions}, training=False)["prediction_logits"]
    logits = ops.convert_to_numpy(logits).astype(np.float64)[rows, slots]  # (masks, V)
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities = weights / weights.sum(axis=-1, keepdims=True)
    words = probabilities[:, : tokenizer.vocab_size]  # a model may have more word vectors than the vocabulary has words
    best = np.argsort(-words, axis=-1, kind="stable")[:, :top_k]
    answers = [[] for _ in texts]
    for row, ids, values in zip(rows, best, words, strict=True):
        answers[row].append([(tokenizer.vocab[index], float(values[index])) for index in ids])
    return answers
