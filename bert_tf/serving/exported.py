"""An exported SavedModel as functions from texts to plain Python values; TensorFlow alone is needed to load it."""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from bert_tf.errors import InputError
from bert_tf.export_folder import CARD

# Of the outputs that differ in size from text to text, the one that tells how many of its neighbours count.
_COUNTED = {
    "word_ends": (lambda ends: ends > 0, "word"),
    "entity_ends": (lambda ends: ends > 0, "entit"),
    "positions": (lambda positions: positions >= 0, ""),
}


class Exported:
    """Opens a SavedModel that `bert-tf export` wrote.

    Attributes:
        card: its `model_card.json`.
        inputs: the names of the strings of an instance, such as ("text", "text_b").

    Raises:
        InputError: no such folder, no card, an export that takes ids.
    """

    def __init__(self, path):
        path = Path(path)
        try:
            self.card = json.loads((path / CARD).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} holds no {CARD}: {error}; give a folder that bert-tf export wrote") from None
        if self.card.get("format") != "saved_model":
            raise InputError(
                f"{path} holds a model that takes ids; give a SavedModel (bert-tf export without --format)"
            )
        self._signatures = tf.saved_model.load(str(path)).signatures
        self.inputs = tuple(self.card["inputs"])

    def tensors(self, instances, signature="serving_default"):
        """The outputs of a signature for all instances, {name: array whose first axis is the instance}.

        Args:
            instances: tuples of bytes, a text for each input.
        """
        columns = zip(*instances, strict=True)
        texts = {name: tf.constant(list(column)) for name, column in zip(self.inputs, columns, strict=True)}
        return {name: values.numpy() for name, values in self._signatures[signature](**texts).items()}

    def answers(self, instances):
        """[{output: value}]: numbers, strings and lists of them, without what only pads one text to another."""
        columns = self.tensors(instances)
        columns.pop("last_hidden_state", None)  # of an encoder; the signature `ids` has it for who wants it
        rows = []
        for row in range(len(instances)):
            answer = {name: values[row] for name, values in columns.items()}
            for name, (counts, beginning) in _COUNTED.items():
                if name in answer:
                    count = int(counts(answer[name]).sum())
                    those = [key for key in answer if key.startswith(beginning)]
                    answer |= {key: answer[key][:count] for key in those}
            rows.append({name: plain(value) for name, value in answer.items()})
        return rows

    def attention(self, instance, layer, head):
        """{"tokens": [S], "weights": [S][S]} of one head; weights[i][j]: how much token i reads from token j.

        Raises:
            InputError: a layer or a head that the model does not have.
        """
        found = self.tensors([instance], "attention")
        weights = found["attentions"][0]  # (L, A, S, S)
        for name, value, count in (("layer", layer, weights.shape[0]), ("head", head, weights.shape[1])):
            if not 0 <= value < count:
                raise InputError(f"{name} must be from 0 to {count - 1}, got {value}")
        return {"tokens": plain(found["tokens"][0]), "weights": plain(np.round(weights[layer, head], 4))}


def plain(value):
    """Numbers and strings, or nested lists of them, of NumPy's values and bytes."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    elif isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
