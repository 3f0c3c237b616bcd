"""Checkpoints of training: all that an exact continuation needs, in a folder that is whole or not there.

    step-00000500/state.safetensors   every variable: weights, dropout seeds, optimizer moments and step counter
    step-00000500/state.json          the progress of the run, and the SHA-256 of the other file

The tensors are named by their position, because Keras names differ between backends; shapes are checked.
"""

import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
from keras import ops
from safetensors.numpy import load as tensors_from_bytes
from safetensors.numpy import save as tensors_to_bytes

from bert_tf.errors import InputError
from bert_tf.files import whole_directory

_NAME = re.compile(r"step-(\d{8,})")


def save_training_checkpoint(folder, step, variables, progress, keep=2):
    """Writes the state after `step` updates and removes all but the newest `keep` checkpoints, and halves of others.

    Args:
        variables: Keras variables, always in the same order.
        progress: JSON values: the position in the data and whatever else the loop needs.
    """
    folder = Path(folder)
    tensors = {
        f"{index:05d}": np.asarray(ops.convert_to_numpy(variable.value), order="C")
        for index, variable in enumerate(variables)
    }
    payload = tensors_to_bytes(tensors)
    state = {"step": step, "sha256": hashlib.sha256(payload).hexdigest(), "progress": progress}
    with whole_directory(folder / f"step-{step:08d}") as partial:
        (partial / "state.safetensors").write_bytes(payload)
        (partial / "state.json").write_text(json.dumps(state) + "\n", encoding="utf-8")
    leftovers = folder.glob(".step-*.partial")  # of a run that was killed while it wrote one
    for path in (*_checkpoints(folder)[:-keep], *leftovers):
        shutil.rmtree(path)


def restore_training_checkpoint(folder, variables):
    """Puts the newest undamaged checkpoint into the variables: (step, progress), or None where there is none.

    A damaged checkpoint is named on stderr and the one before it is taken.

    Raises:
        InputError: there are checkpoints but all are damaged, or one is of another model.
    """
    paths = _checkpoints(Path(folder))
    for path in reversed(paths):
        try:
            state = json.loads((path / "state.json").read_text(encoding="utf-8"))
            payload = (path / "state.safetensors").read_bytes()
            if hashlib.sha256(payload).hexdigest() != state["sha256"]:
                raise ValueError("its SHA-256 differs from the one that was written")
        except (OSError, ValueError, KeyError) as error:
            print(f"The checkpoint {path} is damaged ({error}); trying the one before it.", file=sys.stderr)
            continue
        _assign(tensors_from_bytes(payload), variables, path)
        return state["step"], state["progress"]
    if paths:
        raise InputError(
            f"all {len(paths)} checkpoints in {folder} are damaged; restore one, or remove the folder to begin again"
        )
    return None


def _checkpoints(folder):
    """The checkpoint folders, oldest first."""
    return sorted(path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)) if folder.exists() else []


def _assign(tensors, variables, path):
    shapes = [tuple(tensors[name].shape) for name in sorted(tensors)]
    expected = [tuple(variable.shape) for variable in variables]
    if shapes != expected:
        raise InputError(f"{path} holds the state of another model; choose another --output or repeat its settings")
    for name, variable in zip(sorted(tensors), variables, strict=True):
        variable.assign(tensors[name])
