"""What the systems export, read in a process that has nothing else: SavedModels by TensorFlow alone, ONNX by ONNX
Runtime alone, the checkpoints of transformers by PyTorch, mode compile with torch.compile.
"""

from pathlib import Path

from benchmarks.systems import Measured, data, set_tensorflow_threads


def infer(options):
    """Reads options["export"] once, then the batches in every call."""
    folder, batches = Path(options["export"]), data.inference_batches(options)
    if (folder / "saved_model.pb").exists():
        compute = saved_model(folder, options)
    elif (folder / "model.onnx").exists():
        compute = onnx(folder, options)
    else:
        compute = torch_model(folder, options)

    def run():
        for batch in batches:
            compute(batch)

    return Measured(run, sum(len(batch["input_ids"]) for batch in batches))


def saved_model(folder, options):
    """Ours answers at its signature `ids`; the peers' have names of their own."""
    import tensorflow as tf

    set_tensorflow_threads(options)
    loaded = tf.saved_model.load(str(folder))

    def compute(batch):
        tensors = {name: tf.constant(value) for name, value in batch.items()}
        if "ids" in loaded.signatures:
            return loaded.signatures["ids"](**tensors)["last_hidden_state"].numpy()
        if hasattr(loaded, "encoder"):  # of the Model Garden
            inputs = {theirs: tensors[ours] for ours, theirs in data.MODEL_GARDEN_NAMES.items()}
            return loaded.signatures["serving_default"](**inputs)["sequence_output"].numpy()
        return loaded.serve({data.KERAS_HUB_NAMES[name]: tensors[name] for name in tensors})["sequence_output"].numpy()

    return compute


def onnx(folder, options):
    import numpy as np
    import onnxruntime

    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = options["threads"] or 0
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), session_options)

    def compute(batch):
        tensors = {name: value.astype(np.int64) for name, value in batch.items()}
        return session.run(["last_hidden_state"], tensors)[0]

    return compute


def torch_model(folder, options):
    import torch
    import transformers

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if options["threads"]:
        torch.set_num_threads(options["threads"])
    model = transformers.BertModel.from_pretrained(folder, attn_implementation="sdpa").to(device).eval()
    model_of = torch.compile(model, dynamic=True) if options["mode"] == "compile" else model

    def compute(batch):
        tensors = {name: torch.from_numpy(value).long().to(device) for name, value in batch.items()}
        with (
            torch.inference_mode(),
            torch.autocast(device, torch.bfloat16, enabled=options["precision"] == "bfloat16"),
        ):
            return model_of(**tensors).last_hidden_state.float().cpu().numpy()

    return compute
