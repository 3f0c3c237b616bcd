"""What the fine-tuning benchmarks read: a task of GLUE as features, and a model folder with a head to start from."""

import dataclasses

import keras

from bert_tf.checkpoints import read_checkpoint
from downstream import BertForSequenceClassification
from downstream.examples import read_examples
from downstream.features import open_tokenizer, tokenize
from downstream.glue_tasks import TABLE
from downstream.labels import encode, find_labels


def read_task(name, data_dir, model, config):
    """({file: `Features` with labels} of the training file and the first validation file, the labels, the `Row`)."""
    row = TABLE[name]
    tokenizer = open_tokenizer(model, config)
    features, labels = {}, row.task.labels
    for split, file in (("train", row.train), ("validation", next(iter(row.validation.values())))):
        examples = read_examples(data_dir / row.folder / file, row.task)
        labels = labels or find_labels(examples, row.task)
        targets = encode(examples, row.task, labels)
        features[split], truncated = tokenize(
            examples, tokenizer, row.task.max_seq_length, config.pad_token_id, labels=targets
        )
        print(f"{examples.path}: {len(examples):,} examples, {truncated:,} truncated")
    return features, labels, row


def write_start(folder, model, labels, problem_type, seed):
    """Writes the model with a fresh head of the seed: what ours and the reference both open."""
    keras.utils.set_random_seed(seed)
    checkpoint = read_checkpoint(model)
    tensors = {name: tensor for name, tensor in checkpoint.tensors.items() if not name.startswith("classifier.")}
    BertForSequenceClassification.from_pretrained(
        dataclasses.replace(checkpoint, tensors=tensors),
        allow_missing_head=True,
        labels=labels,
        problem_type=problem_type,
    ).save_pretrained(folder)
    return folder
