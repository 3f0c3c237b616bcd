"""A WordPiece vocabulary: tokens in the order of their ids, one a line in vocab.txt (UTF-8)."""

from pathlib import Path

from bert_tf.errors import InputError
from bert_tf.files import whole_file


class Vocabulary:
    """Checked tokens and the way back from a token to its id.

    Args:
        tokens: sequence of str; a token's id is its place.
        where: what to call the vocabulary in error messages, the path of its file for instance.

    Raises:
        InputError: no token, a token that is not a str, is empty, holds a line break, or occurs twice.
    """

    def __init__(self, tokens, where="the vocabulary"):
        self.tokens = tuple(tokens)
        self.where = str(where)
        if not self.tokens:
            raise InputError(f"{where} is empty: expected one token a line, the first of id 0")
        self.ids = {}
        for index, token in enumerate(self.tokens):
            place = f"line {index + 1} of {where} (id {index})"
            if not isinstance(token, str):
                raise InputError(f"{place} is {token!r}, of type {type(token).__name__}: a token is a str")
            if not token:
                raise InputError(
                    f"{place} is blank: write a token there that no text contains, such as [unused{index}]"
                )
            if "\n" in token:
                raise InputError(f"{place}, {token!r}, holds a line break: vocab.txt has one token a line")
            if token in self.ids:
                raise InputError(
                    f"{place} repeats the token {token!r} of line {self.ids[token] + 1}: tokens must differ; write one "
                    f"there that no text contains, such as [unused{index}]"
                )
            self.ids[token] = index

    @classmethod
    def read(cls, path):
        """Reads vocab.txt: lines end in "\\n" or "\\r\\n", and every other character belongs to the token.

        Raises:
            InputError: there is no such file, it is not UTF-8, or `Vocabulary` refuses its tokens.
        """
        path = Path(path)
        try:
            text = path.read_bytes().decode("utf-8")
        except OSError as error:
            raise InputError(f"cannot read the vocabulary {path}: {error.strerror}; expected a vocab.txt") from None
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path} is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}; convert it to UTF-8"
            ) from None
        lines = text.removesuffix("\n").split("\n") if text else []
        return cls([line.removesuffix("\r") for line in lines], path)

    def write(self, path):
        """Writes vocab.txt, whole or not at all."""
        with whole_file(path) as stream:
            stream.write("".join(token + "\n" for token in self.tokens).encode("utf-8"))

    def id_of(self, token, role):
        """Id of a token that must exist; `role` says what for, "mask_token" for instance."""
        if token not in self.ids:
            raise InputError(
                f"{self.where} ({len(self.tokens)} tokens) lacks {token!r}, which is to be the {role}: add it, or name "
                f"the right token as {role}"
            )
        return self.ids[token]

    def __len__(self):
        return len(self.tokens)
