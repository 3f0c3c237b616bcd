"""Extractive summaries: the oracle, the blocking and the rows by hand, the model, a run and one that was stopped."""

import csv
import json
import os
import signal

import numpy as np
import pytest
from keras import ops
from safetensors.numpy import load_file

import downstream.batches
from bert_tf import InputError
from downstream import BertForExtractiveSummarization
from downstream.__main__ import main
from downstream.features import open_tokenizer
from downstream.rouge import choose_sentences, greedy_oracle, mean_rouge
from downstream.summary_documents import Documents, make_summary_rows, split_sentences
from downstream.summary_model import sinusoids
from downstream.token_objectives import IGNORED, SentenceObjective
from tests.downstream_toys import BAD, GOOD, PLAIN, VOCABULARY, toy_config, write_toy_model

CLS, SEP = VOCABULARY.index("[CLS]"), VOCABULARY.index("[SEP]")

# -------------------------------------------------------------------------------------------------------------- rouge


def test_rouge_by_hand():
    # Of "a b c d" the summary "a b d x e" has 3 of 4 words: P 3/5, R 3/4, F1 2/3. Of 3 pairs it has "a b" alone, of its
    # own 4: F1 2/7. The longest common subsequence is a b d: F1 2/3.
    scores = mean_rouge(["a b c d"], ["a b d x e"])
    assert scores == pytest.approx({"rouge1": 2 / 3, "rouge2": 2 / 7, "rougeL": 2 / 3})
    assert mean_rouge(["a b", "a b"], ["a b", "c"])["rouge1"] == pytest.approx(0.5)


def test_the_oracle_is_greedy():
    # Summary: p q r s. Alone, "p q r x" scores most: ROUGE-1 6/8 and ROUGE-2 4/6. Then "s" gives all four words:
    # 8/9 and 4/6, which is more; "p q" again would only add words that were counted.
    assert greedy_oracle(["q", "s", "p q", "p q r x"], "p q r s") == [1, 3]
    # A sentence that only takes from the precision is not added, and where none has a word there is none.
    assert greedy_oracle(["a b", "c", "a b c d e f"], "a b") == [0]
    assert greedy_oracle(["x", "y"], "a b") == []
    # A word counts as often as the summary has it: "a a" is worth more than "a" for "a a", not for "a".
    assert greedy_oracle(["a", "a a"], "a a") == [1]


def test_words_of_other_languages():
    # rouge-score drops all letters but a to z, so that a text would have nothing in common with itself.
    assert mean_rouge(["Привет мир"], ["привет, мир!"], "ru") == {"rouge1": 1.0, "rouge2": 1.0, "rougeL": 1.0}
    # A Chinese or Japanese character is a word: 3 of 4; a vowel sign of Hindi is a part of its word: 1 of 2.
    assert mean_rouge(["今天下雨"], ["今天下雪"], "zh")["rouge1"] == pytest.approx(3 / 4)
    assert mean_rouge(["नमस्ते भारत"], ["नमस्ते दुनिया"], "hi")["rouge1"] == pytest.approx(1 / 2)
    assert greedy_oracle(["это строка", "Привет мир"], "Привет мир", "ru") == [1]
    assert choose_sentences(["今天天气很好。", "今天天气很坏。", "你好"], [3, 2, 1], 3, "zh") == [0, 2]


def test_trigrams_are_blocked():
    sentences = ["The cat sat down.", "Now the cat SAT again.", "A dog ran.", "The cat ran."]
    # By score 1, 0, 3, 2: sentence 0 has "the cat sat" of sentence 1, whatever the case; 3 shares two words in a row.
    assert choose_sentences(sentences, [3, 4, 1, 2], 2) == [1, 3]
    assert choose_sentences(sentences, [3, 4, 1, 2], 9) == [1, 2, 3]
    assert choose_sentences(sentences, [4, 3, 1, 2], 1) == [0]


# --------------------------------------------------------------------------------------------------------------- rows


def test_sentences_do_not_cross_lines():
    assert split_sentences("A title\n\nHe came. She left.\n", "en") == ["A title", "He came.", "She left."]


def test_rows_by_hand(tmp_path):
    """Three sentences of 2, 1 and 3 words in 9 tokens: 4 + 3 fit, the third does not; a long one is cut."""
    write_toy_model(tmp_path)
    tokenizer = open_tokenizer(tmp_path, toy_config())
    documents = Documents(
        [["good film", "bad", "we saw it"], ["the old book was very very very sad !", "bad"]], ["", ""]
    )
    rows = make_summary_rows(documents, tokenizer, 9, 0, [[1, 2], [0]])
    number = VOCABULARY.index
    first = [CLS, number("good"), number("film"), SEP, CLS, number("bad"), SEP]
    second = [CLS, *map(number, "the old book was very very very".split()), SEP]
    features = rows.features
    assert features.offsets.tolist() == [0, 7, 16]
    assert features.per_token["input_ids"].tolist() == first + second
    assert features.per_token["token_type_ids"].tolist() == [0] * 4 + [1] * 3 + [0] * 9
    expected = [0, *[IGNORED] * 3, 1, *[IGNORED] * 2, 1, *[IGNORED] * 8]
    assert features.per_token["labels"].tolist() == expected
    assert [one.tolist() for one in rows.starts] == [[0, 4], [7]]
    assert (rows.cut_documents, rows.unseen_sentences, rows.shortened) == (2, 2, 1)


