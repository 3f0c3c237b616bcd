"""Sums of (sum, weight) figures over steps: exact to add up, to save in a checkpoint and to continue."""

from keras import ops


def with_update(figures, norm, finite):
    """The figures of an update with `gradient_norm` and `skipped`; of one that was skipped only that counts.

    Args:
        figures: {name: (sum, weight)}.
        norm: the gradient's norm, a float32 scalar.
        finite: a boolean scalar, False where the update was skipped.
    """
    made = ops.cast(finite, "float32")
    figures = figures | {"gradient_norm": (norm, made)}
    kept = {name: (ops.where(finite, total, 0.0), weight * made) for name, (total, weight) in figures.items()}
    return kept | {"skipped": (1.0 - made, ops.ones_like(made))}


class RunningFigures:
    """Adds up the figures of many steps; the step's arrays are read only when a value is asked for.

    Args:
        totals: where an earlier instance stood, as its `totals()`.
    """

    def __init__(self, totals=None):
        self._totals = {name: tuple(pair) for name, pair in (totals or {}).items()}
        self._pending = []

    def add(self, figures):
        """Adds {name: (sum, weight)} of one step."""
        self._pending.append(figures)

    def totals(self):
        """{name: (sum, weight)} so far, Python floats."""
        for figures in self._pending:
            for name, (total, weight) in figures.items():
                earlier = self._totals.get(name, (0.0, 0.0))
                self._totals[name] = (earlier[0] + float(total), earlier[1] + float(weight))
        self._pending.clear()
        return self._totals

    def values(self):
        """{name: sum / weight} so far; a figure of weight 0 is 0."""
        return {name: total / weight if weight else 0.0 for name, (total, weight) in self.totals().items()}
