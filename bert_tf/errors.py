"""The one exception that bad input raises.

Its text is one sentence: what was expected, what came, where (file and line), what to do. The commands print that
sentence and exit with status 2; any other exception is a fault of this package and keeps its traceback.
"""


class InputError(ValueError):
    """Input that the package cannot use: a file, a setting, an id or a text."""

    # Keras' own mark of an exception whose text is complete: without it, a sentence raised inside a layer comes out
    # with the layer's arguments around it (keras/src/utils/traceback_utils.py, inject_argument_info_in_traceback).
    _keras_call_info_injected = True
