"""What a student is to learn from its teacher, checked against the two models."""

import dataclasses

from bert_tf.errors import InputError

LOSSES = ("labels", "soft", "hidden", "attention", "relations")


@dataclasses.dataclass(frozen=True)
class DistillationSettings:
    """Attributes:
        losses: {name: weight}, of `LOSSES`.
        temperature: of the soft labels.
        layers: the teacher's layer for each of the student's, from 1; None: evenly spread, the last to the last.
        relation_layer: the teacher's layer whose relations are learned, from 1; None: the last.
        relation_heads: the parts that relations are computed in; None: the teacher's heads.

    Raises:
        InputError: an unknown loss, none of the teacher, a weight or temperature that is not above 0.
    """

    losses: dict = dataclasses.field(default_factory=lambda: {"labels": 0.5, "soft": 0.5})
    temperature: float = 2.0
    layers: tuple | None = None
    relation_layer: int | None = None
    relation_heads: int | None = None

    def __post_init__(self):
        for name, weight in self.losses.items():
            if name not in LOSSES:
                raise InputError(f"a loss must be one of {', '.join(LOSSES)}, got {name!r}")
            if not weight > 0:
                raise InputError(f"the weight of the loss {name} must be above 0, got {weight}")
        if not set(self.losses) - {"labels"}:
            raise InputError(f"nothing is asked of the teacher; give one of the losses {', '.join(LOSSES[1:])}")
        if not self.temperature > 0:
            raise InputError(f"temperature must be above 0, got {self.temperature}")

    def of(self, student, teacher):
        """The same with nothing left open, for two configurations.

        Raises:
            InputError: a map of layers that does not fit, heads that differ where attention is learned, relation heads
                that do not divide both widths.
        """
        depth, least = teacher.num_hidden_layers, student.num_hidden_layers
        if self.layers is None and least > depth:
            raise InputError(f"the student has {least} layers, the teacher {depth}; it must not have more")
        layers = self.layers or spread_layers(least, depth)
        if len(layers) != least or not all(1 <= layer <= depth for layer in layers):
            raise InputError(
                f"the layer map must give each of the {least} layers of the student one from 1 to {depth} of the "
                f"teacher, got {' '.join(map(str, layers))}"
            )
        relation_layer = depth if self.relation_layer is None else self.relation_layer
        if not 1 <= relation_layer <= depth:
            raise InputError(f"relation_layer must be from 1 to {depth}, the teacher's layers, got {relation_layer}")
        ours, theirs = student.num_attention_heads, teacher.num_attention_heads
        if "attention" in self.losses and ours != theirs:
            raise InputError(
                f"the loss attention needs as many heads in the student as in the teacher, got {ours} and {theirs}; "
                "the loss relations does not"
            )
        heads = theirs if self.relation_heads is None else self.relation_heads
        widths = student.hidden_size, teacher.hidden_size
        if "relations" in self.losses and (heads < 1 or any(width % heads for width in widths)):
            raise InputError(
                f"relation_heads must divide the widths {widths[0]} of the student and {widths[1]} of the teacher, got "
                f"{heads}"
            )
        return dataclasses.replace(self, layers=tuple(layers), relation_layer=relation_layer, relation_heads=heads)


def spread_layers(count, depth):
    """For `count` layers the ones of `depth` to learn from, both from 1: spread_layers(3, 12) is (4, 8, 12)."""
    return tuple(layer * depth // count for layer in range(1, count + 1))
