"""The model a fine-tuning run starts from: an encoder out of a checkpoint, with its head or a fresh one."""

import dataclasses

from bert_tf.choices import PRECISIONS
from bert_tf.errors import InputError
from downstream.heads import labels_of

_HEADS = ("classifier.", "qa_outputs.", "summarizer.")


def open_starting_model(model_class, checkpoint, recipe, max_seq_length, *, new_head=False, **head_settings):
    """(the model, the names of its tensors that the checkpoint does not have and that begin fresh).

    Args:
        model_class: one of `downstream.heads`.
        checkpoint: a `bert_tf.checkpoint_values.Checkpoint`.
        recipe: a `downstream.train.Recipe`: its dropout and precision are the model's.
        max_seq_length: the longest row it will read.
        new_head: whether to begin with a fresh head where the checkpoint has one; None: only if it has other labels.
        head_settings: of the class; with `labels`, a head of the checkpoint must have the same.

    Raises:
        InputError: a head with other labels; rows longer than the model has positions.
    """
    tensors = dict(checkpoint.tensors)
    differ = False
    if "labels" in head_settings and "classifier.weight" in tensors:
        its_labels, labels = labels_of(checkpoint.values), head_settings["labels"]
        differ = tuple(its_labels) != tuple(labels)
        if differ and new_head is False:
            raise InputError(
                f"{checkpoint.config_path.parent} has a head for the labels {', '.join(its_labels)}, the training "
                f"file has {', '.join(labels)}; pass --new-head to begin with a fresh one"
            )
    if new_head or differ:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(_HEADS)}
    changes = {}
    if "labels" in head_settings:
        head_settings["classifier_dropout"] = checkpoint.values.get("classifier_dropout")
    if recipe.dropout is not None:
        changes = {"hidden_dropout_prob": recipe.dropout, "attention_probs_dropout_prob": recipe.dropout}
        if "labels" in head_settings:
            head_settings["classifier_dropout"] = recipe.dropout
    model = model_class.from_pretrained(
        dataclasses.replace(checkpoint, tensors=tensors),
        allow_missing_head=True,
        dtype=PRECISIONS[recipe.precision],
        config_changes=changes,
        **head_settings,
    )
    limit = model.config.max_position_embeddings
    if model.config.position_embedding_type != "relative" and max_seq_length > limit:
        raise InputError(
            f"max_seq_length {max_seq_length} is beyond max_position_embeddings {limit} of "
            f"{checkpoint.config_path.parent}; choose at most {limit}"
        )
    return model, [name for name in model.weight_table() if name not in tensors]