def test_a_cls_in_the_text_starts_no_sentence(tmp_path):
    write_toy_model(tmp_path)
    tokenizer = open_tokenizer(tmp_path, toy_config())
    rows = make_summary_rows(Documents([["good [CLS] film"]], [""]), tokenizer, 20, 0, [[]])
    assert (rows.features.per_token["input_ids"] == CLS).sum() == 1


# -------------------------------------------------------------------------------------------------------------- model


def test_the_loss_by_hand():
    # Logits log 3 (probability 3/4) for a sentence in the summary and for one that is not; the rest does not count.
    logits = ops.convert_to_tensor(np.full((2, 3), np.log(3), "float32"))
    labels = np.array([[1, IGNORED, 0], [0, 0, 0]], "int32")
    figures = SentenceObjective().figures(
        {"logits": logits}, {"labels": labels, "example_weights": np.array([1, 0], "float32")}
    )
    assert float(figures["loss"][0]) == pytest.approx(-np.log(3 / 4) - np.log(1 / 4), rel=1e-6)
    assert [float(part) for part in figures["accuracy"]] == [1.0, 2.0]


def test_sinusoids():
    # Width 4: frequencies 1 and 1/100.
    values = np.asarray(sinusoids(ops.convert_to_tensor(np.array([[0.0, 3.0]], "float32")), 4))
    np.testing.assert_allclose(values[0], [[0, 0, 1, 1], [*np.sin([3, 0.03]), *np.cos([3, 0.03])]], rtol=1e-5)


def batch_of(*rows):
    length = max(map(len, rows))
    ids = np.array([[*row, *[0] * (length - len(row))] for row in rows], "int32")
    return {"input_ids": ids, "attention_mask": (ids > 0).astype("int32"), "token_type_ids": np.zeros_like(ids)}


def test_only_sentences_meet_in_their_order():
    model = BertForExtractiveSummarization(toy_config(hidden_dropout_prob=0.0))
    row = [CLS, 9, 10, SEP, CLS, 11, SEP, CLS, 12, 13, SEP]
    alone = np.asarray(model(batch_of(row))["logits"])[0]
    padded = np.asarray(model(batch_of(row, [*row, CLS, 14, SEP, CLS, SEP]))["logits"])[0]
    np.testing.assert_allclose(padded[: len(row)], alone, atol=1e-5)
    # The layers between sentences by hand, one after the other: the hidden states of the [CLS] tokens alone.
    hidden = np.asarray(model.bert(batch_of(row))["last_hidden_state"])[:, [0, 4, 7]]
    hidden = hidden + np.asarray(sinusoids(ops.convert_to_tensor(np.arange(3, dtype="float32")), 32))
    for block in model.summary_blocks:
        hidden, _ = block(hidden, np.zeros((1, 1, 1, 3), "float32"))
    np.testing.assert_allclose(alone[[0, 4, 7]], np.asarray(model.output_dense(hidden))[0, :, 0], rtol=1e-4, atol=1e-5)


def test_saved_and_opened(tmp_path):
    model = BertForExtractiveSummarization(toy_config(), num_summary_layers=1)
    model.save_pretrained(tmp_path)
    names = set(load_file(tmp_path / "model.safetensors"))
    assert {"bert.embeddings.word_embeddings.weight", "summarizer.output.weight"} <= names
    assert {"summarizer.layer.0.attention.self.query.weight", "summarizer.layer.0.output.LayerNorm.bias"} <= names
    again = BertForExtractiveSummarization.from_pretrained(tmp_path)
    batch = batch_of([CLS, 9, SEP, CLS, 10, SEP])
    np.testing.assert_array_equal(again(batch)["logits"], model(batch)["logits"])
    with pytest.raises(InputError, match="num_summary_layers must be an integer of at least 0, got -1"):
        BertForExtractiveSummarization(toy_config(), num_summary_layers=-1)


# --------------------------------------------------------------------------------------------------------------- runs


