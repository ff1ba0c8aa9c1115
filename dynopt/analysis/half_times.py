"""Half-times: after how many steps the loss of each group of examples is half of its first."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from ..checks import must_be_concrete
from ..errors import InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer
from ..problems import MeanLoss, Problem
from ..problems.problem import must_be_problem
from ..runs.trajectory import Trajectory
from .slope import MIN_POINTS, fit_line


class HalfTimes(eqx.Module):
    """How fast each group of examples is learned, such as the mentions of one entity.

    - `group`: the numbers of the groups, ascending, shape `(groups,)`.
    - `count`: how many examples each has, same shape.
    - `steps`: after how many steps its loss is half of its loss at the start, same shape; NaN if
      the run does not get so far. The steps of a flow are t/h, no whole numbers.
    - `step`: the saved steps, shape `(points,)`; those after a failure are left out.
    - `loss`: the mean loss of each group at them, shape `(points, groups)`.
    - `slope`, `stderr`: the slope of log(steps) over log(count) by least squares over the groups
      that were halved, and its standard error; NaN with fewer than three such groups, or if all
      have one count. With unreached groups it is the slope of the others, and too flat where rare
      groups take longest: of these it misses the slow ones.
    - `unreached`: the number of groups that were not halved.
    - `kind`: "map" or "flow".
    - `optimizer`, `problem`: the optimizer of the run, and the problem that holds the examples.
    """

    group: Int[np.ndarray, " groups"]
    count: Int[np.ndarray, " groups"]
    steps: Float[np.ndarray, " groups"]
    step: Float[np.ndarray, " points"]
    loss: Float[np.ndarray, "points groups"]
    slope: float
    stderr: float
    kind: str = eqx.field(static=True)
    optimizer: AbstractOptimizer
    problem: Problem

    unreached = property(lambda self: int(np.isnan(self.steps).sum()))

    def __repr__(self) -> str:
        halved = f"{len(self.group) - self.unreached} of {len(self.group)} groups halved"
        subject = f"{self.optimizer} on {self.problem.name}"
        return f"HalfTimes(slope {self.slope:.3f} ± {self.stderr:.1g}, {halved}, {subject})"


def half_times(run: Trajectory, problem: Problem | None = None, groups: Any = None) -> HalfTimes:
    """The steps after which the mean loss of each group is half of that at the start of the run.

    The examples of a group are learned at a rate that depends on how many there are. Where each
    group has coordinates of its own, their gradient is in proportion to the share of the group, and
    the gradient flow halves its loss after a time in proportion to 1/count: the slope of log(steps)
    over log(count) is -1, while for sign descent it is 0.

    Each group is measured against its own start, however small its loss is there. It counts when
    the loss first comes down to half, also if it rises before or afterwards. Between two saved
    points log(loss) is interpolated by a straight line. That is exact while the loss decays
    exponentially; else the error in steps is about e² |d²log(loss)/dk²| / (8 |d log(loss)/dk|)
    with e the steps between two saved points, and always less than e. So save every step where
    groups are halved after few steps.

    - `run`: a result of `iterate` or `integrate`. A flow of the optimizer and its map are measured
      in the same steps.
    - `problem`: a problem of the same positions that holds the examples, such as unseen ones; by
      default that of the run.
    - `groups`: the group of each example, n whole numbers; by default those of the function
      `groups(data)` of the loss.

    Losses of single examples are those of the function `each(x, data)` of the loss, or else the
    loss of data with one example. Groups are counted where the optimizer learned, in the data of
    the run; with a `problem` that has other groups, or with `groups`, in the data of `problem`.

    **Raises:** `InvalidType` if `run` is no trajectory, holds a batch, or has no optimizer because
    an archive could not restore it, and if `groups` are no whole numbers; `InvalidValue` if the
    problem has no data or no groups, or positions of other shapes, and inside a JAX transformation.

    >>> import numpy as np
    >>> from dynopt import SGD, Problem, iterate
    >>> data = np.repeat([0, 1, 2], [80, 40, 20])  # three coordinates
    >>> problem = Problem(lambda x, data: (x[data] ** 2).mean() / 2, np.ones(3), data=data)
    >>> half_times(iterate(SGD(0.01), problem, 400), groups=data).steps.round(1)
    array([ 60.5, 121.1, 242.4])
    """
    _must_be_run(run)
    must_be_concrete("half_times", run, problem, groups)
    problem = _with_examples(run.problem if problem is None else problem)
    x = jax.tree.map(lambda leaf: leaf[run.finite], run.x)
    problem.start(jax.tree.map(lambda leaf: leaf[0], x))  # it fits
    labels = _own_groups(problem) if groups is None else _as_groups(groups, problem)
    if labels is None:
        raise InvalidValue(
            f"the loss of {problem.name} has no function groups(data); pass `groups`, one whole "
            "number for each example, or take problems.entity_linking."
        )
    learned = _own_groups(run.problem) if groups is None else None
    group, places = np.unique(labels, return_inverse=True)
    count = (np.reshape(labels if learned is None else learned, (-1, 1)) == group).sum(0)
    loss = _mean_losses(problem.loss, x, jnp.asarray(places), len(group))
    loss, step = np.asarray(loss, float), np.asarray(run.t, float)[run.finite]
    step = step / float(run.optimizer.h)
    steps = np.array([_halved(step, row) for row in loss.T])
    slope, stderr = _fit(count, steps)
    parts = group, count, steps, step, loss, slope, stderr, run.kind, run.optimizer, problem
    return HalfTimes(*parts)


def _must_be_run(run: Any) -> None:
    """**Raises:** `InvalidType` if `run` is not one trajectory of a known optimizer."""
    if not isinstance(run, Trajectory):
        raise InvalidType(
            f"`run` must be a result of iterate or integrate, got {type(run).__name__}; pass the "
            "trajectory of one optimizer."
        )
    if np.ndim(run.result):
        raise InvalidType(
            f"`run` holds {' x '.join(map(str, run.result.shape))} runs; pass one of them."
        )
    if not isinstance(run.optimizer, AbstractOptimizer):
        raise InvalidType(
            f"`run` is of {run.optimizer!r}, which its archive could not restore, so that its time "
            "step is not known; measure a run before you save it."
        )


def _with_examples(problem: Any) -> Problem:
    """**Raises:** `InvalidType` or `InvalidValue` if it is no problem with data."""
    must_be_problem(problem)
    if not isinstance(problem.loss, MeanLoss):
        raise InvalidValue(
            f"{problem.name} is no mean over examples; pass `data` to dynopt.Problem, or take "
            "problems.entity_linking."
        )
    return problem


def _own_groups(problem: Any) -> np.ndarray | None:
    """The group of each example by the function `groups` of the loss; None if it has none."""
    groups = getattr(getattr(problem, "loss", None), "groups", None)
    return None if groups is None else _as_groups(groups(problem.loss.data), problem)


def _as_groups(groups: Any, problem: Any) -> np.ndarray:
    groups, n = np.asarray(groups), problem.loss.examples
    if groups.shape != (n,) or not np.issubdtype(groups.dtype, np.integer):
        raise InvalidType(
            f"`groups` must be {n} whole numbers, one for each example of {problem.name}, got "
            f"{groups.dtype} of shape {groups.shape}; pass such an array."
        )
    return groups


@eqx.filter_jit
def _mean_losses(loss: Any, x: PyTree, places: Array, groups: int) -> Array:
    """The mean loss of each group at each of the positions, shape `(points, groups)`."""
    each, n = getattr(loss, "each", None), loss.examples
    count = jnp.zeros(groups).at[places].add(1)

    def at(x):
        if each is None:
            losses = jax.vmap(lambda i: loss.part(x, i, n))(jnp.arange(n))
        else:
            losses = loss.over_all(each, x)
        if losses.shape != (n,):
            raise InvalidValue(
                f"the function each(x, data) returns the shape {losses.shape}; return ({n},), one "
                "loss for each example."
            )
        return jnp.zeros(groups, losses.dtype).at[places].add(losses) / count

    return jax.lax.map(at, x)


def _halved(step: np.ndarray, loss: np.ndarray) -> float:
    """The step at which a loss first comes down to half of its first value; NaN if it does not."""
    k, half = int(np.argmax(loss <= loss[0] / 2)), loss[0] / 2
    if k == 0 or half <= 0:
        return np.nan
    before, after = loss[k - 1], loss[k]
    if after > 0:
        before, after, half = np.log([before, after, half])
    return float(np.interp(half, [after, before], [step[k], step[k - 1]]))


def _fit(count: np.ndarray, steps: np.ndarray) -> tuple[float, float]:
    """The slope of log(steps) over log(count), and its standard error."""
    fits = np.isfinite(steps) & (count > 0)
    if fits.sum() < MIN_POINTS or len(np.unique(count[fits])) < 2:
        return np.nan, np.nan
    return fit_line(np.log(count[fits]), np.log(steps[fits]), slice(None))
