"""The BERT of the TensorFlow Model Garden, package tf-models-official, on Keras 2.

It needs an older TensorFlow than this package, and so an environment of its own:

    python -m venv GARDEN && GARDEN/bin/pip install tf-models-official
    python -m benchmarks train-step --peers model_garden --python model_garden=GARDEN/bin/python
"""

import tensorflow as tf
import tf_keras
from official.nlp import optimization
from official.nlp.modeling import layers, models, networks

from benchmarks.systems import Measured, data, set_tensorflow_threads


def encoder_of(options):
    layer_count, hidden, heads, intermediate = data.shape_of(options["model"])
    return networks.BertEncoderV2(
        vocab_size=data.VOCAB_SIZE,
        hidden_size=hidden,
        num_layers=layer_count,
        num_attention_heads=heads,
        max_sequence_length=data.MAX_LENGTH,
        type_vocab_size=2,
        inner_dim=intermediate,
    )


def train_step(options):
    """Both heads and its AdamW, which clips by the norm, as in its task of pretraining; mode jit: XLA."""
    set_tensorflow_threads(options)
    tf_keras.utils.set_random_seed(0)
    tf_keras.mixed_precision.set_global_policy(data.KERAS_POLICIES[options["precision"]])
    _, hidden, _, _ = data.shape_of(options["model"])
    head = layers.ClassificationHead(inner_dim=hidden, num_classes=2, dropout_rate=0.1, name="next_sentence")
    model = models.BertPretrainerV2(encoder_of(options), mlm_activation="gelu", classification_heads=[head])
    optimizer = optimization.create_optimizer(1e-4, num_train_steps=1_000_000, num_warmup_steps=0)
    batch = {name: tf.constant(values) for name, values in data.pretraining_batch(options).items()}
    inputs = {theirs: batch[ours] for ours, theirs in data.MODEL_GARDEN_NAMES.items()}
    inputs["masked_lm_positions"] = batch["masked_lm_positions"]

    def loss_of(labels, logits):
        losses = tf_keras.losses.sparse_categorical_crossentropy(labels, tf.cast(logits, tf.float32), from_logits=True)
        return tf.reduce_mean(losses)

    @tf.function(jit_compile=options["mode"] == "jit")
    def step(inputs, words, order):
        with tf.GradientTape() as tape:
            outputs = model(inputs, training=True)
            loss = loss_of(words, outputs["mlm_logits"]) + loss_of(order, outputs["next_sentence"])
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    def run():
        loss = step(inputs, batch["masked_lm_ids"], batch["next_sentence_labels"])
        assert 0 < float(loss) < 20

    return Measured(run, batch["input_ids"].shape.num_elements())


def export(options):
    """A SavedModel of the encoder."""
    tf_keras.utils.set_random_seed(0)
    tf_keras.mixed_precision.set_global_policy(data.KERAS_POLICIES[options["precision"]])
    module = tf.Module()
    module.encoder = encoder_of(options)
    rows = {name: tf.TensorSpec((None, None), tf.int32, name) for name in data.MODEL_GARDEN_NAMES.values()}

    @tf.function(input_signature=[rows])
    def serve(inputs):
        return {"sequence_output": tf.cast(module.encoder(inputs, training=False)["sequence_output"], tf.float32)}

    return Measured(lambda: tf.saved_model.save(module, options["export"], signatures=serve), 1)
