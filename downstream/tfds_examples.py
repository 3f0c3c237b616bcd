"""The examples of a task out of TensorFlow Datasets (the extra `datasets`), as if they were lines of a file."""

from bert_tf.errors import InputError
from downstream.examples import make_examples


def read_tfds(name, split, task, columns=None, *, with_labels=True, numbered_by=None, data_dir=None):
    """The `Examples` of a split, numbered from 1 in the order of TFDS, which is not that of the official file.

    Args:
        name: of the data set, "glue/sst2" say.
        split: "train", say.
        task: a `Task`; a class is its `labels` by name, or by number where the names are others (TFDS says "positive"
            where GLUE's file says "1").
        columns: {a column of the task: the feature of TFDS} where they differ.
        numbered_by: a feature whose numbers are the `lines` of the examples, and order them.
        data_dir: where TFDS keeps its data; None: where it usually does.

    Raises:
        InputError: TFDS is not installed, knows no such data set or split, has no such feature, a text or label is not
            usable (with the number of the example).
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise InputError(
            f"tfds:{name} needs TensorFlow Datasets; install the extra with pip install 'bert-tf[datasets]'"
        ) from None
    try:
        builder = tfds.builder(name, data_dir=data_dir)
        builder.download_and_prepare()
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError, OSError) as error:
        raise InputError(f"TensorFlow Datasets cannot give {name}: {str(error).strip().splitlines()[0]}") from None
    source = f"tfds:{name}[{split}]"
    if split not in builder.info.splits:
        raise InputError(f"{source}: no such split; there are {', '.join(builder.info.splits)}")
    features = builder.info.features
    names = [name for name in (task.prefix, task.text, task.text_pair) if name is not None]
    names += [task.label] if with_labels else []
    theirs = {name: (columns or {}).get(name, name) for name in names}
    for name in [*theirs.values(), *([numbered_by] if numbered_by else [])]:
        if name not in features:
            raise InputError(f"{source} has no feature {name!r}; its features are {', '.join(features)}")
    cells, lines = {name: [] for name in names}, []
    for row in tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False)):
        for name in names:
            cells[name].append(_cell(row[theirs[name]]))
        lines.append(_cell(row[numbered_by]) if numbered_by else len(lines) + 1)
    if with_labels and hasattr(features[theirs[task.label]], "names"):
        known = _label_names(features[theirs[task.label]].names, task, source)
        for index, number in enumerate(cells[task.label]):
            if not 0 <= number < len(known):
                raise InputError(
                    f"{source}, example {index + 1}: has no label (it is {number}); it can be answered, not measured"
                )
        cells[task.label] = [known[number] for number in cells[task.label]]
    order = sorted(range(len(lines)), key=lines.__getitem__)
    cells = {name: [cells[name][row] for row in order] for name in names}
    return make_examples(source, [lines[row] for row in order], cells, task, with_labels=with_labels)


def _label_names(names, task, source):
    """The task's label for each class number of TFDS."""
    if task.labels is None or set(names) == set(task.labels):
        return names
    if len(names) != len(task.labels):
        raise InputError(f"{source} has the labels {', '.join(names)}, the task {', '.join(task.labels)}")
    return task.labels


def _cell(value):
    """A feature's value as a cell of a file: a string, or a number."""
    return value.decode("utf-8") if isinstance(value, bytes) else value.item()
