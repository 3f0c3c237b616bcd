"""Distillation: each loss against NumPy, the student's beginnings, a run whose student equals an uninterrupted one."""

import json
import os
import signal

import numpy as np
import pytest
from keras import ops
from safetensors.numpy import load_file
from scipy.special import log_softmax, softmax

import downstream.batches
from bert_tf import InputError
from bert_tf.checkpoints import read_checkpoint
from downstream import BertForSequenceClassification
from downstream.__main__ import main
from downstream.distillation_losses import (
    DistillationObjective,
    attention_errors,
    hidden_errors,
    relation_divergences,
    soft_label_divergences,
)
from downstream.distillation_settings import DistillationSettings, spread_layers
from downstream.distiller import Distiller
from downstream.student import open_student
from downstream.tasks import Task
from downstream.train import Recipe
from tests.downstream_toys import opinions, toy_config, write_toy_model, write_tsv

RNG = np.random.default_rng(0)
MASK = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], "float32")


def normal(*shape):
    return RNG.normal(size=shape).astype("float32")


# ------------------------------------------------------------------------------------------------------------- losses


def test_soft_labels_by_hand():
    # At T = 2 the teacher's logits (2 log 3, 0) give (3/4, 1/4), the student's (0, 0) give halves: KL is
    # 3/4 log 3/2 + 1/4 log 1/2, times T² = 4.
    teacher, student = np.array([[2 * np.log(3), 0]], "float32"), np.zeros((1, 2), "float32")
    expected = 4 * (0.75 * np.log(1.5) + 0.25 * np.log(0.5))
    assert float(soft_label_divergences(student, teacher, 2.0)[0]) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(soft_label_divergences(teacher, teacher, 3.0), [0], atol=1e-6)


def test_hidden_states_and_attention_by_numpy():
    """Padding, at which the two differ most, does not count."""
    student, teacher = normal(2, 4, 6), normal(2, 4, 6)
    expected = [((student[row, :n] - teacher[row, :n]) ** 2).mean() for row, n in enumerate((3, 2))]
    student[MASK == 0] = 99
    np.testing.assert_allclose(hidden_errors(student, teacher, MASK), expected, rtol=1e-5)
    student, teacher = normal(2, 3, 4, 4), normal(2, 3, 4, 4)
    expected = [((student[row, :, :n, :n] - teacher[row, :, :n, :n]) ** 2).mean() for row, n in enumerate((3, 2))]
    student[0, :, 3], student[0, :, :, 3], student[1, :, 2:] = -1e9, -1e9, 50
    np.testing.assert_allclose(attention_errors(student, teacher, MASK), expected, rtol=1e-5)


def test_relations_by_numpy():
    """A teacher of 3 heads of 8 and a student of 2 heads of 6, in 4 parts: of 6 and of 3."""
    student, teacher = normal(2, 2, 4, 6), normal(2, 3, 4, 8)

    def relations(vectors, row, count):  # [part, token, token]: heads side by side, then cut into 4
        together = np.concatenate(list(vectors[row, :, :count]), axis=-1)
        parts = np.split(together, 4, axis=-1)
        return np.array([part @ part.T / np.sqrt(part.shape[1]) for part in parts])

    expected = []
    for row, count in enumerate((3, 2)):
        wanted, has = (relations(one, row, count) for one in (teacher, student))
        divergence = softmax(wanted, -1) * (log_softmax(wanted, -1) - log_softmax(has, -1))
        expected.append(divergence.sum(-1).mean())
    np.testing.assert_allclose(relation_divergences(student, teacher, MASK, 4), expected, rtol=1e-4)
    assert min(expected) > 0.01


def test_the_objective_weighs_and_means():
    # Two layers' hidden states, three examples of which the last only fills the batch.
    logits, teacher = normal(3, 2), normal(3, 2)
    pairs = [(normal(3, 4, 5), normal(3, 4, 5)) for _ in range(2)]
    batch = {"attention_mask": np.ones((3, 4), "int32"), "labels": np.array([0, 1, 0], "int32")}
    batch["example_weights"] = np.array([1, 1, 0], "float32")
    objective = DistillationObjective({"labels": 0.5, "soft": 2.0, "hidden": 3.0}, 1.0, 1)
    figures = objective.figures({"logits": logits, "soft": [(logits, teacher)], "hidden": pairs}, batch)
    got = {name: float(value) / float(weight) for name, (value, weight) in figures.items()}
    labels = -log_softmax(logits[:2], -1)[[0, 1], [0, 1]].mean()
    soft = (softmax(teacher, -1) * (log_softmax(teacher, -1) - log_softmax(logits, -1))).sum(-1)[:2].mean()
    hidden = np.mean([((one - other) ** 2)[:2].mean() for one, other in pairs])
    accuracy = (logits[:2].argmax(-1) == [0, 1]).mean()
    expected = {"labels": labels, "soft": soft, "hidden": hidden, "accuracy": accuracy}
    assert got == pytest.approx(expected | {"loss": 0.5 * labels + 2 * soft + 3 * hidden}, rel=1e-4)
    assert float(objective.weights(batch)["loss"]) == 2.0


