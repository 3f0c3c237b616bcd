"""The answer of an exported masked language model: the most probable words behind each [MASK] of a text."""

import tensorflow as tf


class MaskAnswers:
    """The words behind the masks, as `bert_tf.fill_mask` finds them (Devlin et al. 2018, section 3.1).

    Args:
        top_k: K, words a mask.

    Returns, for B texts of at most M masks that the model sees (those of the first `max_length` tokens):
        tokens         (B, M, K) string, the most probable first; "" where a text has fewer masks
        probabilities  (B, M, K) float32, of the whole vocabulary; 0 where a text has fewer masks
        positions      (B, M) int32, the place of the mask in the row; -1 where a text has fewer masks
    """

    task = "fill-mask"
    inputs = ("text",)

    def __init__(self, top_k=5):
        self.top_k = top_k

    def card(self):
        return {"task": self.task, "top_k": self.top_k}

    def rows(self, tokenizer, texts, max_length):
        rows = tokenizer(*texts, max_length=max_length)
        is_mask = rows["input_ids"] == tokenizer.mask_token_id  # (B, S)
        places = tf.where(is_mask)
        splits = tf.searchsorted(places[:, 0], tf.range(tf.shape(is_mask, tf.int64)[0] + 1))
        positions = tf.RaggedTensor.from_row_splits(tf.cast(places[:, 1], tf.int32), splits, validate=False)
        rows["positions"] = positions.to_tensor(-1)  # (B, M)
        rows["masked_lm_positions"] = tf.maximum(rows["positions"], 0)
        rows["vocabulary"] = tf.constant(tokenizer.vocab)
        return rows

    def __call__(self, outputs, rows):
        logits = tf.cast(outputs["prediction_logits"], tf.float32)  # (B, M, V)
        # A model may have more word vectors than the vocabulary has words.
        words = tf.nn.softmax(logits)[:, :, : rows["vocabulary"].shape[0]]
        probabilities, ids = tf.math.top_k(words, self.top_k)
        positions = rows["positions"]
        used = (positions >= 0)[:, :, None]
        return {
            "tokens": tf.where(used, tf.gather(rows["vocabulary"], ids), ""),
            "probabilities": tf.where(used, probabilities, 0.0),
            "positions": positions,
        }
