"""`bert-finetune predict --task tag`: the tags that a fine-tuned model gives to the words of a CoNLL file."""

from bert_tf.checkpoints import model_directory
from downstream.batches import choose_lengths
from downstream.conll import read_conll, write_conll
from downstream.entities import find_entities, write_tags
from downstream.features import open_tokenizer
from downstream.forward import compile_forward
from downstream.heads import BertForTokenClassification
from downstream.tag_windows import make_tag_windows
from downstream.task_file import read_task_file
from downstream.token_outputs import read_token_outputs


def predict_tags(model, input, output, *, batch_size=32):
    """Writes the lines of a CoNLL file with the predicted tag as one column more; it needs no column of tags.

    Args:
        model: the directory of a model or a run of `bert-finetune tag`: its column of words, its scheme and its longest
            window are used.

    Raises:
        InputError: a model that was trained for something else; see `downstream.conll`.
    """
    folder = model_directory(model)
    settings = read_task_file(folder, "tag")
    sentences = read_conll(input, word_column=settings["word_column"], with_tags=False)
    network = BertForTokenClassification.from_pretrained(folder)
    tokenizer = open_tokenizer(folder, network.config)
    windows = make_tag_windows(sentences, tokenizer, settings["max_seq_length"], network.config.pad_token_id)
    features = windows.features
    print(
        f"{input}: {len(sentences):,} sentences, {sentences.word_count():,} words; {windows.long_sentences:,} "
        f"sentences cut into windows, {windows.unknown_words:,} words of no token, read as [UNK]"
    )
    outputs, _ = read_token_outputs(compile_forward(network), features, choose_lengths(features.lengths), batch_size)
    found = decide(outputs["logits"], windows, sentences, network.labels)
    write_conll(output, sentences, tags_in(found, sentences, settings["scheme"]))
    print(f"{output}: {sentences.word_count():,} tags")


def decide(logits, windows, sentences, labels):
    """The entities in each sentence, by the most probable label of each word.

    Args:
        logits: (T, C), for each token of the `TagWindows`.
        labels: C tags.
    """
    decided = iter(logits[windows.places].argmax(axis=-1))
    return [find_entities([labels[next(decided)] for _ in words]) for words in sentences.words]


def tags_in(entities, sentences, scheme):
    """The tags of all sentences with these entities."""
    return [write_tags(one, len(words), scheme) for one, words in zip(entities, sentences.words, strict=True)]
