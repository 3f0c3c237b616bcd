"""This package, on TensorFlow, or with KERAS_BACKEND=jax on JAX."""

import atexit
import shutil
import tempfile
from pathlib import Path

import keras
from keras import ops

from benchmarks.systems import Measured, data, set_tensorflow_threads
from bert_tf import BertConfig, BertModel
from bert_tf.choices import PRECISIONS
from bert_tf.flops import pretraining_flops
from bert_tf.optimization import BertAdamW
from bert_tf.training import make_step
from pretraining.heads import BertForPreTraining
from pretraining.objective import PretrainingObjective

RATE = 1e-4


def config_of(options):
    layers, hidden, heads, intermediate = data.shape_of(options["model"])
    return BertConfig(
        vocab_size=data.VOCAB_SIZE,
        num_hidden_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=intermediate,
    )


def set_threads(options):
    if keras.backend.backend() == "tensorflow":
        set_tensorflow_threads(options)


def train_step(options):
    set_threads(options)
    config, batch = config_of(options), data.pretraining_batch(options)
    keras.utils.set_random_seed(0)
    model = BertForPreTraining(config, dtype=PRECISIONS[options["precision"]])
    step = make_step(model, PretrainingObjective(), BertAdamW(RATE))

    def run():
        loss, weight = step.train(batch, RATE)["mlm_loss"]
        assert 0 < float(loss) / float(weight) < 20  # read, so that the step is waited for

    length = options["length"]
    flops = pretraining_flops(config, length, options["predictions"]) / length
    return Measured(run, batch["input_ids"].size, flops)


def export(options):
    """The SavedModel of the encoder; modes onnx and int8: our graph for ONNX Runtime."""
    keras.utils.set_random_seed(0)
    model = BertModel(config_of(options), dtype=PRECISIONS[options["precision"]])
    folder = Path(options["export"])

    def write_onnx():
        from bert_tf.onnx_format import write

        folder.mkdir()
        write(model, folder / "model.onnx", int8=options["mode"] == "int8", max_length=data.MAX_LENGTH)

    def write_saved_model():
        from bert_tf import BertTokenizer
        from bert_tf.answers import EmbeddingAnswers
        from bert_tf.export import export_saved_model

        words = [f"[unused{number}]" for number in range(data.VOCAB_SIZE - 5)]
        vocab = folder.with_suffix(".txt")
        vocab.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]), "utf-8")
        export_saved_model(folder, model, BertTokenizer(vocab), EmbeddingAnswers())

    return Measured(write_onnx if options["mode"] else write_saved_model, 1)


def finetune(options):
    """Updates in the order and the padded lengths of `bert-finetune glue`; a call makes twenty of them."""
    from benchmarks.finetune_data import read_task, write_start
    from benchmarks.torch_finetuning import six_layer_bert
    from bert_tf.checkpoints import read_checkpoint
    from downstream import BertForSequenceClassification
    from downstream.batches import TrainingBatches, choose_lengths, make_batch
    from downstream.objective import SequenceObjective

    set_threads(options)
    source = six_layer_bert()
    config = BertConfig.from_dict(read_checkpoint(source).values)
    features, labels, row = read_task(options["task"], Path(options["data_dir"]), source, config)
    train, size = features["train"], options["batch_size"]
    with tempfile.TemporaryDirectory() as folder:
        write_start(folder, source, labels, row.task.problem_type, seed=0)
        model = BertForSequenceClassification.from_pretrained(folder, dtype=PRECISIONS[options["precision"]])
    step = make_step(model, SequenceObjective(row.task.problem_type), BertAdamW(0.0, bias_correction=True))
    lengths = choose_lengths(train.lengths)
    plan = TrainingBatches(train, lengths, size, seed=0).plan(0)[: options["updates"]]
    batches = [make_batch(train, chosen, lengths, size) for chosen in plan]
    tokens = sum(int((batch["attention_mask"].sum(1) * batch["example_weights"]).sum()) for batch in batches)

    def run():
        for batch in batches:
            float(ops.convert_to_numpy(step.train(batch, RATE / 10)["loss"][0]))

    return Measured(run, tokens)


def tokenize(options):
    """The tokenizer as it is in the graph; mode offsets: with the places in the text."""
    set_threads(options | {"threads": 1})
    from bert_tf import BertTokenizer

    lines = data.lines_of(options)
    tokenizer, offsets = BertTokenizer(options["vocab"]), options["mode"] == "offsets"
    batches = [lines[start : start + 256] for start in range(0, len(lines), 256)]

    def run():
        for batch in batches:
            tokenizer(batch, return_offsets=offsets)

    return Measured(run, sum(len(line.split()) for line in lines))


def prepare(options):
    """The whole command, from its start to its end; mode two_workers: with two of them."""
    from benchmarks.prepare_command import run as run_command
    from bert_tf import BertTokenizer

    text, folder = Path(options["sentences"]), Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    BertTokenizer(options["vocab"]).save_pretrained(folder / "tokenizer")
    workers = "2" if options["mode"] == "two_workers" else "1"

    def run():
        run_command([text], folder / "tokenizer", folder / "corpus", "--workers", workers)

    return Measured(run, text.stat().st_size / 1e6)
