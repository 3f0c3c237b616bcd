"""A checkpoint opened in the class that it names, whatever package that class lives in: for the commands alone.

This module knows the heads of `pretraining` and `downstream` by name, and imports them when one is asked for; nothing
but `bert_tf.__main__` imports it.
"""

import importlib

from bert_tf.checkpoints import model_directory, read_checkpoint
from bert_tf.config import read_json
from bert_tf.errors import InputError
from bert_tf.foreign_tokenizers import read_tokenizer

HOMES = {
    "BertModel": "bert_tf",
    "BertForPreTraining": "pretraining",
    "BertForMaskedLM": "pretraining",
    "BertForNextSentencePrediction": "pretraining",
    "BertForSequenceClassification": "downstream",
    "BertForTokenClassification": "downstream",
    "BertForQuestionAnswering": "downstream",
}
# The class for a checkpoint that names none: the first whose heads are all there.
HEADS = {
    "BertForQuestionAnswering": ("qa_outputs.",),
    "BertForSequenceClassification": ("classifier.",),
    "BertForTokenClassification": ("classifier.",),
    "BertForPreTraining": ("cls.predictions.", "cls.seq_relationship."),
    "BertForMaskedLM": ("cls.predictions.",),
    "BertForNextSentencePrediction": ("cls.seq_relationship.",),
    "BertModel": (),
}


def read(path):
    """(the folder, the open checkpoint)."""
    folder = model_directory(path)
    return folder, read_checkpoint(folder)


def has_head(checkpoint, architecture):
    """Whether a checkpoint can be opened as a class; two of them call their head `classifier`, and it names its own."""
    prefixes = HEADS[architecture]
    if "classifier." in prefixes:
        return architecture_of(checkpoint) == architecture
    return all(map(checkpoint.holds, prefixes))


def open_model(checkpoint, architecture, **settings):
    """The model, in float32 unless `settings` have another `dtype`."""
    model_class = getattr(importlib.import_module(HOMES[architecture]), architecture)
    if architecture == "BertModel":
        settings["add_pooling_layer"] = checkpoint.holds("bert.pooler.")
    return model_class.from_pretrained(checkpoint, **{"dtype": "float32"} | settings)


def tokenizer_of(folder):
    """The `BertTokenizer` of a folder."""
    from bert_tf import BertTokenizer

    files = read_tokenizer(folder)
    return BertTokenizer(files.vocabulary, **files.settings)


def fine_tuned_task(folder):
    """The task.json that `bert-finetune` keeps beside its model, else {}: a KerasHub preset has one of another kind."""
    values = read_json(folder / "task.json") if (folder / "task.json").exists() else {}
    return values if "text" in values or values.get("task") in ("squad", "tag") else {}


def architecture_of_all_heads(checkpoint):
    """As `architecture_of`, but for the published checkpoints that are named for one pretraining head and hold both."""
    architecture = architecture_of(checkpoint)
    both = all(map(checkpoint.holds, ("cls.predictions.", "cls.seq_relationship.", "bert.pooler.")))
    named_for_one = architecture in ("BertForMaskedLM", "BertForNextSentencePrediction")
    return "BertForPreTraining" if named_for_one and both else architecture


def architecture_of(checkpoint):
    """The name of the class that a checkpoint is for: what config.json says, else what its heads say."""
    names = checkpoint.values.get("architectures") or []
    if names and names[0] not in HOMES:
        raise InputError(f"{checkpoint.config_path} names the architecture {names[0]!r}; known are {', '.join(HOMES)}")
    if names:
        return names[0]
    return next(name for name, prefixes in HEADS.items() if all(map(checkpoint.holds, prefixes)))
