"""The vocabulary as a trie in one flat table (a double array), built with NumPy.

A double array (Aoe, "An efficient digital search algorithm by using a double-array structure", IEEE TSE 15, 1989)
answers "which node follows node n on symbol s" with one addition and one comparison, so that TensorFlow can move
thousands of words one step at a time with a few gathers:

    owner, child, token = slots[base + symbol]    # a node is known by its base
    follows = owner == base                       # True: there is such a child, of base `child`

The bases are found by trying random ones for all nodes at once, those with most children first while there is room.
"""

from typing import NamedTuple

import numpy as np

NO_TOKEN = -1
_FREE = -1


class Trie(NamedTuple):
    slots: np.ndarray  # int32 (slots, 3): base of the node whose child lies here (-1: free), base of that child, token
    roots: tuple[int, ...]  # base of each root
    leaf: int  # base of all nodes without children


def build_trie(symbols, lengths, root, token, *, roots):
    """Builds a forest that holds each sequence of symbols under its root.

    Args:
        symbols: int32 (n, longest), each row a sequence of symbols >= 1, then anything.
        lengths: int (n,), at least 1.
        root: int (n,), which root (0 .. roots - 1) the sequence hangs from. No sequence occurs twice under one root.
        token: int32 (n,), the id to store at the end of the sequence.
        roots: number of roots.

    Returns:
        Trie. No node has a child on symbol 0.
    """
    parent, symbol, child_token, nodes = _edges(symbols, lengths, root, token, roots)
    base, leaf = _place(parent, symbol, nodes)
    child = np.arange(roots, nodes)  # edge i leads to node roots + i
    slots = np.full((leaf + symbol.max() + 1, 3), _FREE, np.int32)
    slots[base[parent] + symbol] = np.stack([base[parent], base[child], child_token], axis=1)
    return Trie(slots, tuple(base[:roots].tolist()), leaf)


def _edges(symbols, lengths, root, token, roots):
    """Numbers the nodes level by level; returns each edge's parent node, symbol and the token at its child."""
    parents, edge_symbols, tokens = [], [], []
    node, nodes = root.astype(np.int64), roots  # node that each sequence has reached
    alive = np.arange(len(lengths))
    for depth in range(lengths.max(initial=0)):
        alive = alive[lengths[alive] > depth]
        keys = node[alive] << 32 | symbols[alive, depth]
        edges, inverse = np.unique(keys, return_inverse=True)
        ends = lengths[alive] == depth + 1
        edge_token = np.full(len(edges), NO_TOKEN, np.int32)
        edge_token[inverse[ends]] = token[alive[ends]]
        node[alive] = nodes + inverse
        nodes += len(edges)
        parents.append(edges >> 32)
        edge_symbols.append(edges & 0xFFFFFFFF)
        tokens.append(edge_token)
    return np.concatenate(parents), np.concatenate(edge_symbols), np.concatenate(tokens), nodes


def _place(parent, symbol, nodes):
    """Bases of all nodes, such that all slots differ and all bases differ but that of the leaves, which is the last."""
    children = np.bincount(parent, minlength=nodes)
    first_edge = np.cumsum(children) - children  # the edges of a node lie together, as _edges sorts them
    widest = int(symbol.max()) + 1
    slots = 2 * len(parent) + 2 * widest
    taken_slot, taken_base = np.zeros(slots, bool), np.zeros(slots, bool)
    claim_slot, claim_base = np.empty((2, slots), np.int64)
    base = np.full(nodes, slots, np.int64)  # of a leaf: the slots from there on are free
    random = np.random.default_rng(0)
    for count in np.unique(children[children > 0])[::-1]:
        waiting = np.flatnonzero(children == count)
        edges = first_edge[waiting][:, None] + np.arange(count)  # (waiting, count)
        while len(waiting):
            trial = random.integers(0, slots - widest, len(waiting))
            trial_slots = trial[:, None] + symbol[edges]
            fits = ~taken_slot[trial_slots].any(axis=1) & ~taken_base[trial]
            number = np.arange(len(waiting))
            claim_base[trial[fits]] = number[fits]
            claim_slot[trial_slots[fits]] = number[fits, None]
            placed = fits.copy()  # of two nodes that want one slot, the later claim wins
            placed[fits] = (claim_base[trial[fits]] == number[fits]) & (
                claim_slot[trial_slots[fits]] == number[fits, None]
            ).all(axis=1)
            base[waiting[placed]] = trial[placed]
            taken_base[trial[placed]] = True
            taken_slot[trial_slots[placed]] = True
            waiting, edges = waiting[~placed], edges[~placed]
    return base, slots
