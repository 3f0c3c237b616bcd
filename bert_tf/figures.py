"""Sums of (sum, weight) figures over steps: exact to add up, to save in a checkpoint and to continue."""


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