# ---------------------------------------------------------------------------------------------------------- distiller


def test_what_is_compared():
    """The pairs are those of the two models asked one by one; the probabilities of the scores are the attentions."""
    student = BertForSequenceClassification(toy_config())
    teacher = BertForSequenceClassification(toy_config(hidden_size=48, num_hidden_layers=3), name="teacher")
    batch = {"input_ids": RNG.integers(5, 30, (2, 7)), "attention_mask": np.ones((2, 7), "int32")}
    losses = ("labels", "soft", "hidden", "attention", "relations")
    distiller = Distiller(student, teacher, losses, (2,), 3)
    outputs = distiller(batch)
    np.testing.assert_allclose(outputs["logits"], student(batch)["logits"], rtol=1e-5)
    np.testing.assert_allclose(outputs["soft"][0][1], teacher(batch)["logits"], rtol=1e-5)
    states = teacher.bert(batch, output_hidden_states=True, output_attentions=True)
    assert [one.shape for pair in outputs["hidden"] for one in pair] == [(2, 7, 48)] * 4
    np.testing.assert_allclose(outputs["hidden"][1][1], states["hidden_states"][2], rtol=1e-5)
    np.testing.assert_allclose(
        ops.softmax(outputs["attention"][0][1], axis=-1), states["attentions"][1], rtol=1e-4, atol=1e-6
    )
    ours = student.bert(batch, output_attentions=True)["attentions"][0]
    np.testing.assert_allclose(ops.softmax(outputs["attention"][0][0], axis=-1), ours, rtol=1e-4, atol=1e-6)
    query, key, _ = (pair[1] for pair in outputs["relations"])
    scores = np.einsum("bnsd,bntd->bnst", query, key) / np.sqrt(12)
    np.testing.assert_allclose(softmax(scores, -1), states["attentions"][2], rtol=1e-4, atol=1e-6)
    # Only the student and the projection are trained.
    trained = [id(variable) for variable in distiller.trainable_variables]
    expected = [*student.trainable_variables, *distiller.projection.trainable_variables]
    assert sorted(trained) == sorted(map(id, expected))


@pytest.mark.parametrize(("count", "depth", "expected"), [(4, 12, (3, 6, 9, 12)), (2, 3, (1, 3)), (3, 3, (1, 2, 3))])
def test_layers_are_spread_and_the_last_learns_from_the_last(count, depth, expected):
    assert spread_layers(count, depth) == expected


@pytest.mark.parametrize(
    ("changes", "student", "message"),
    [
        ({"losses": {"labels": 1.0}}, {}, "nothing is asked of the teacher; give one of the losses soft, hidden, att"),
        ({"losses": {"sotf": 1.0}}, {}, "a loss must be one of labels, soft, hidden, attention, relations, got 'sotf'"),
        ({"losses": {"soft": 0.0}}, {}, "the weight of the loss soft must be above 0, got 0.0"),
        ({"temperature": 0.0}, {}, "temperature must be above 0, got 0.0"),
        ({}, {"num_hidden_layers": 3}, "the student has 3 layers, the teacher 2; it must not have more"),
        ({"layers": (3,)}, {}, "the layer map must give each of the 1 layers of the student one from 1 to 2 of the"),
        ({"relation_layer": 0}, {}, "relation_layer must be from 1 to 2, the teacher's layers, got 0"),
        (
            {"losses": {"attention": 1.0}},
            {"num_attention_heads": 2},
            "the loss attention needs as many heads in the student as in the teacher, got 2 and 4",
        ),
        (
            {"losses": {"relations": 1.0}, "relation_heads": 5},
            {},
            "relation_heads must divide the widths 32 of the student and 32 of the teacher, got 5",
        ),
    ],
)
def test_settings_that_do_not_fit(changes, student, message):
    with pytest.raises(InputError) as refused:
        DistillationSettings(**changes).of(toy_config(**student), toy_config(num_hidden_layers=2))
    assert str(refused.value).startswith(message)


# --------------------------------------------------------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A teacher of two layers, fresh, so that a run needs no other before it; it still has something to say."""
    folder = tmp_path_factory.mktemp("toy")
    write_toy_model(folder / "teacher", num_hidden_layers=2)
    model = BertForSequenceClassification(toy_config(num_hidden_layers=2), labels=("neg", "pos"))
    model.save_pretrained(folder / "teacher")
    Task(text="sentence", label="label", max_seq_length=40).save(folder / "teacher")
    write_toy_model(folder / "student", hidden_size=24)
    for seed, (split, count) in enumerate({"train": 160, "validation": 40}.items()):
        write_tsv(folder / f"{split}.tsv", ["sentence", "label"], opinions(count, seed))
    return folder


