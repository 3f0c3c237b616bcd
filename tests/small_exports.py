"""Small exports of each task for the tests of the server, with weights that give answers of every kind."""

import keras
import numpy as np

from bert_tf import BertConfig, BertModel, BertTokenizer
from bert_tf.answers import ClassificationAnswers, EmbeddingAnswers
from bert_tf.answers_masks import MaskAnswers
from bert_tf.answers_spans import SpanAnswers
from bert_tf.answers_tags import TagAnswers
from bert_tf.export import export_saved_model
from downstream import BertForQuestionAnswering, BertForSequenceClassification, BertForTokenClassification
from pretraining import BertForMaskedLM
from tests.checkpoint_files import VOCABULARY

LABELS = ("good", "bad", "<b>neither</b>")
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def write_exports(folder, tasks):
    """Writes an export of each task into a folder of its name; returns {task: folder}."""
    keras.utils.set_random_seed(11)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=32,
        initializer_range=0.5,
    )
    makers = {
        "classification": lambda: (
            BertForSequenceClassification(config, labels=LABELS),
            ClassificationAnswers(LABELS),
        ),
        "tagging": lambda: (BertForTokenClassification(config, labels=TAGS), TagAnswers(TAGS)),
        "question-answering": lambda: (BertForQuestionAnswering(config), SpanAnswers(doc_stride=8, max_query_length=9)),
        "fill-mask": lambda: (BertForMaskedLM(config), MaskAnswers()),
        "embeddings": lambda: (BertModel(config), EmbeddingAnswers()),
    }
    tokenizer, folders = BertTokenizer(VOCABULARY), {}
    for task in tasks:
        model, answers = makers[task]()
        rng = np.random.default_rng(2)
        for weight in model.weights:
            weight.assign(weight + rng.normal(0, 0.2, weight.shape))
        folders[task] = folder / task
        export_saved_model(folders[task], model, tokenizer, answers)
    return folders
