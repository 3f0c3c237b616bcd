"""Data sets of TensorFlow Datasets by name: `tfds:wiki40b/en`, `tfds:lm1b:1.1.0#train+test` (the split behind "#").

A data set that is not there is downloaded and prepared first, under TFDS_DATA_DIR (~/tensorflow_datasets, may be gs://…).
"""

import dataclasses

from bert_tf.errors import InputError
from bert_tf.extras import needed
from pretraining.readers import decoded, field_text

TFDS = "tfds:"
_WIKI40B_MARKS = ("_START_ARTICLE_", "_START_SECTION_", "_START_PARAGRAPH_")  # lines of their own in its text


@dataclasses.dataclass(frozen=True)
class TfdsInput:
    """One split of one data set.

    Attributes:
        name: with configuration and version: wiki40b/en/1.3.0.
        folder: where it was prepared.
        characters: about how much text it holds.
    """

    name: str
    folder: str
    split: str
    field: str
    characters: int
    examples: int

    @classmethod
    def open(cls, name, field):
        """The input of a name as above.

        Raises:
            InputError: a missing package, an unknown data set, configuration or split, or a download that failed.
        """
        wanted, _, split = name.removeprefix(TFDS).partition("#")
        split = split or "train"
        tfds = _import_tfds(name)
        try:
            builder = tfds.builder(wanted)
            builder.download_and_prepare()
            examples = builder.info.splits[split].num_examples
        except Exception as error:  # whatever TFDS, the network or a data set's code says: it is the answer to the name
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise InputError(f"cannot read {name}: {reason}") from error
        of_all = sum(one.num_examples for one in builder.info.splits.values())
        characters = (
            int(builder.info.dataset_size) * examples // max(1, of_all)
        )  # of its records, and so about its text
        return cls(builder.info.full_name, str(builder.data_path), split, field, characters, examples)

    def identity(self):
        return {"name": TFDS + self.name, "split": self.split, "examples": self.examples}

    def documents(self):
        """Yields the texts of the examples, in the order of the files.

        Raises:
            InputError: the field is missing or no UTF-8 text.
        """
        tfds = _import_tfds(str(self))
        builder = tfds.builder_from_directory(self.folder)
        data = builder.as_dataset(split=self.split, read_config=tfds.ReadConfig(interleave_cycle_length=1))
        for number, row in enumerate(tfds.as_numpy(data), 1):
            value, where = row.get(self.field), f"example {number} of {self}"
            if isinstance(value, bytes):
                value = decoded(value, where)
            document = field_text(value, self.field, sorted(row), where)
            yield _without_marks(document) if self.name.startswith("wiki40b/") else document

    def __str__(self):
        return f"{TFDS}{self.name}#{self.split}"


def _without_marks(document):
    r"""Wikipedia's text: "_START_ARTICLE_\nTitle\n_START_PARAGRAPH_\nOne._NEWLINE_Two." is "Title\nOne.\nTwo."."""
    lines = document.replace("_NEWLINE_", "\n").split("\n")
    return "\n".join(line.strip() for line in lines if line.strip() and line not in _WIKI40B_MARKS)


def _import_tfds(name):
    with needed(f"the data set {name}", "datasets"):
        import tensorflow_datasets
    return tensorflow_datasets