def command(toy, output, *more):
    words = ["distill", "--teacher", toy / "teacher", "--student", toy / "student", "--output", output]
    words += ["--train", toy / "train.tsv", "--validation", toy / "validation.tsv", "--epochs", 2, "--batch-size", 16]
    words += ["--learning-rate", 4e-3, "--max-shapes", 1, "--save-every", 7]
    words += ["--losses", "labels=0.5", "soft=0.5", "hidden=0.1", "relations=1", "attention=0.1"]
    return [str(word) for word in [*words, *more]]


def test_a_run_and_one_that_was_stopped(toy, tmp_path, monkeypatch, capsys):
    assert main(command(toy, tmp_path / "run")) == 0
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert "layers:     1 from 2; relations of layer 2 in 4 parts" in printed
    accuracies = [results[part]["validation_accuracy"] for part in ("teacher", "without_distillation", "metrics")]
    assert (
        f"validation: accuracy of the teacher {accuracies[0]:.4f}, of the student without distillation "
        f"{accuracies[1]:.4f}, with it {accuracies[2]:.4f}"
    ) in printed
    sizes = {name: read_checkpoint(toy / name) for name in ("teacher", "student")}
    head = 24 * 2 + 2
    assert results["parameters"]["teacher"] == sum(one.size for one in sizes["teacher"].tensors.values())
    assert results["parameters"]["student"] == sum(one.size for one in sizes["student"].tensors.values()) + head
    assert min(results["sentences_per_second"].values()) > 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    first, last = ([line for line in lines if "hidden" in line][place] for place in (0, -1))
    for name in ("loss", "hidden", "relations"):
        assert last[name] < first[name], name
    total = 0.5 * last["labels"] + 0.5 * last["soft"] + 0.1 * last["hidden"] + last["relations"]
    assert last["loss"] == pytest.approx(total + 0.1 * last["attention"], rel=1e-4)

    # 20 steps without the teacher, 20 with it: stopped at the batch of step 13 of the second run.
    def make_and_stop(*arguments):
        made.append(1)
        if len(made) == 33:
            os.kill(os.getpid(), signal.SIGTERM)
        return make_batch(*arguments)

    make_batch, made = downstream.batches.make_batch, []
    with monkeypatch.context() as patched:
        patched.setattr(downstream.batches, "make_batch", make_and_stop)
        with pytest.raises(SystemExit):
            main(command(toy, tmp_path / "stopped"))
    assert "Stopped at step 13" in capsys.readouterr().err
    assert main(command(toy, tmp_path / "stopped")) == 0
    assert "Continuing after step 13." in capsys.readouterr().out
    expected, got = (load_file(tmp_path / run / "model" / "model.safetensors") for run in ("run", "stopped"))
    assert set(got) == set(expected)
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
    again = json.loads((tmp_path / "stopped" / "results.json").read_text())
    for part in ("metrics", "without_distillation", "teacher"):
        assert again[part] == results[part]
    assert main(command(toy, tmp_path / "run")) == 0
    assert "holds a finished run; nothing to do" in capsys.readouterr().out


def test_a_student_of_the_teachers_layers(toy):
    task = Task(text="sentence", label="label", max_seq_length=40)
    student, fresh, _ = open_student("1", toy / "teacher", task, Recipe(), ("neg", "pos"))
    teacher = read_checkpoint(toy / "teacher").tensors
    assert not fresh
    assert len(student.bert.blocks) == 1
    for name, place in student.weight_table().items():  # its one layer is the teacher's second
        np.testing.assert_array_equal(place.read(), teacher[name.replace("layer.0.", "layer.1.")], err_msg=name)
    student, _, _ = open_student("bert-tiny", toy / "teacher", task, Recipe(), ("neg", "pos"))
    assert (student.config.hidden_size, student.config.vocab_size) == (128, toy_config().vocab_size)


def test_what_distill_refuses(toy, tmp_path, capsys):
    def refused(words, message):
        assert main([*command(toy, tmp_path / "run"), *map(str, words)]) == 2
        assert message in capsys.readouterr().err

    refused(["--losses", "soft"], "--losses takes NAME=WEIGHT, such as soft=0.5, got 'soft'")
    refused(["--student", 3], "the student must have 1 to 2 layers of the teacher, got 3")
    refused(["--student", "bert-tny"], "the student bert-tny is no directory, no number of layers and no size; the")
    write_toy_model(tmp_path / "other")
    words = (tmp_path / "other" / "vocab.txt").read_text().replace("good", "well")
    (tmp_path / "other" / "vocab.txt").write_text(words)
    refused(["--student", tmp_path / "other"], f"{tmp_path / 'other'} has another vocabulary than the teacher")
    assert not (tmp_path / "run").exists()
