"""The tags of entities, B-PER and the like: what one says, and where an entity begins (Ramshaw and Marcus 1995)."""

import re

_TAG = re.compile(r"O|([BIES])-(.+)")


def split_tag(tag):
    """("B", "PER") of "B-PER", ("O", None) of "O"; None of what is no tag."""
    match = _TAG.fullmatch(tag)
    return match and (match[1] or "O", match[2])


def begins_entity(before, tag):
    """Whether an entity begins at a word, by the split tags of the word before it and of its own.

    As `conlleval` and seqeval's default mode count them: at B or S, after O, E or S, and where the type changes; so
    IOB1, IOB2 and BIOES are all read, and an I after O begins an entity.

    >>> begins_entity(("B", "PER"), ("I", "PER")), begins_entity(("O", None), ("I", "PER"))
    (False, True)
    """
    prefix, kind = tag
    return prefix != "O" and (prefix in "BS" or before[0] in "OES" or kind != before[1])
