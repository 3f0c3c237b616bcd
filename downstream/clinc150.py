"""`bert-finetune clinc150`: the intents of CLINC150 (Larson et al. 2019, arXiv 1909.02027) as files for `classify`.

Its `data_full.json` has six lists of [text, intent]: train, val and test of 150 intents, and oos_train, oos_val and
oos_test of texts that have none of them, all with the intent "oos".
"""

import json
from pathlib import Path

from bert_tf.config import read_json
from bert_tf.errors import InputError
from bert_tf.files import whole_file

# The lists of the file -> the names of the files written.
PARTS = {
    "train": "train",
    "val": "validation",
    "test": "test",
    "oos_train": "oos_train",
    "oos_val": "oos_validation",
    "oos_test": "oos_test",
}


def write_clinc150(data, output):
    """Writes `train.jsonl`, `validation.jsonl`, …, `oos_test.jsonl`, a {"text": …, "label": …} a line.

    Args:
        data: `data_full.json`, or another file of the data set with the same six lists.
        output: a folder.

    Raises:
        InputError: no such file, a list that is not there, an entry that is not a pair of texts.
    """
    values = read_json(Path(data))
    if set(values) != set(PARTS):
        raise InputError(f"{data} must hold the lists {', '.join(PARTS)} of CLINC150, got {', '.join(values)}")
    for part, rows in values.items():
        if not isinstance(rows, list):
            raise InputError(f"{data}: {part} must be a list of [text, intent], got {json.dumps(rows)[:60]}")
        for index, row in enumerate(rows):
            if not isinstance(row, list) or len(row) != 2 or not all(isinstance(one, str) and one for one in row):
                raise InputError(f"{data}: {part}[{index}] must be [text, intent], got {json.dumps(row)[:60]}")
    Path(output).mkdir(parents=True, exist_ok=True)
    for part, name in PARTS.items():
        path = Path(output) / f"{name}.jsonl"
        with whole_file(path, "w") as stream:
            for text, label in values[part]:
                stream.write(json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n")
        print(f"{path}: {len(values[part]):,} texts, {len({label for _, label in values[part]}):,} labels")
