"""Files are whole or not there: after every kind of failure the old content stands, and nothing else lies about."""

import contextlib
import errno
import os
import re
import signal
import subprocess
import sys
import textwrap

import keras
import pytest

from bert_tf import InputError
from bert_tf.files import whole_directory, whole_file
from bert_tf.training_checkpoint import save_training_checkpoint

ADVICE = "; free space or choose another folder, then run the same command again: what was finished before is kept"


def refused(path, reason):
    return pytest.raises(InputError, match="^" + re.escape(f"cannot write {path}: {reason}{ADVICE}") + "$")


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# One file


def test_file_appears_when_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "a.bin"
    with whole_file(path) as stream:
        stream.write(b"\x00\xff")
        assert names(path.parent) == ["a.bin.partial"]
    assert path.read_bytes() == b"\x00\xff"
    assert names(path.parent) == ["a.bin"]


def test_text_is_utf8(tmp_path):
    """In an ASCII locale too: the two letters of "é½" are four bytes."""
    with whole_file(tmp_path / "a.txt", "w") as stream:
        stream.write("é½\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xa9\xc2\xbd\n"


def test_an_exception_keeps_the_old_file(tmp_path):
    """The exception itself comes out unchanged, with its cause."""
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with whole_file(path, "w") as stream:
            stream.write("new")
            raise KeyError("mine") from ZeroDivisionError()

    with pytest.raises(KeyError, match="mine") as caught:
        fail()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert (path.read_text(), names(tmp_path)) == ("old", ["a.txt"])


def test_a_missing_input_is_not_a_refusal(tmp_path):
    with pytest.raises(FileNotFoundError, match="no-such-input"), whole_file(tmp_path / "a.txt", "w") as stream:
        stream.write((tmp_path / "no-such-input").read_text())
    assert names(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")
def test_full_disk(tmp_path):
    """The kernel's own "no space left": the partial file is a link to /dev/full, where every write fails."""
    path = tmp_path / "shard.bin"
    path.write_bytes(b"old")
    (tmp_path / "shard.bin.partial").symlink_to("/dev/full")
    with refused(path, "No space left on device"), whole_file(path) as stream:
        stream.write(bytes(100_000))
    assert (path.read_bytes(), names(tmp_path)) == (b"old", ["shard.bin"])


def test_disk_full_at_fsync(tmp_path, monkeypatch):
    """Network and copy-on-write file systems say it only then."""
    monkeypatch.setattr(os, "fsync", full_disk)
    with refused(tmp_path / "a.txt", "No space left on device"), whole_file(tmp_path / "a.txt", "w") as stream:
        stream.write("new")
    assert names(tmp_path) == []


def test_file_size_limit(tmp_path):
    """A real limit of the process (RLIMIT_FSIZE, in a child so that nothing else meets it): 1 KiB, then EFBIG."""
    program = f"""
        import resource
        from bert_tf.files import whole_file
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
        with whole_file({str(tmp_path / "a.bin")!r}) as stream:
            stream.write(bytes(2000))
        """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert run.stderr.splitlines()[-1] == f"bert_tf.errors.InputError: cannot write {tmp_path / 'a.bin'}: File too " + (
        f"large{ADVICE}"
    )
    assert names(tmp_path) == []


def test_a_file_where_a_folder_must_be(tmp_path):
    (tmp_path / "file").write_text("x")
    path = tmp_path / "file" / "a.txt"
    with refused(path, "File exists"), whole_file(path, "w"):
        pytest.fail("must not come here")


def test_a_folder_where_the_file_must_be(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with refused(tmp_path / "a.txt", "Is a directory"), whole_file(tmp_path / "a.txt", "w") as stream:
        stream.write("new")
    assert names(tmp_path) == ["a.txt"]


# A folder


def fill(folder, text):
    (folder / "sub").mkdir()
    (folder / "sub" / "a.txt").write_text(text)
    (folder / "b.txt").write_text(text)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_directory_replaces_the_old_one(tmp_path):
    """Nothing of the old one stays, and a leftover of a killed writer is not taken over."""
    path = tmp_path / "deep" / "step"
    with whole_directory(path) as partial:
        fill(partial, "old")
        (partial / "only-old.txt").write_text("old")
    leftover = tmp_path / "deep" / ".step.partial" / "new"
    leftover.mkdir(parents=True)
    (leftover / "leftover.txt").write_text("half")
    with whole_directory(path) as partial:
        fill(partial, "new")
        assert contents(path)["b.txt"] == "old"
    assert contents(path) == {"sub/a.txt": "new", "b.txt": "new"}
    assert names(path.parent) == ["step"]


@pytest.mark.parametrize("fails", [False, True])
def test_folders_of_the_user_stay(tmp_path, fails):
    """Whatever they called them."""
    others = {name: {"thesis.txt": "mine"} for name in ("step.old", "step.partial")}
    for name in others:
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("mine")
    for text in ("one", "two"):
        with contextlib.suppress(KeyError), whole_directory(tmp_path / "step") as partial:
            fill(partial, text)
            if fails:
                raise KeyError
    assert {name: contents(tmp_path / name) for name in names(tmp_path) if name != "step"} == others
    assert (tmp_path / "step").exists() is not fails


def test_directory_here_and_behind_a_link(tmp_path, monkeypatch):
    """ "." is the folder that it names, and a link to a folder stays a link."""
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to("here")
    monkeypatch.chdir(tmp_path / "here")
    with whole_directory(".") as partial:
        fill(partial, "first")
    assert contents(tmp_path / "here")["b.txt"] == "first"
    with whole_directory(tmp_path / "link") as partial:
        fill(partial, "second")
    assert contents(tmp_path / "here")["b.txt"] == "second"
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path) == ["here", "link"]


def test_an_old_directory_that_was_moved_aside_comes_back(tmp_path, monkeypatch):
    """The second of the two renames fails."""
    path = tmp_path / "step"
    with whole_directory(path) as partial:
        fill(partial, "old")
    calls, replace = [], os.replace

    def second_fails(*places):
        calls.append(places)
        full_disk() if len(calls) == 2 else replace(*places)

    monkeypatch.setattr(os, "replace", second_fails)
    with refused(path, "No space left on device"), whole_directory(path) as partial:
        fill(partial, "new")
    assert len(calls) == 3
    assert (contents(path), names(tmp_path)) == ({"sub/a.txt": "old", "b.txt": "old"}, ["step"])


def test_an_exception_keeps_the_old_directory(tmp_path):
    path = tmp_path / "step"
    with whole_directory(path) as partial:
        fill(partial, "old")

    def fail():
        with whole_directory(path) as partial:
            fill(partial, "new")
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail()
    assert (contents(path), names(tmp_path)) == ({"sub/a.txt": "old", "b.txt": "old"}, ["step"])


def test_full_disk_keeps_the_old_directory(tmp_path, monkeypatch):
    path = tmp_path / "step"
    with whole_directory(path) as partial:
        fill(partial, "old")
    monkeypatch.setattr(os, "fsync", full_disk)
    with refused(path, "No space left on device"), whole_directory(path) as partial:
        fill(partial, "new")
    assert (contents(path), names(tmp_path)) == ({"sub/a.txt": "old", "b.txt": "old"}, ["step"])


def test_directory_over_a_file(tmp_path):
    (tmp_path / "step").write_text("a file")
    with refused(tmp_path / "step", "Not a directory"), whole_directory(tmp_path / "step") as partial:
        fill(partial, "new")
    assert ((tmp_path / "step").read_text(), names(tmp_path)) == ("a file", ["step"])


@pytest.mark.parametrize("moment", ["shutil.rmtree", "os.replace", "os.fsync"])
def test_kill_while_replacing_loses_nothing(tmp_path, moment):
    """A SIGKILL before each single call that removes, renames or syncs: the old or the new folder is there, whole."""
    new, old = ({"sub/a.txt": text, "b.txt": text} for text in ("new", "old"))
    module, name = moment.split(".")
    program = """
        import os, pathlib, shutil, signal, sys
        from bert_tf.files import whole_directory
        path, call, count = pathlib.Path(sys.argv[1]), getattr({module}, "{name}"), int(sys.argv[2])

        def killed(*arguments, **options):
            global count
            count -= 1
            if count < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        {module}.{name} = killed
        with whole_directory(path) as partial:
            (partial / "sub").mkdir()
            (partial / "sub" / "a.txt").write_text("new")
            (partial / "b.txt").write_text("new")
        """
    program = textwrap.dedent(program.format(module=module, name=name))
    kills = 0
    for count in range(20):
        folder = tmp_path / str(count)
        (folder / "step").mkdir(parents=True)
        fill(folder / "step", "old")
        run = subprocess.run([sys.executable, "-c", program, str(folder / "step"), str(count)], check=False)
        if run.returncode == 0:
            break
        assert run.returncode == -signal.SIGKILL
        kills += 1
        found = [contents(place) for place in (folder / "step", folder / ".step.partial" / "old") if place.exists()]
        assert new in found or old in found
    assert contents(folder / "step") == new
    assert kills >= (1 if name == "rmtree" else 2)


def test_halves_of_killed_checkpoints_do_not_pile_up(tmp_path):
    """Each may be as large as the model: the next checkpoint that is whole removes them, and nothing else."""
    for name in (".step-00000004.partial", ".notes.partial"):
        (tmp_path / name / "new").mkdir(parents=True)
    save_training_checkpoint(tmp_path, 5, [keras.Variable([1.0, 2.0])], {})
    assert names(tmp_path) == [".notes.partial", "step-00000005"]
