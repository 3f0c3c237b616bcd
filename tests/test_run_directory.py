"""The directory of a run: what a damaged or full disk makes of its lines of figures."""

import errno
import os

import pytest

from bert_tf import InputError
from bert_tf.run_directory import RunDirectory


def test_a_line_that_finds_no_room(tmp_path, monkeypatch):
    run = RunDirectory(tmp_path / "run", {})
    run.continue_from(0)
    run.log(1, {"loss": 2.5})

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=f"cannot write {tmp_path}/run/metrics.jsonl: No space left on device; free"):
        run.log(2, {"loss": 2.25})


@pytest.mark.parametrize("damaged", [b'{"step": 2, "lo\x00\x00\n', b"\xff\xfe\n", b"7\n", b'{"step": 3, "loss": 2}'])
def test_lines_that_a_crash_damaged_are_left_out(tmp_path, damaged):
    """Zeros, no text, no figures, and one cut before its end of line."""
    run = RunDirectory(tmp_path, {})
    run.continue_from(0)
    run.log(1, {"loss": 2.5})
    with open(tmp_path / "metrics.jsonl", "ab") as stream:
        stream.write(damaged)
    assert run.metrics() == [{"step": 1, "loss": 2.5}]
    run.continue_from(2)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "loss": 2.5}\n'
