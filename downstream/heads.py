"""The three heads of fine-tuning: on the sequence, on every token, on the ends of an answer.

Follows Devlin et al. 2018, section 4 and figure 4; layers, names and settings are those of Hugging Face's
`BertForSequenceClassification`, `BertForTokenClassification` and `BertForQuestionAnswering`. Shapes: B batch,
S sequence, C labels.
"""

import keras

from bert_tf.embeddings import truncated_normal
from bert_tf.errors import InputError
from bert_tf.model import BertModel
from bert_tf.pretrained import PretrainedModel, dense_places

PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")


class _Head(PretrainedModel):
    """An encoder, dropout and one dense layer, whose tensors Hugging Face calls `output_name`."""

    def __init__(self, config, *, output_name, units, pooled, dropout, dtype, name, **head_settings):
        super().__init__(config, dtype=dtype, name=name, **head_settings)
        self.bert = BertModel(config, add_pooling_layer=pooled, dtype=self.dtype_policy)
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy, name="dropout")
        self.output_dense = keras.layers.Dense(
            units,
            kernel_initializer=truncated_normal(config.initializer_range),
            dtype=self.dtype_policy,
            name=output_name,
        )
        self.build()

    def build(self, input_shape=None):
        self.output_dense.build((None, self.config.hidden_size))

    def weight_table(self):
        table = {f"bert.{name}": place for name, place in self.bert.weight_table().items()}
        return table | dense_places(self.output_dense.name, self.output_dense)


class _Classifier(_Head):
    """A head with labels: their names and `classifier_dropout` stand in config.json as Hugging Face has them."""

    def __init__(self, config, *, labels, classifier_dropout, pooled, dtype, name, **head_settings):
        labels = list(labels)
        if not labels or len(set(labels)) != len(labels) or not all(isinstance(label, str) for label in labels):
            raise InputError(f"labels must be different strings, at least one, got {labels}")
        dropout = config.hidden_dropout_prob if classifier_dropout is None else classifier_dropout
        if not 0 <= dropout < 1:
            raise InputError(f"classifier_dropout must be a number in [0, 1), got {dropout}")
        super().__init__(
            config,
            output_name="classifier",
            units=len(labels),
            pooled=pooled,
            dropout=dropout,
            dtype=dtype,
            name=name,
            labels=labels,
            classifier_dropout=classifier_dropout,
            **head_settings,
        )
        self.labels = tuple(labels)

    @staticmethod
    def write_head_settings(head_settings):
        labels = head_settings["labels"]
        return {
            "id2label": {str(index): label for index, label in enumerate(labels)},
            "label2id": {label: index for index, label in enumerate(labels)},
            "classifier_dropout": head_settings["classifier_dropout"],
        }

    @staticmethod
    def read_head_settings(values):
        return {"labels": labels_of(values), "classifier_dropout": values.get("classifier_dropout")}


@keras.saving.register_keras_serializable(package="bert_tf")
class BertForSequenceClassification(_Classifier):
    """BERT with a dense layer on the pooled first token: classes, several labels at once, or a number.

    Args:
        config: a `BertConfig`.
        labels: the names of the C labels, in the order of the logits.
        problem_type: what the logits mean: "single_label_classification" (softmax), "multi_label_classification"
            (a sigmoid each) or "regression" (the value itself).
        classifier_dropout: dropout before the dense layer; None: the configuration's `hidden_dropout_prob`.

    Call: the inputs of `BertModel`. Returns {"logits": (B, C)}, with `output_hidden_states` the encoder's
        `hidden_states` too.

    Raises:
        InputError: labels that are not different strings, an unknown problem type, a dropout outside [0, 1).
    """

    def __init__(
        self,
        config,
        *,
        labels=("LABEL_0", "LABEL_1"),
        problem_type="single_label_classification",
        classifier_dropout=None,
        dtype=None,
        name="bert_for_sequence_classification",
    ):
        if problem_type not in PROBLEM_TYPES:
            raise InputError(f"problem_type must be one of {', '.join(PROBLEM_TYPES)}, got {problem_type!r}")
        super().__init__(
            config,
            labels=labels,
            classifier_dropout=classifier_dropout,
            pooled=True,
            dtype=dtype,
            name=name,
            problem_type=problem_type,
        )
        self.problem_type = problem_type

    def call(self, inputs, training=None, output_hidden_states=False):
        outputs = self.bert(inputs, training=training, output_hidden_states=output_hidden_states)
        pooled = self.dropout(outputs["pooler_output"], training=training)  # (B, H)
        outputs["logits"] = self.output_dense(pooled)  # (B, C)
        return {name: outputs[name] for name in ("logits", "hidden_states") if name in outputs}

    @staticmethod
    def write_head_settings(head_settings):
        return _Classifier.write_head_settings(head_settings) | {"problem_type": head_settings["problem_type"]}

    @staticmethod
    def read_head_settings(values):
        settings = _Classifier.read_head_settings(values)
        # Where config.json leaves it open, one label means regression (Hugging Face, `modeling_bert.py`).
        usual = "regression" if len(settings["labels"]) == 1 else "single_label_classification"
        return settings | {"problem_type": values.get("problem_type") or usual}


@keras.saving.register_keras_serializable(package="bert_tf")
class BertForTokenClassification(_Classifier):
    """BERT with a dense layer on every token, without pooler.

    Args: as `BertForSequenceClassification`, without `problem_type`.

    Call: the inputs of `BertModel`. Returns {"logits": (B, S, C)}.
    """

    def __init__(
        self,
        config,
        *,
        labels=("LABEL_0", "LABEL_1"),
        classifier_dropout=None,
        dtype=None,
        name="bert_for_token_classification",
    ):
        super().__init__(
            config, labels=labels, classifier_dropout=classifier_dropout, pooled=False, dtype=dtype, name=name
        )

    def call(self, inputs, training=None):
        hidden = self.bert(inputs, training=training)["last_hidden_state"]  # (B, S, H)
        return {"logits": self.output_dense(self.dropout(hidden, training=training))}  # (B, S, C)


@keras.saving.register_keras_serializable(package="bert_tf")
class BertForQuestionAnswering(_Head):
    """BERT with the scores of each token as first and as last of an answer, without pooler and without dropout.

    Call: the inputs of `BertModel`. Returns {"start_logits": (B, S), "end_logits": (B, S)}.
    """

    def __init__(self, config, *, dtype=None, name="bert_for_question_answering"):
        super().__init__(config, output_name="qa_outputs", units=2, pooled=False, dropout=0.0, dtype=dtype, name=name)

    def call(self, inputs, training=None):
        hidden = self.bert(inputs, training=training)["last_hidden_state"]  # (B, S, H)
        logits = self.output_dense(hidden)  # (B, S, 2)
        return {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}


def labels_of(values):
    """The label names of a config.json, in the order of their ids; without any, LABEL_0 and LABEL_1 as Hugging Face.

    Raises:
        InputError: `id2label` that does not number its labels 0, 1, 2, …
    """
    names = values.get("id2label")
    if names is None:
        return [f"LABEL_{index}" for index in range(values.get("num_labels") or 2)]
    if sorted(names, key=str) != sorted(str(index) for index in range(len(names))):
        raise InputError(f"id2label in config.json must number its labels from 0 on, got the numbers {list(names)}")
    return [names[str(index)] for index in range(len(names))]
