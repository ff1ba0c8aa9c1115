"""What figures of random paths share: numbers with standard errors, and the words for noise."""

from typing import Any, NamedTuple

import jax
import numpy as np

from ...errors import InvalidValue
from ...optimizers import AbstractOptimizer
from ...optimizers.wrappers.noise import noise_of, replace_noise
from ...runs import Ensemble, Status
from .words import facts, format_number, format_with_error, join_words

SYMBOLS = {"sigma": "σ", "temperature": "T", "size": "batch size"}


class Estimate(NamedTuple):
    """A number that is estimated from independent paths, and its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return format_with_error(self.value, self.error)


def mean_of(values: np.ndarray) -> Estimate:
    """The mean of independent numbers."""
    return Estimate(values.mean(), values.std(ddof=1) / np.sqrt(len(values)))


def variance_of(values: np.ndarray) -> Estimate:
    """The variance of independent numbers or, summed over the coordinates, of vectors.

    - `values`: shape `(n,)` or `(n, dim)`.
    """
    squares = ((values - values.mean(0)) ** 2).reshape(len(values), -1).sum(1)
    n = len(squares)
    return Estimate(squares.sum() / (n - 1), squares.std(ddof=1) / np.sqrt(n))


def deviation_of(values: np.ndarray) -> Estimate:
    """The standard deviation of independent numbers."""
    variance, error = variance_of(values)
    deviation = np.sqrt(variance)
    return Estimate(deviation, error / (2 * deviation) if deviation > 0 else 0.0)


def final_positions(result: Ensemble) -> np.ndarray:
    """The positions at the end of the paths that have not failed, shape `(paths, dim)`."""
    return positions(result)[:, -1]


def positions(result: Ensemble) -> np.ndarray:
    """The positions of the paths that have not failed, shape `(paths, times, dim)`.

    **Raises:** `InvalidValue` if fewer than two paths are left.
    """
    ok = np.asarray(result.ok)
    if ok.sum() < 2:
        raise InvalidValue(
            f"all but {ok.sum()} of {len(ok)} paths of the {result.kind} of {result.optimizer!r} "
            "failed, so there is no law to draw; take a smaller learning rate or fewer steps."
        )
    leaves = [np.asarray(leaf, float)[ok] for leaf in jax.tree.leaves(result.x)]
    return np.concatenate([leaf.reshape(*leaf.shape[:2], -1) for leaf in leaves], -1)


def noise_facts(optimizer: AbstractOptimizer, *more: str) -> str:
    """Learning rate and noise of an optimizer, for the line below its name."""
    noise: Any = noise_of(optimizer)
    values = noise.hyperparameters()
    known = [
        f"{symbol}\xa0=\xa0{format_number(float(values[name]))}"
        for name, symbol in SYMBOLS.items()
        if np.ndim(values.get(name, [])) == 0 and values[name] is not None
    ]
    return facts(replace_noise(optimizer, lambda noise: noise.optimizer), *known, *more)


def failed_paths(result: Ensemble) -> str:
    """How many paths failed, as in "3 of 100 paths of the map failed"; empty if none did.

    Paths that were interrupted have not failed; how many those are is told after the others.
    """
    statuses = np.asarray(result.result)
    interrupted = int((statuses == Status.interrupted).sum())
    counts = {
        "failed": len(statuses) - int(result.num_ok) - interrupted,
        "were interrupted" if interrupted > 1 else "was interrupted": interrupted,
    }
    return join_words(
        [
            f"{number} of {len(statuses)} paths of the {result.kind} {what}"
            for what, number in counts.items()
            if number
        ]
        or [""]
    )
