"""The answers to a test set in the form that a leaderboard takes: one file a task, all in one zip.

GLUE       SST-2.tsv            a header `index<TAB>prediction`, then the index and the name of the label, or a score
SuperGLUE  BoolQ.jsonl          {"idx": 0, "label": "true"}
CLUE       afqmc_predict.json   {"id": 0, "label": "0"}
"""

import json
import zipfile

from bert_tf.files import whole_file
from downstream.metrics import decisions

SCORES = (0.0, 5.0)  # the range of STS-B; a score outside of it is cut


def answer_lines(row, labels, indices, logits):
    """The lines of an answer file.

    Args:
        row: a `downstream.glue_tasks.Row`.
        labels: the names of the classes, in the order of the logits.
        indices: what numbers each test example, in the order of the logits (N, C).
    """
    decided = decisions(row.task.problem_type, logits)
    if row.task.problem_type == "regression":
        answers = [f"{min(max(float(value), SCORES[0]), SCORES[1]):.3f}" for value in decided]
    else:
        answers = [labels[number] for number in decided]
    if row.suffix == ".tsv":
        return ["index\tprediction", *(f"{index}\t{answer}" for index, answer in zip(indices, answers, strict=True))]
    return [json.dumps({row.index: index, "label": answer}) for index, answer in zip(indices, answers, strict=True)]


def write_zip(path, files):
    """Writes {name in the zip: lines}, with fixed dates, so that the same answers are the same bytes."""
    with whole_file(path) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, lines in sorted(files.items()):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, "".join(line + "\n" for line in lines), zipfile.ZIP_DEFLATED)
