"""Batches by length: few distinct shapes, little padding, an order that is a pure function of (seed, epoch).

Examples are sorted into buckets by length. In training each bucket is shuffled and cut into batches; what is left over
joins the next longer bucket, so that an epoch has ceil(N / B) batches of which at most one is not full. The same seed
and epoch give the same batches, so that a run continues at any position without replaying what came before.
"""

import numpy as np


def choose_lengths(lengths, real_share=0.9, most=12):
    """The padded lengths to use: the fewest with which `real_share` of all tokens computed are real, at most `most`.

    For each number of lengths, they are those with the fewest tokens computed in all (dynamic programming over the
    distinct lengths); the last is the longest length. Batches of mixed buckets add a little padding to that.

    >>> choose_lengths([3, 3, 3, 3, 10])  # 22 real tokens; padded to 10 only: 50 computed; to 3 or 10: 22
    array([ 3, 10])
    """
    ends, counts = np.unique(np.asarray(lengths), return_counts=True)
    real = int((ends * counts).sum())
    before = np.concatenate([[0], np.cumsum(counts)])  # examples shorter than ends[i]
    # cost[j]: the fewest tokens computed for all examples up to ends[j], with the number of lengths used so far
    cost = ends * before[1:]
    choices = []  # for each further length: where the part before the last bucket ends
    while cost[-1] * real_share > real and len(choices) + 1 < most:
        previous = np.concatenate([[0], cost[:-1]])  # cost of everything before index i
        candidates = previous[None, :] + ends[:, None] * (before[1:, None] - before[None, :-1])  # [j, i]: bucket i to j
        candidates = np.where(np.tri(len(ends), dtype=bool), candidates, np.iinfo(np.int64).max)
        choices.append(candidates.argmin(axis=1))
        cost = candidates.min(axis=1)
    chosen, last = [], len(ends) - 1
    for choice in reversed(choices):
        chosen.append(last)
        last = choice[last] - 1
        if last < 0:
            break
    else:
        chosen.append(last)
    return ends[np.array(sorted(chosen))]


def training_plan(lengths, padded_lengths, batch_size, seed, epoch):
    """The batches of one epoch: a list of arrays of example numbers, each example once, at most one array not full."""
    rng = np.random.default_rng([seed, epoch])
    buckets = np.searchsorted(padded_lengths, lengths)
    batches, rest = [], np.empty(0, np.int64)
    for bucket in range(len(padded_lengths)):
        members = rng.permutation(np.concatenate([rest, np.flatnonzero(buckets == bucket)]))
        full = len(members) // batch_size * batch_size
        batches.extend(members[:full].reshape(-1, batch_size))
        rest = members[full:]
    if len(rest):
        batches.append(rest)
    return [batches[index] for index in rng.permutation(len(batches))]


class TrainingBatches:
    """The batches of a training run, without end; the one of step n is a pure function of (seed, n)."""

    def __init__(self, features, padded_lengths, batch_size, seed):
        self._features = features
        self._padded_lengths = padded_lengths
        self._batch_size = batch_size
        self._seed = seed
        self.per_epoch = -(-len(features) // batch_size)

    def plan(self, epoch):
        """The `training_plan` of an epoch."""
        return training_plan(self._features.lengths, self._padded_lengths, self._batch_size, self._seed, epoch)

    def iterate(self, done):
        """Yields (step, batch) of the steps after the first `done`, counted from 1."""
        epoch, position = divmod(done, self.per_epoch)
        while True:
            for chosen in self.plan(epoch)[position:]:
                done += 1
                yield done, make_batch(self._features, chosen, self._padded_lengths, self._batch_size)
            epoch, position = epoch + 1, 0

    def real_share(self):
        """The part of the tokens computed in the first epoch that are real."""
        longest = np.array([self._features.lengths[chosen].max() for chosen in self.plan(0)])
        padded = self._padded_lengths[np.searchsorted(self._padded_lengths, longest)]
        return int(self._features.lengths.sum()) / (int(padded.sum()) * self._batch_size)


def reading_plan(lengths, batch_size):
    """The batches for evaluation and prediction: example numbers by rising length, each once."""
    order = np.argsort(lengths, kind="stable")
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def make_batch(features, chosen, padded_lengths, batch_size):
    """The arrays of one batch, always `batch_size` rows and as long as the smallest padded length that holds them.

    Returns the `per_token` arrays padded to (B, S), `attention_mask` (B, S) int32, the `per_example` arrays (B, …),
    and `example_weights` (B,) float32, 1 for an example. A batch that is not full repeats its first example with
    weight 0.
    """
    rows = np.concatenate([chosen, np.full(batch_size - len(chosen), chosen[0])])
    lengths = features.offsets[rows + 1] - features.offsets[rows]
    length = padded_lengths[np.searchsorted(padded_lengths, lengths.max())]
    mask = np.arange(length) < lengths[:, None]  # (B, S)
    flat = np.concatenate([np.arange(features.offsets[row], features.offsets[row + 1]) for row in rows])
    batch = {"attention_mask": mask.astype(np.int32)}
    for name, values in features.per_token.items():
        padded = np.full(mask.shape, features.padding.get(name, 0), values.dtype)
        padded[mask] = values[flat]
        batch[name] = padded
    for name, values in features.per_example.items():
        batch[name] = values[rows]
    batch["example_weights"] = (np.arange(batch_size) < len(chosen)).astype(np.float32)
    return batch
