"""Worker processes: every piece is done, and a killed or failing one is a sentence."""

import multiprocessing
import os
import re
import time

import pytest

from bert_tf import InputError
from pretraining.workers import Workers


def refused(text):
    return pytest.raises(InputError, match=re.escape(text))


def _write(folder, index):
    (folder / str(index)).write_text(str(os.getpid()))
    time.sleep(0.05)


@pytest.mark.parametrize("count", [1, 2])
def test_every_piece_is_done(tmp_path, count):
    """By this process, and by another where there are two."""
    with Workers(count) as workers:
        for index in range(10):
            workers.submit(_write, tmp_path, index)
        workers.finish()
        assert len(list(tmp_path.iterdir())) == 10
    processes = {int(file.read_text()) for file in tmp_path.iterdir()}
    assert len(processes) == count
    assert os.getpid() in processes


def _die(index):
    if index == 1 and multiprocessing.parent_process():  # the first two pieces are the other's
        os._exit(9)
    time.sleep(0.01)


def _fail(index):
    if index == 1:
        raise InputError("the sentence")


@pytest.mark.parametrize(
    ("work", "sentence"),
    [
        (_die, "a worker process was killed (by hand, or for memory); run the same command again, with fewer workers"),
        (_fail, "the sentence"),
    ],
)
def test_a_worker_that_ends_early(work, sentence):
    with refused(sentence), Workers(2) as workers:
        for index in range(100):
            workers.submit(work, index)
        workers.finish()
