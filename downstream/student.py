"""The student of a distillation: a model on disk, a named size with fresh weights, or some layers of the teacher."""

import dataclasses
import re
from pathlib import Path

from bert_tf.checkpoints import read_checkpoint
from bert_tf.choices import PRECISIONS
from bert_tf.config import NAMED_SIZES, BertConfig
from bert_tf.errors import InputError
from bert_tf.foreign_tokenizers import read_tokenizer
from downstream.distillation_settings import spread_layers
from downstream.heads import BertForSequenceClassification
from downstream.starting_model import open_starting_model


def open_student(student, teacher_path, task, recipe, labels, *, new_head=False):
    """(a `BertForSequenceClassification`, the names of its tensors that begin fresh, what it is, in a word).

    Args:
        student: the directory of a model with the teacher's vocabulary; a size, "bert-tiny" say, which begins fresh; or
            a number of layers to take from the teacher, evenly spread, with its embeddings, pooler and head
            (as DistilBERT begins: Sanh et al. 2019, arXiv 1910.01108, section 3).

    Raises:
        InputError: none of these, another vocabulary, more layers than the teacher has; see `open_starting_model`.
    """
    teacher = read_checkpoint(teacher_path)
    settings = {"labels": labels, "problem_type": task.problem_type}
    if str(student).isdecimal() and not Path(student).exists():
        checkpoint = _some_layers(teacher, int(student))
        model, fresh = open_starting_model(
            BertForSequenceClassification, checkpoint, recipe, task.max_seq_length, new_head=new_head, **settings
        )
        return model, fresh, f"{student} layers of {teacher.sha256()}"
    if student in NAMED_SIZES and not Path(student).exists():
        # Of the same words and positions as the teacher, so that both read the same rows.
        config = BertConfig.from_name(
            student,
            **{
                name: teacher.values[name]
                for name in ("vocab_size", "max_position_embeddings", "type_vocab_size", "pad_token_id")
                if name in teacher.values
            },
        )
        if recipe.dropout is not None:
            config = config.replace(hidden_dropout_prob=recipe.dropout, attention_probs_dropout_prob=recipe.dropout)
        model = BertForSequenceClassification(config, dtype=PRECISIONS[recipe.precision], **settings)
        return model, ["all"], student
    if not Path(student).exists():
        raise InputError(
            f"the student {student} is no directory, no number of layers and no size; the sizes are "
            f"{', '.join(NAMED_SIZES)}"
        )
    if list(read_tokenizer(student).vocabulary.tokens) != list(read_tokenizer(teacher_path).vocabulary.tokens):
        raise InputError(f"{student} has another vocabulary than the teacher {teacher_path}; both must read the same")
    checkpoint = read_checkpoint(student)
    model, fresh = open_starting_model(
        BertForSequenceClassification, checkpoint, recipe, task.max_seq_length, new_head=new_head, **settings
    )
    return model, fresh, checkpoint.sha256()


def _some_layers(teacher, count):
    """The checkpoint with `count` of the teacher's layers."""
    depth = teacher.values["num_hidden_layers"]
    if not 1 <= count <= depth:
        raise InputError(f"the student must have 1 to {depth} layers of the teacher, got {count}")
    places = {layer - 1: place for place, layer in enumerate(spread_layers(count, depth))}
    tensors = {}
    for name, tensor in teacher.tensors.items():
        layer = re.fullmatch(r"(bert\.encoder\.layer\.)(\d+)(\..*)", name)
        if layer is None:
            tensors[name] = tensor
        elif int(layer[2]) in places:
            tensors[f"{layer[1]}{places[int(layer[2])]}{layer[3]}"] = tensor
    return dataclasses.replace(teacher, values=teacher.values | {"num_hidden_layers": count}, tensors=tensors)
