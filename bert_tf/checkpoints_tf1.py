"""Google's TF1 checkpoints: `bert_config.json`, `bert_model.ckpt.index` and `.data-*`, `vocab.txt`.

Follows the variable names of google-research/bert: `modeling.py` and `run_pretraining.py`, and the outputs of a
fine-tuned `run_classifier.py` (`output_weights`) and `run_squad.py` (`cls/squad/output_weights`). Optimizer slots and
step counters are passed over.

On "gelu" in bert_config.json. The first release of `modeling.py` (October 2018, with the published checkpoints)
computed it with erf; later revisions compute the tanh form under the same word. The word is read here as everywhere in
this package, and as in Hugging Face's own conversions of these checkpoints: erf. For a checkpoint that was trained or
fine-tuned with a later revision pass `hidden_act="gelu_new"` (`bert-tf convert --hidden-act gelu_new`).
"""

import re
from pathlib import Path

from bert_tf.checkpoint_values import Checkpoint
from bert_tf.config import read_json
from bert_tf.errors import InputError

CONFIG = "bert_config.json"

_OPTIMIZER = re.compile(
    r"(.*/)?(adam_[mv]|Adam(_1)?|LAMB(_1)?|lamb_[mv]|Momentum|AdamWeightDecayOptimizer(_1)?)"
    r"|global_step|beta[12]_power|(.*/)?(loss_scale|current_loss_scale|good_steps|bad_steps)"
)
_HEADS = {
    "cls/predictions/output_bias": "cls.predictions.bias",
    "cls/seq_relationship/output_weights": "cls.seq_relationship.weight",
    "cls/seq_relationship/output_bias": "cls.seq_relationship.bias",
    "cls/squad/output_weights": "qa_outputs.weight",
    "cls/squad/output_bias": "qa_outputs.bias",
    "output_weights": "classifier.weight",
    "output_bias": "classifier.bias",
}
_LAST_PART = {"kernel": "weight", "gamma": "weight", "beta": "bias"}


def recognises(path):
    return _prefixes(path) != []


def read(path):
    """The `Checkpoint` of a folder with one checkpoint, or of a prefix such as `folder/model.ckpt-1000`.

    Raises:
        InputError: several checkpoints in the folder and none marked as the newest, no bert_config.json, damaged files,
            or no TensorFlow to read them with.
    """
    prefix = _prefix(path)
    config_path = prefix.parent / CONFIG
    values = read_json(config_path)
    try:
        import tensorflow as tf
    except ImportError:
        raise InputError(
            f"{path} is a TF1 checkpoint, which tensorflow reads, and tensorflow is not installed; convert it where it "
            "is (bert-tf convert)"
        ) from None
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        names = sorted(reader.get_variable_to_shape_map())
        tensors, passed_over = {}, []
        for name in names:
            if _OPTIMIZER.fullmatch(name):
                passed_over.append(name)
                continue
            tensor = reader.get_tensor(name)
            tensors[hugging_face_name(name)] = tensor.T if name.endswith("/kernel") else tensor
    except (tf.errors.OpError, ValueError, IndexError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{prefix} is damaged or not whole ({reason}); copy its .index and .data-* again") from None
    sources = {}
    if "classifier.bias" in tensors:
        values["num_labels"], sources["num_labels"] = len(tensors["classifier.bias"]), "output_bias"
    return Checkpoint("TF1 checkpoint", config_path, values, tensors, sources, tuple(passed_over))


def hugging_face_name(name):
    """bert/encoder/layer_0/output/dense/kernel -> bert.encoder.layer.0.output.dense.weight; others as they are."""
    if name in _HEADS:
        return _HEADS[name]
    *parts, last = re.sub(r"/layer_(\d+)/", r"/layer/\1/", name).split("/")
    if last.endswith("_embeddings"):
        parts, last = [*parts, last], "weight"
    return ".".join([*parts, _LAST_PART.get(last, last)])


def _prefixes(path):
    """The checkpoints at `path` without their suffix: of a prefix itself, of a folder every `*.index` in it."""
    if path.is_dir():
        return sorted(file.with_suffix("") for file in path.glob("*.index"))
    return [path] if path.with_name(path.name + ".index").exists() else []


def _prefix(path):
    prefixes = _prefixes(path)
    if len(prefixes) == 1:
        return prefixes[0]
    # `checkpoint`, which TF1's Saver keeps, names the newest: model_checkpoint_path: "model.ckpt-1000"
    state = path / "checkpoint"
    newest = re.search(r'^model_checkpoint_path: "(.*)"$', state.read_text(), re.MULTILINE) if state.exists() else None
    if newest and path / Path(newest[1]).name in prefixes:
        return path / Path(newest[1]).name
    raise InputError(
        f"{path} holds {len(prefixes)} checkpoints ({', '.join(prefix.name for prefix in prefixes)}); give the one to "
        f"read, such as {prefixes[-1]}"
    )
