"""KerasHub's BERT on TensorFlow."""

import keras
import keras_hub
import numpy as np

from benchmarks.systems import Measured, data, set_tensorflow_threads


def backbone_of(options):
    layers, hidden, heads, intermediate = data.shape_of(options["model"])
    return keras_hub.models.BertBackbone(
        vocabulary_size=data.VOCAB_SIZE,
        num_layers=layers,
        num_heads=heads,
        hidden_dim=hidden,
        intermediate_dim=intermediate,
        max_sequence_length=data.MAX_LENGTH,
        dtype=data.KERAS_POLICIES[options["precision"]],
    )


def train_step(options):
    """Its masked language model, which has no pooler and no NSP; AdamW of Keras with clipping; mode jit: XLA."""
    set_tensorflow_threads(options)
    batch = data.pretraining_batch(options)
    keras.utils.set_random_seed(0)
    model = keras_hub.models.BertMaskedLM(backbone=backbone_of(options), preprocessor=None)
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=keras.optimizers.AdamW(1e-4, weight_decay=0.01, epsilon=1e-6, global_clipnorm=1.0),
        jit_compile=options["mode"] == "jit",
    )
    inputs = {data.KERAS_HUB_NAMES[name]: batch[name] for name in data.KERAS_HUB_NAMES}
    inputs["mask_positions"] = batch["masked_lm_positions"]

    def run():
        loss = model.train_on_batch(inputs, batch["masked_lm_ids"], sample_weight=batch["masked_lm_weights"])
        assert 0 < float(np.mean(loss)) < 20

    return Measured(run, batch["input_ids"].size)


def export(options):
    """A SavedModel as Keras exports it."""
    keras.utils.set_random_seed(0)
    backbone = backbone_of(options)
    return Measured(lambda: backbone.export(options["export"], format="tf_saved_model", verbose=False), 1)


def finetune(options):
    """Its classifier on the 6-layer shape, every row padded to the longest of the data, as its preprocessor pads."""
    from pathlib import Path

    from benchmarks.finetune_data import read_task
    from benchmarks.torch_finetuning import six_layer_bert
    from bert_tf import BertConfig
    from bert_tf.checkpoints import read_checkpoint
    from downstream.batches import make_batch

    set_tensorflow_threads(options)
    source = six_layer_bert()
    config = BertConfig.from_dict(read_checkpoint(source).values)
    features, labels, _ = read_task(options["task"], Path(options["data_dir"]), source, config)
    train, size = features["train"], options["batch_size"]
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=config.vocab_size,
        num_layers=config.num_hidden_layers,
        num_heads=config.num_attention_heads,
        hidden_dim=config.hidden_size,
        intermediate_dim=config.intermediate_size,
        dtype=data.KERAS_POLICIES[options["precision"]],
    )
    model = keras_hub.models.BertTextClassifier(backbone, num_classes=len(labels), preprocessor=None)
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=keras.optimizers.AdamW(1e-5, weight_decay=0.01, epsilon=1e-6, global_clipnorm=1.0),
        jit_compile=False,
    )
    order = np.random.default_rng(0).permutation(len(train))[: options["updates"] * size]
    longest = np.array([int(train.lengths.max())])
    batches = [make_batch(train, chosen, longest, size) for chosen in order.reshape(-1, size)]
    tokens = int(train.lengths[order].sum())

    def run():
        for batch in batches:
            inputs = {data.KERAS_HUB_NAMES[name]: batch[name] for name in data.KERAS_HUB_NAMES}
            float(np.mean(model.train_on_batch(inputs, batch["labels"])))

    return Measured(run, tokens)


def tokenize(options):
    from pathlib import Path

    import tensorflow as tf

    set_tensorflow_threads(options | {"threads": 1})
    lines = data.lines_of(options)
    words = Path(options["vocab"]).read_text(encoding="utf-8").splitlines()
    tokenizer = keras_hub.models.BertTokenizer(words, lowercase=True)
    packer = keras_hub.layers.StartEndPacker(
        512, tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id
    )
    batches = [lines[start : start + 256] for start in range(0, len(lines), 256)]

    def run():
        for batch in batches:
            packer(tokenizer(tf.constant(batch)))

    return Measured(run, sum(len(line.split()) for line in lines))
