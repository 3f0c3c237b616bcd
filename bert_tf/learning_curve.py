"""The learning curve of a run as a PNG: one panel a figure, its baselines as dashed lines."""

from pathlib import Path

import matplotlib

from bert_tf.files import whole_file

matplotlib.use("Agg")  # no screen is needed
from matplotlib import pyplot


def draw_learning_curve(path, title, panels):
    """Draws `panels`, a list of (title, {curve: [(step, value), …]}, {baseline: value}), side by side into `path`."""
    figure, axes = pyplot.subplots(1, len(panels), figsize=(5 * len(panels), 4), squeeze=False, layout="constrained")
    figure.suptitle(title)
    for axis, (name, curves, baselines) in zip(axes[0], panels, strict=True):
        for label, points in curves.items():
            axis.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 30 else None)
        for number, (label, value) in enumerate(baselines.items()):
            axis.axhline(value, label=label, linestyle="--", color=f"C{7 + number}")
        axis.set(title=name, xlabel="step")
        axis.grid(alpha=0.3)
        axis.legend()
    with whole_file(Path(path)) as stream:
        pyplot.savefig(stream, format="png", dpi=120)
    pyplot.close(figure)
