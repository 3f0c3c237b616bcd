"""What fine-tuning does layer by layer: smaller rates below, frozen layers, fresh top layers.

A variable belongs to a layer by its path, the same on both backends: `…/embeddings/…`, `…/layer_7/…`, else it is above
the encoder (the pooler, the head).
"""

from bert_tf.errors import InputError
from bert_tf.model import BertModel


def layer_rate_factors(num_layers, decay):
    """{pattern of a path: factor} for `BertAdamW`: each layer has `decay` times the rate of the one above it.

    Pooler and head 1, the top layer `decay`, the first decay^num_layers, the embeddings decay^(num_layers + 1). Called
    discriminative fine-tuning by Howard & Ruder 2018 (arXiv 1801.06146, section 3.2).

    >>> layer_rate_factors(2, 0.5)
    {'(^|/)embeddings/': 0.125, '(^|/)relative_bias/': 0.125, '(^|/)layer_0/': 0.25, '(^|/)layer_1/': 0.5}
    """
    lowest = decay ** (num_layers + 1)
    factors = {r"(^|/)embeddings/": lowest, r"(^|/)relative_bias/": lowest}
    return factors | {rf"(^|/)layer_{index}/": decay ** (num_layers - index) for index in range(num_layers)}


def freeze(bert, layers):
    """The embeddings and the first `layers` layers of a `BertModel` are not trained; None: everything is.

    Their gradients are not computed either.

    Raises:
        InputError: more layers than there are.
    """
    if layers is None:
        return
    _check_layers("freeze_layers", layers, bert)
    for part in (bert.embeddings, bert.relative_bias, *bert.blocks[:layers]):
        if part is not None:
            part.trainable = False


def reinitialise(bert, layers):
    """Gives the top `layers` layers of a `BertModel` and, if there are any, its pooler fresh weights.

    The layers nearest to the pretraining task transfer worst (Zhang et al. 2021, arXiv 2006.05987, section 5).

    Returns the names of the tensors that begin fresh.

    Raises:
        InputError: more layers than there are.
    """
    if not layers:
        return []
    _check_layers("reinit_layers", layers, bert)
    count = bert.config.num_hidden_layers
    begin_fresh = ("pooler.", *(f"encoder.layer.{index}." for index in range(count - layers, count)))
    table, fresh = bert.weight_table(), BertModel(bert.config).weight_table()
    names = [name for name in table if name.startswith(begin_fresh)]
    for name in names:
        table[name].write(fresh[name].read())
    return names


def _check_layers(name, layers, bert):
    if layers > bert.config.num_hidden_layers:
        raise InputError(f"{name} must be at most the {bert.config.num_hidden_layers} layers, got {layers}")
