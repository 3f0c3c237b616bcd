"""An independent BERT in float64 NumPy: each layer with a backward pass written by hand.

Follows Devlin et al. 2018 (arXiv 1810.04805), Vaswani et al. 2017 (arXiv 1706.03762) and Raffel et al. 2019
(arXiv 1910.10683, section 2.1), with nothing taken from the package under test. Parameters are a dictionary by Hugging
Face name, in PyTorch's orientation: a dense layer computes x Wᵀ + b with W (out, in); query, key and value are three
separate layers.

Each layer is a function that returns its output and `backward(d_output, grads)`, which adds the gradients of the
parameters to `grads` by name and returns the gradient of the layer's input. `test_numpy_bert.py` checks every backward
pass against central differences.

Shapes: B batch, S sequence, H hidden, N heads, D = H/N, I intermediate, M predictions, V vocabulary.
"""

import math
from collections import defaultdict

import numpy as np

MASKED_SCORE = -1e9


def new_grads():
    """Gradients by parameter name, 0 at first; a parameter used twice receives both contributions."""
    return defaultdict(float)


def _sum_leading(x):
    return x.reshape(-1, x.shape[-1]).sum(0)


# Activations: x -> f(x), f'(x)


def _normal_cdf(x):
    return 0.5 * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))


def gelu(x):
    """x Φ(x); the derivative is Φ(x) + x φ(x), φ the normal density."""
    return x * _normal_cdf(x), _normal_cdf(x) + x * np.exp(-(x**2) / 2.0) / math.sqrt(2.0 * math.pi)


def gelu_new(x):
    """x/2 (1 + tanh u), u = √(2/π) (x + 0.044715 x³), as in google-research/bert `modeling.py`."""
    c = math.sqrt(2.0 / math.pi)
    t = np.tanh(c * (x + 0.044715 * x**3))
    return 0.5 * x * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t**2) * c * (1.0 + 3 * 0.044715 * x**2)


def relu(x):
    return np.maximum(x, 0.0), (x > 0.0).astype(x.dtype)


def silu(x):
    s = 1.0 / (1.0 + np.exp(-x))
    return x * s, s + x * s * (1.0 - s)


def tanh(x):
    return np.tanh(x), 1.0 - np.tanh(x) ** 2


ACTIVATIONS = {"gelu": gelu, "gelu_new": gelu_new, "relu": relu, "silu": silu, "tanh": tanh}


# Layers


def dense(p, name, x):
    """x Wᵀ + b."""
    weight = p[f"{name}.weight"]

    def backward(dy, grads):
        grads[f"{name}.weight"] += dy.reshape(-1, dy.shape[-1]).T @ x.reshape(-1, x.shape[-1])
        grads[f"{name}.bias"] += _sum_leading(dy)
        return dy @ weight

    return x @ weight.T + p[f"{name}.bias"], backward