def write_articles(path, count, seed):
    """Four sentences of which two have happy words; they are the summary."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        kinds = rng.permutation([GOOD, GOOD, BAD, BAD])
        sentences = [" ".join([*rng.choice(PLAIN, 3), *rng.choice(kind, 2)]).capitalize() + "!" for kind in kinds]
        wanted = [one for one, kind in zip(sentences, kinds, strict=True) if kind[0] == GOOD[0]]
        rows.append(json.dumps({"article": "\n".join(sentences), "summary": " ".join(wanted)}) + "\n")
    path.write_text("".join(rows))
    return path


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    write_toy_model(folder / "encoder")
    for seed, (split, count) in enumerate({"train": 240, "validation": 30, "test": 20}.items()):
        write_articles(folder / f"{split}.jsonl", count, seed)
    return folder


def command(toy, output, *more):
    words = ["summarize", "--model", toy / "encoder", "--output", output, "--sentences", 2, "--max-seq-length", 40]
    for split in ("train", "validation", "test"):
        words += [f"--{split}", toy / f"{split}.jsonl"]
    words += ["--epochs", 20, "--batch-size", 16, "--learning-rate", 1e-3, "--max-shapes", 1, "--save-every", 11]
    return [str(word) for word in [*words, "--num-summary-layers", 1, *more]]


def test_a_run_and_one_that_was_stopped(toy, tmp_path, monkeypatch, capsys):
    assert main(command(toy, tmp_path / "run")) == 0
    printed = capsys.readouterr().out
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    metrics, baselines = results["metrics"], results["baselines"]
    # The oracle is the summary itself; the first two sentences are half of it by chance; the model learns which.
    assert baselines["test_oracle_rouge1"] == pytest.approx(1.0)
    assert baselines["test_lead_2_rouge2"] < 0.8
    assert metrics["test_rouge2"] > 0.9
    assert "20 documents, 80 sentences, 0 documents also in the training file" in printed
    assert "oracle: 40 sentences, 2.0 a document; 0 not read" in printed
    assert f"test:       this model  rouge1 {metrics['test_rouge1']:.4f}" in printed
    rows = [json.loads(line) for line in (tmp_path / "run" / "test.jsonl").open()]
    articles = [json.loads(line) for line in (toy / "test.jsonl").open()]
    for row, article in zip(rows, articles, strict=True):
        assert row["summary"] == "\n".join(article["article"].split("\n")[number] for number in row["sentences"])
    scores = mean_rouge([article["summary"] for article in articles], [row["summary"] for row in rows])
    assert scores["rougeL"] == pytest.approx(metrics["test_rougeL"])
    # The model makes the same summaries of documents without any, from another kind of file too.
    bare = tmp_path / "bare.csv"
    with bare.open("w", newline="") as stream:
        csv.writer(stream).writerows([["article"], *([article["article"]] for article in articles)])
    words = ["predict", "--task", "summarize", "--model", tmp_path / "run", "--input", bare, "--batch-size", 7]
    assert main([str(word) for word in [*words, "--output", tmp_path / "made.jsonl"]]) == 0
    assert (tmp_path / "made.jsonl").read_text() == (tmp_path / "run" / "test.jsonl").read_text()
    assert f"{bare}: 20 documents, 0 cut to 40 tokens" in capsys.readouterr().out
    assert main([str(word) for word in [*words, "--output", bare]]) == 2
    assert f"--output is the input {bare}; choose another file" in capsys.readouterr().err

    def make_and_stop(*arguments):
        made.append(1)
        if len(made) == 20:
            os.kill(os.getpid(), signal.SIGTERM)
        return make_batch(*arguments)

    make_batch, made = downstream.batches.make_batch, []
    with monkeypatch.context() as patched:
        patched.setattr(downstream.batches, "make_batch", make_and_stop)
        with pytest.raises(SystemExit):
            main(command(toy, tmp_path / "stopped"))
    assert main(command(toy, tmp_path / "stopped")) == 0
    assert "Continuing after step 20." in capsys.readouterr().out
    expected, got = (load_file(tmp_path / run / "model" / "model.safetensors") for run in ("run", "stopped"))
    assert set(got) == set(expected)
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
    assert json.loads((tmp_path / "stopped" / "results.json").read_text()) == results
    assert main(command(toy, tmp_path / "run")) == 0
    assert "holds a finished run; nothing to do" in capsys.readouterr().out


def test_what_summarize_refuses(toy, tmp_path, capsys):
    def refused(words, message):
        assert main([*command(toy, tmp_path / "run"), *map(str, words)]) == 2
        assert message in capsys.readouterr().err

    refused(["--sentences", 0], "sentences must be at least 1, got 0")
    refused(["--max-seq-length", 2], "max_seq_length must be at least 3 ([CLS], a token, [SEP]), got 2")
    refused(["--max-seq-length", 41], "max_seq_length 41 is beyond max_position_embeddings 40 of")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"article": "A b.", "summary": "A b."}\n{"article": "A b.", "summary": " "}\n')
    refused(["--test", bad], f"{bad}, line 2: 'summary' must be a text, got ' '; correct the row")
    bad.write_text('{"article": "A \\ud83d.", "summary": "A b."}\n')
    refused(["--test", bad], f"{bad}, line 1: 'article' has a lone surrogate, U+D83D, at character 2; correct the text")
    refused(["--document", "text"], "line 1, has no column 'text'; its columns are 'article', 'summary'")
    assert not (tmp_path / "run").exists()
