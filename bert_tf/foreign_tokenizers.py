"""The tokenizer of a checkpoint of any known format, as Hugging Face's settings. Imports no TensorFlow.

A KerasHub preset keeps its tokenizer in other files. A TF1 checkpoint keeps only vocab.txt: whether its texts were
lower-cased stood in the name of its archive (`validate_case_matches_checkpoint` in google-research/bert
`tokenization.py`), and is read here off the vocabulary, where a cased one has tokens with capitals and an uncased one
has none. (Of the public vocabularies bert-base-cased has 8,366 such tokens, the multilingual cased one 18,992, and
bert-base-uncased and bert-base-chinese have none, which that function lists as lower-cased.)
"""

from bert_tf.checkpoints import model_directory
from bert_tf.config import read_json
from bert_tf.tokenizer_files import DEFAULTS, RUST, VOCABULARY, TokenizerFiles, read_tokenizer_files
from bert_tf.vocabulary import Vocabulary

_KERAS_HUB_VOCABULARY = "assets/tokenizer/vocabulary.txt"
# What KerasHub's `BertTokenizer` calls the settings (keras_hub/src/tokenizers/word_piece_tokenizer.py).
_KERAS_HUB_SETTINGS = {"do_lower_case": "lowercase", "strip_accents": "strip_accents"}


def read_tokenizer(path):
    """The `TokenizerFiles` of the model that `path` names (`bert_tf.checkpoints.model_directory`).

    Raises:
        InputError: no vocabulary there, or files that `read_tokenizer_files` refuses.
    """
    folder = model_directory(path)
    folder = folder if folder.is_dir() else folder.parent
    if (folder / _KERAS_HUB_VOCABULARY).exists():
        return _keras_hub(folder)
    files = read_tokenizer_files(folder)
    if files.sources["do_lower_case"] == "default" and (folder / "bert_config.json").exists():
        files.settings["do_lower_case"] = not any(map(_has_capitals, files.vocabulary.tokens))
        files.sources["do_lower_case"] = "vocab.txt: no token has capitals"
        if not files.settings["do_lower_case"]:
            files.sources["do_lower_case"] = "vocab.txt: tokens have capitals"
    return files


def has_vocabulary(path):
    """Whether there is a tokenizer to read at all."""
    folder = model_directory(path)
    folder = folder if folder.is_dir() else folder.parent
    return any((folder / name).exists() for name in (VOCABULARY, RUST, _KERAS_HUB_VOCABULARY))


def _has_capitals(token):
    """Whether a word has them; special tokens such as [CLS], [unused7] and <S> do not count."""
    return token != token.lower() and (token[0], token[-1]) not in (("[", "]"), ("<", ">"))


def _keras_hub(folder):
    arguments = read_json(folder / "tokenizer.json").get("config", {})
    settings, sources = dict(DEFAULTS), dict.fromkeys(DEFAULTS, "default")
    for ours, theirs in _KERAS_HUB_SETTINGS.items():
        if theirs in arguments:
            settings[ours], sources[ours] = arguments[theirs], "tokenizer.json"
    positions = read_json(folder / "config.json").get("config", {}).get("max_sequence_length")
    if positions is not None:
        settings["model_max_length"], sources["model_max_length"] = positions, "config.json"
    return TokenizerFiles(Vocabulary.read(folder / _KERAS_HUB_VOCABULARY), settings, sources)
