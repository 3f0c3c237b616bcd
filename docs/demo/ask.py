"""Asks a SavedModel made by `bert-tf export` about texts, with TensorFlow and nothing else.

python docs/demo/ask.py SAVED_MODEL "a text" ["another" …]
"""

import sys

import tensorflow as tf

path, *texts = sys.argv[1:]
answers = tf.saved_model.load(path).signatures["serving_default"](text=tf.constant(texts))
for text, label, probabilities in zip(texts, answers["label"].numpy(), answers["probabilities"].numpy(), strict=True):
    print(f"{label.decode()} ({probabilities.max():.1%}): {text}")
