"""What a fine-tuning run says before its first step, and the learning curve it leaves."""

import math

from bert_tf.learning_curve import draw_learning_curve


def print_run(tuning, fresh, unit, chosen_by):
    """Three lines: the model and what of it is fresh, the batches of `unit` (examples, windows), the steps."""
    model, recipe = tuning.model, tuning.recipe
    trained = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    print(
        f"model:      {model.count_params():,} parameters, {trained:,} of them trained; begun fresh: "
        f"{', '.join([*fresh, *tuning.fresh]) or 'none'}\n"
        f"batches:    {tuning.batches.per_epoch:,} an epoch of {recipe.batch_size} {unit}, padded to "
        f"{', '.join(map(str, tuning.padded_lengths))} tokens, {tuning.batches.real_share():.1%} of them real\n"
        f"run:        {tuning.steps:,} steps = {recipe.epochs} epochs, peak rate {tuning.learning_rate:.2e} after "
        f"{tuning.warmup_steps:,} steps, {recipe.precision}; best by validation {chosen_by}"
    )


def draw_run(run, title, names, baselines):
    """Draws each of the figures in training and validation, a panel each, into the run's `learning_curve.png`.

    Args:
        baselines: {figure: {label: value}}, dashed lines.
    """
    lines = run.metrics()

    def curve(name):
        return [(line["step"], line[name]) for line in lines if name in line]

    panels = []
    for name in names:
        curves = {"training": curve(name), "validation": curve(f"validation_{name}")}
        panels.append((name, {label: points for label, points in curves.items() if points}, baselines.get(name, {})))
    draw_learning_curve(run.curve_path, title, panels)
