"""A student with its teacher beside it: one model whose outputs hold what the losses of distillation compare.

The teacher is computed in the same compiled step, without dropout and without gradients; its weights stay as they are.
"""

import keras
from keras import ops

from bert_tf.embeddings import truncated_normal
from downstream.distillation_losses import attention_scores


class Distiller(keras.Model):
    """For `FineTuning`: only the student, and a projection where one is needed, are trained.

    Args:
        student, teacher: `BertForSequenceClassification`s of the same vocabulary and labels.
        losses: the names of the losses (`DistillationObjective`); without one but "labels" the teacher is not computed.
        layers: for each layer of the student the layer of the teacher that it learns from, both counted from 1.
        relation_layer: the layer of the teacher whose relations the last one of the student learns, from 1.

    Call: the inputs of `BertModel`. Returns `logits` (B, C) of the student and, of the losses asked for, lists of pairs
    (student, teacher):
        soft       one of logits (B, C)
        hidden     of hidden states (B, S, H of the teacher), the embeddings first; where the widths differ one learned
                   projection, the same for all layers, widens (or narrows) those of the student
        attention  of scores before the softmax (B, N, S, S), one for each layer of the student
        relations  three of (B, N, S, D): queries, keys, values
    """

    def __init__(self, student, teacher, losses, layers, relation_layer):
        super().__init__(dtype=student.dtype_policy, name="distiller")
        self.student = student
        self.teacher = teacher
        self.teacher.trainable = False
        self.losses_of_teacher = [name for name in losses if name != "labels"]
        self.layers_of_teacher = layers
        self.relation_layer = relation_layer
        self.projection = None
        if "hidden" in losses and student.config.hidden_size != teacher.config.hidden_size:
            self.projection = keras.layers.Dense(
                teacher.config.hidden_size,
                kernel_initializer=truncated_normal(student.config.initializer_range),
                dtype=self.dtype_policy,
                name="projection",
            )
        self.build()

    def build(self, input_shape=None):
        if self.projection is not None:
            self.projection.build((None, None, self.student.config.hidden_size))

    @property
    def config(self):
        """The student's, as `FineTuning` asks for it."""
        return self.student.config

    @property
    def bert(self):
        """The student's encoder, likewise."""
        return self.student.bert

    def count_params(self):
        """The student's."""
        return self.student.count_params()

    def call(self, inputs, training=None):
        if not self.losses_of_teacher:
            return self.student(inputs, training=training)
        student = self.student(inputs, training=training, output_hidden_states=True)
        teacher = self.teacher(inputs, training=False, output_hidden_states=True)
        outputs = {"logits": student["logits"]}
        for name in self.losses_of_teacher:
            pairs = getattr(self, f"_{name}_pairs")(student, teacher)
            outputs[name] = [(one, ops.stop_gradient(other)) for one, other in pairs]
        return outputs

    def _soft_pairs(self, student, teacher):
        return [(student["logits"], teacher["logits"])]

    def _hidden_pairs(self, student, teacher):
        project = self.projection or (lambda hidden: hidden)
        learned = [teacher["hidden_states"][layer] for layer in (0, *self.layers_of_teacher)]
        return list(zip(map(project, student["hidden_states"]), learned, strict=True))

    def _attention_pairs(self, student, teacher):
        pairs = []
        for layer, of_teacher in enumerate(self.layers_of_teacher, start=1):
            ours, theirs = _projected(self.student, student, layer), _projected(self.teacher, teacher, of_teacher)
            pairs.append((attention_scores(*ours[:2]), attention_scores(*theirs[:2])))
        return pairs

    def _relations_pairs(self, student, teacher):
        ours = _projected(self.student, student, self.config.num_hidden_layers)
        return list(zip(ours, _projected(self.teacher, teacher, self.relation_layer), strict=True))


def _projected(model, outputs, layer):
    """Query, key and value of a layer, from 1: of its input once more, which a compiler sees to be the same."""
    return model.bert.blocks[layer - 1].attention.project(outputs["hidden_states"][layer - 1])
