"""Packages that only some inputs and outputs need: one sentence where one is missing."""

import contextlib

from bert_tf.errors import InputError


@contextlib.contextmanager
def needed(what, extra):
    """Around the import of an optional package.

    Raises:
        InputError: it is not installed; the sentence says what needs it and which extra of bert-tf brings it.
    """
    try:
        yield
    except ImportError as error:
        raise InputError(
            f"{what} needs a package that is not installed ({error}): pip install 'bert-tf[{extra}]'"
        ) from None