def layer_norm(p, name, x, eps):
    """(x - mean) / √(variance + ε) γ + β over the last axis, the variance divided by H."""
    centred = x - x.mean(-1, keepdims=True)
    inverse = 1.0 / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    normed = centred * inverse

    def backward(dy, grads):
        grads[f"{name}.weight"] += _sum_leading(dy * normed)
        grads[f"{name}.bias"] += _sum_leading(dy)
        dn = dy * p[f"{name}.weight"]
        return inverse * (dn - dn.mean(-1, keepdims=True) - normed * (dn * normed).mean(-1, keepdims=True))

    return normed * p[f"{name}.weight"] + p[f"{name}.bias"], backward


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def self_attention(p, name, x, bias, heads):
    """softmax(Q Kᵀ / √D + bias) V for each head, then the output projection: (B, S, H), and probabilities (B, N, S, S).

    `backward(d_output, d_probabilities, grads)` returns the gradients of x and of bias (B, N, S, S).
    """
    batch, length, hidden = x.shape
    root = math.sqrt(hidden // heads)

    def split(y):  # (B, S, H) -> (B, N, S, D)
        return y.reshape(batch, length, heads, hidden // heads).transpose(0, 2, 1, 3)

    def merge(y):  # (B, N, S, D) -> (B, S, H)
        return y.transpose(0, 2, 1, 3).reshape(batch, length, hidden)

    query, query_backward = dense(p, f"{name}.self.query", x)
    key, key_backward = dense(p, f"{name}.self.key", x)
    value, value_backward = dense(p, f"{name}.self.value", x)
    q, k, v = split(query), split(key), split(value)
    probabilities = softmax(q @ k.swapaxes(-1, -2) / root + bias)  # (B, N, S, S)
    output, output_backward = dense(p, f"{name}.output.dense", merge(probabilities @ v))

    def backward(d_output, d_probabilities, grads):
        dc = split(output_backward(d_output, grads))  # (B, N, S, D)
        dp = dc @ v.swapaxes(-1, -2) + d_probabilities
        dv = probabilities.swapaxes(-1, -2) @ dc
        ds = probabilities * (dp - (dp * probabilities).sum(-1, keepdims=True))
        dx = query_backward(merge(ds @ k / root), grads)
        dx = dx + key_backward(merge(ds.swapaxes(-1, -2) @ q / root), grads)
        return dx + value_backward(merge(dv), grads), ds

    return (output, probabilities), backward


def feed_forward(p, name, x, act):
    """Dense to I, activation, dense to H."""
    inner, inner_backward = dense(p, f"{name}.intermediate.dense", x)
    active, slope = ACTIVATIONS[act](inner)
    output, output_backward = dense(p, f"{name}.output.dense", active)

    def backward(dy, grads):
        return inner_backward(output_backward(dy, grads) * slope, grads)

    return output, backward


def block(p, name, x, bias, heads, act, eps):
    """x -> LayerNorm(x + attention), then h -> LayerNorm(h + feed-forward), and the attention's probabilities."""
    (attended, probabilities), attention_backward = self_attention(p, f"{name}.attention", x, bias, heads)
    middle, middle_backward = layer_norm(p, f"{name}.attention.output.LayerNorm", x + attended, eps)
    expanded, feed_forward_backward = feed_forward(p, name, middle, act)
    output, output_backward = layer_norm(p, f"{name}.output.LayerNorm", middle + expanded, eps)

    def backward(d_output, d_probabilities, grads):
        d = output_backward(d_output, grads)
        d = middle_backward(d + feed_forward_backward(d, grads), grads)
        dx, d_bias = attention_backward(d, d_probabilities, grads)
        return d + dx, d_bias

    return (output, probabilities), backward


# Positions and embeddings


def sinusoid(position, column, hidden_size):
    """One value of section 3.5 of "Attention is all you need": columns 2i and 2i+1 share the rate 10000^(-2i/H)."""
    angle = position / 10000 ** ((column - column % 2) / hidden_size)
    return math.cos(angle) if column % 2 else math.sin(angle)


def t5_bucket(relative, num_buckets, max_distance):
    """The bucket of the distance `relative` = key - query, both directions, in exact whole-number arithmetic.

    T5 takes exact + ⌊(half - exact) log(d / exact) / log(max / exact)⌋ for d >= exact. That floor is the largest k with
    (d / exact)^(half - exact) >= (max / exact)^k, and both sides times exact^(half - exact) exact^k are integers.
    """
    half = num_buckets // 2
    exact = half // 2
    width = half - exact
    distance = abs(relative)
    if distance >= exact:
        ks = [k for k in range(width) if distance**width * exact**k >= max_distance**k * exact**width]
        distance = exact + max(ks)
    return distance + (half if relative > 0 else 0)


def relative_bias(p, name, length, num_buckets, max_distance):
    """(1, N, S, S): the learned value of each head and bucket; row: query, column: key."""
    table = [[t5_bucket(k - q, num_buckets, max_distance) for k in range(length)] for q in range(length)]

    def backward(d_bias, grads):  # (B, N, S, S)
        grad = np.zeros_like(p[name])
        np.add.at(grad, np.array(table), d_bias.sum(0).transpose(1, 2, 0))
        grads[name] += grad

    return p[name][np.array(table)].transpose(2, 0, 1)[None], backward


def embeddings(p, input_ids, token_type_ids, eps, positions):
    """LayerNorm(word + segment + position); `positions` "absolute", "sinusoidal" or "relative" (nothing added)."""
    length = input_ids.shape[1]
    words, types, places = (f"embeddings.{part}_embeddings.weight" for part in ("word", "token_type", "position"))
    hidden_size = p[words].shape[1]
    x = p[words][input_ids] + p[types][token_type_ids]
    if positions == "absolute":
        x = x + p[places][:length]
    elif positions == "sinusoidal":
        x = x + np.array([[sinusoid(pos, col, hidden_size) for col in range(hidden_size)] for pos in range(length)])
    output, norm_backward = layer_norm(p, "embeddings.LayerNorm", x, eps)

    def backward(dy, grads):
        dx = norm_backward(dy, grads)
        for name, ids in ((words, input_ids), (types, token_type_ids)):
            grad = np.zeros_like(p[name])
            np.add.at(grad, ids, dx)
            grads[name] += grad
        if positions == "absolute":
            grads[places] += np.concatenate([dx.sum(0), np.zeros((len(p[places]) - length, hidden_size))])

    return output, backward


# The model


def bert(p, config, input_ids, attention_mask, token_type_ids):
    """The encoder and its pooler; `config` has the fields of `BertConfig`.

    `backward(d_last_hidden_state, d_pooler_output)` returns the gradients by name.
    """
    eps = config.layer_norm_eps
    bias = np.where(attention_mask == 1, 0.0, MASKED_SCORE)[:, None, None, :]  # (B, 1, 1, S)
    if config.position_embedding_type == "relative":
        distances, relative_backward = relative_bias(
            p,
            "encoder.relative_attention_bias.weight",
            input_ids.shape[1],
            config.relative_attention_num_buckets,
            config.relative_attention_max_distance,
        )
        bias = bias + distances  # (B, N, S, S)
    x, embeddings_backward = embeddings(p, input_ids, token_type_ids, eps, config.position_embedding_type)
    hidden_states, attentions, block_backwards = [x], [], []
    for index in range(config.num_hidden_layers):
        (x, probabilities), block_backward = block(
            p, f"encoder.layer.{index}", x, bias, config.num_attention_heads, config.hidden_act, eps
        )
        hidden_states.append(x)
        attentions.append(probabilities)
        block_backwards.append(block_backward)
    pooled, pooler_backward = dense(p, "pooler.dense", x[:, 0])
    pooled, pooled_slope = tanh(pooled)
    outputs = {
        "last_hidden_state": x,
        "pooler_output": pooled,
        "hidden_states": tuple(hidden_states),
        "attentions": tuple(attentions),
    }

    def backward(d_last, d_pooled, grads=None):
        grads = new_grads() if grads is None else grads
        d = d_last.copy()
        d[:, 0] += pooler_backward(d_pooled * pooled_slope, grads)
        for block_backward in reversed(block_backwards):
            d, d_bias = block_backward(d, 0.0, grads)
            if config.position_embedding_type == "relative":
                relative_backward(d_bias, grads)
        embeddings_backward(d, grads)
        return grads

    return outputs, backward


# The pretraining heads and their loss


def mlm_head(p, config, hidden, positions):
    """Logits (B, M, V) at `positions` (B, M): dense, activation, LayerNorm, then the word embeddings as the decoder."""
    rows = np.arange(len(hidden))[:, None]
    x, dense_backward = dense(p, "cls.predictions.transform.dense", hidden[rows, positions])
    x, slope = ACTIVATIONS[config.hidden_act](x)
    x, norm_backward = layer_norm(p, "cls.predictions.transform.LayerNorm", x, config.layer_norm_eps)
    words = p["embeddings.word_embeddings.weight"]

    def backward(dy, grads):
        grads["embeddings.word_embeddings.weight"] += np.einsum("bmv,bmh->vh", dy, x)
        grads["cls.predictions.bias"] += _sum_leading(dy)
        d_hidden = np.zeros_like(hidden)
        np.add.at(d_hidden, (rows, positions), dense_backward(norm_backward(dy @ words, grads) * slope, grads))
        return d_hidden

    return x @ words.T + p["cls.predictions.bias"], backward


def nsp_head(p, pooled):
    """Logits (B, 2): column 0 for "B follows A", column 1 for a random B."""
    return dense(p, "cls.seq_relationship", pooled)


def masked_cross_entropy(logits, labels, weights):
    """Σ w (log Σ exp z - z[label]) / Σ w, and its gradient by the logits; labels and weights without the last axis."""
    log_probabilities = logits - logits.max(-1, keepdims=True)
    log_probabilities = log_probabilities - np.log(np.exp(log_probabilities).sum(-1, keepdims=True))
    chosen = np.eye(logits.shape[-1])[labels]
    loss = -(weights * (log_probabilities * chosen).sum(-1)).sum() / weights.sum()
    return loss, (np.exp(log_probabilities) - chosen) * (weights / weights.sum())[..., None]
