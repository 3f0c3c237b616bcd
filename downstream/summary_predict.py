"""`bert-finetune predict --task summarize`: the summaries that a fine-tuned model makes of documents."""

import json
from pathlib import Path

from bert_tf.checkpoints import model_directory
from bert_tf.files import whole_file
from downstream.batches import choose_lengths
from downstream.features import open_tokenizer
from downstream.forward import compile_forward
from downstream.rouge import choose_sentences
from downstream.summary_documents import make_summary_rows, read_documents
from downstream.summary_model import BertForExtractiveSummarization
from downstream.task_file import read_task_file
from downstream.token_outputs import read_token_outputs


def predict_summaries(model, input, output, *, batch_size=32):
    """Writes {"summary": …, "sentences": their numbers from 0} for each document, in the order of the file.

    Args:
        model: the directory of a model or a run of `bert-finetune summarize`: its column of documents, its language,
            its longest row and its number of sentences are used.
        input: a .jsonl, .csv or .tsv file; it needs no summaries.
        output: a .jsonl file.

    Raises:
        InputError: a model that was trained for something else; see `downstream.summary_documents.read_documents`.
    """
    folder = model_directory(model)
    settings = read_task_file(folder, "summarize")
    documents = read_documents(input, settings["document"], None, settings["language"])
    network = BertForExtractiveSummarization.from_pretrained(folder)
    tokenizer = open_tokenizer(folder, network.config)
    rows = make_summary_rows(documents, tokenizer, settings["max_seq_length"], network.config.pad_token_id)
    features = rows.features
    print(
        f"{input}: {len(documents):,} documents, {rows.cut_documents:,} cut to {settings['max_seq_length']} tokens, "
        f"{rows.unseen_sentences:,} sentences not read, {rows.shortened:,} sentences shortened"
    )
    outputs, _ = read_token_outputs(compile_forward(network), features, choose_lengths(features.lengths), batch_size)
    chosen = decide(outputs["logits"], documents, rows, settings["sentences"], settings["language"])
    write_summaries(output, documents, chosen)
    print(f"{output}: {len(documents):,} summaries")


def decide(logits, documents, rows, count, language):
    """The numbers of the sentences chosen of each document, at most `count`.

    Args:
        logits: (T,), for each token of the `SummaryRows`.
    """
    return [
        choose_sentences(its[: len(starts)], logits[starts], count, language)
        for its, starts in zip(documents.sentences, rows.starts, strict=True)
    ]


def summaries_of(documents, chosen):
    """The summaries that the chosen sentences of each document make, a sentence a line."""
    return [
        "\n".join(its[number] for number in numbers if number < len(its))
        for its, numbers in zip(documents.sentences, chosen, strict=True)
    ]


def write_summaries(path, documents, chosen):
    with whole_file(Path(path), "w") as stream:
        for text, numbers in zip(summaries_of(documents, chosen), chosen, strict=True):
            stream.write(json.dumps({"summary": text, "sentences": numbers}, ensure_ascii=False) + "\n")
