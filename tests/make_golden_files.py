"""Makes tests/golden: tiny models of each head as `transformers` saves them, with what they compute.

    python -m tests.make_golden_files      (needs the `parity` extra)

For each architecture a folder with config.json and model.safetensors, and expected.npz:
    input_ids, attention_mask, token_type_ids   (3, 13) int32
    output/<name>                               hidden_state_<i>, and the logits under our names
    weight/<name>                               the random weights of the loss Σ logits × weights
    gradient/<tensor>                           of that loss, by Hugging Face name
"""

import io
import zipfile

import numpy as np
import torch

from tests.test_golden_files import GOLDEN, MODELS, TINY
from tests.test_parity_transformers import for_torch, loss_weights, named_logits, ragged_batch, random_torch_model


def main():
    for seed, (architecture, changes) in enumerate(MODELS.items()):
        folder = GOLDEN / architecture
        model = random_torch_model(architecture, seed, **(TINY | changes))
        model.save_pretrained(folder)
        inputs = ragged_batch(model.config, seed, visible=(13, 5, 1))
        outputs = model(**for_torch(inputs), output_hidden_states=True)
        logits = named_logits(architecture, outputs)
        weights = loss_weights(logits, inputs["attention_mask"], seed)
        sum((logits[name] * torch.tensor(weight)).sum() for name, weight in weights.items()).backward()
        values = dict(inputs)
        values |= {f"output/hidden_state_{i}": h.detach().numpy() for i, h in enumerate(outputs.hidden_states)}
        values |= {f"output/{name}": value.detach().numpy() for name, value in logits.items()}
        values |= {f"weight/{name}": weight for name, weight in weights.items()}
        values |= {f"gradient/{name}": parameter.grad.numpy() for name, parameter in model.named_parameters()}
        write_npz(folder / "expected.npz", values)


def write_npz(path, values):
    """As np.savez_compressed, without the time of day, so that the same numbers give the same file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in values.items():
            stream = io.BytesIO()
            np.lib.format.write_array(stream, value)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), stream.getvalue(), zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main()
