"""`transformers` on PyTorch, on a GPU where there is one; bfloat16 is autocast, attention is SDPA.

Modes: eager, and compile for torch.compile.
"""

import numpy as np
import torch
import transformers

from benchmarks.systems import Measured, data

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def config_of(options):
    layers, hidden, heads, intermediate = data.shape_of(options["model"])
    return transformers.BertConfig(
        vocab_size=data.VOCAB_SIZE,
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        max_position_embeddings=data.MAX_LENGTH,
        attn_implementation="sdpa",
    )


def set_threads(options):
    if options["threads"]:
        torch.set_num_threads(options["threads"])


def tensors(batch, names):
    return {name: torch.from_numpy(batch[name]).long().to(DEVICE) for name in names}


def train_step(options):
    """Both heads, the MLM head on the masked places alone, as the shapes of ours; AdamW and clipping by the norm."""
    set_threads(options)
    torch.manual_seed(0)
    model = transformers.BertForPreTraining(config_of(options)).to(DEVICE).train()
    decayed = [p for name, p in model.named_parameters() if not name.endswith("bias") and "LayerNorm" not in name]
    others = [p for name, p in model.named_parameters() if name.endswith("bias") or "LayerNorm" in name]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, eps=1e-6, fused=True)
    batch = data.pretraining_batch(options)
    inputs = tensors(batch, INPUTS)
    places, words, order = (
        torch.from_numpy(batch[name]).long().to(DEVICE)
        for name in ("masked_lm_positions", "masked_lm_ids", "next_sentence_labels")
    )

    def loss_of():
        with torch.autocast(DEVICE, torch.bfloat16, enabled=options["precision"] == "bfloat16"):
            encoded = model.bert(**inputs)
            index = places[:, :, None].expand(-1, -1, encoded.last_hidden_state.shape[-1])
            chosen = encoded.last_hidden_state.gather(1, index)
            scores, order_scores = model.cls(chosen, encoded.pooler_output)
        masked = torch.nn.functional.cross_entropy(scores.float().flatten(0, 1), words.flatten())
        return masked + torch.nn.functional.cross_entropy(order_scores.float(), order)

    if options["mode"] == "compile":
        loss_of = torch.compile(loss_of)

    def run():
        loss = loss_of()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        assert 0 < float(loss) < 20

    return Measured(run, batch["input_ids"].size)


def export(options):
    """A checkpoint."""
    torch.manual_seed(0)
    model = transformers.BertModel(config_of(options))
    return Measured(lambda: model.save_pretrained(options["export"]), 1)


def finetune(options):
    """Batches shuffled plainly and padded to the longest of each; a call makes twenty updates."""
    import tempfile
    from pathlib import Path

    from benchmarks.finetune_data import read_task, write_start
    from benchmarks.torch_finetuning import TorchFineTuning, padded_to_longest, six_layer_bert
    from bert_tf import BertConfig
    from bert_tf.checkpoints import read_checkpoint

    set_threads(options)
    source = six_layer_bert()
    config = BertConfig.from_dict(read_checkpoint(source).values)
    features, labels, row = read_task(options["task"], Path(options["data_dir"]), source, config)
    train, size = features["train"], options["batch_size"]
    with tempfile.TemporaryDirectory() as folder:
        write_start(folder, source, labels, row.task.problem_type, seed=0)
        reference = TorchFineTuning(folder, row.task.problem_type, options["precision"])
    order = np.random.default_rng(0).permutation(len(train))[: options["updates"] * size]
    batches = [padded_to_longest(train, chosen) for chosen in order.reshape(-1, size)]

    def run():
        for batch in batches:
            reference.train(batch, 1e-5)

    return Measured(run, int(train.lengths[order].sum()))


def prepare(options):
    """Its tokenizer on one thread and pairs of segments in Python, as `benchmarks.slow_prepare`; nothing is written."""
    import os
    import random
    from pathlib import Path

    from benchmarks.slow_prepare import pairs_of
    from pretraining.corpus import sentences

    os.environ.update(TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")
    text = Path(options["sentences"]).read_text(encoding="utf-8")
    tokenizer = transformers.BertTokenizerFast(options["vocab"], do_lower_case=True)

    def run():
        documents = []
        for document in text.split("\n\n"):
            if found := sentences(document, "en")[0]:
                documents.append(tokenizer(found, add_special_tokens=False)["input_ids"])
        draw = random.Random(0)
        for number in range(len(documents)):
            pairs_of(documents, number, draw)

    return Measured(run, len(text.encode()) / 1e6)
