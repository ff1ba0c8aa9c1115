"""Scaling rules: which learning rate belongs to larger batches."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..checks import Scalar, must_be_concrete, positive, whole_number
from ..errors import InvalidValue
from ..optimizers import SGD, AbstractOptimizer, Adam, Minibatch, Noisy, RMSprop
from ..optimizers.base import must_be_optimizer, replace_fields
from ..optimizers.wrappers.noise import as_key
from ..problems import Problem
from ..problems.field import value
from ..problems.problem import must_be_problem
from ..runs.batches import must_be_single
from ..runs.ensemble import ensemble
from ..runs.prepare import MAX_STEPS
from .affine_law import NoExactMoments, affine_laws, mean_of_quadratic

POINTS = 10  # times at which curves are compared, without the start


class LossCurve(eqx.Module):
    """The mean loss of one noisy optimizer over time, beside that of the original one.

    - `rule`: what was changed, such as "batch × 4, learning rate × 4".
    - `loss`: the mean loss at the common times, of shape `(n+1,)`.
    - `stderr`: its standard error, 0 where it is computed without random numbers, same shape.
    - `deviation`: the largest |loss/original - 1| after the start.
    - `deviation_stderr`: its standard error.
    - `optimizer`: what was run.
    """

    rule: str = eqx.field(static=True)
    loss: Float[np.ndarray, " n"]
    stderr: Float[np.ndarray, " n"]
    deviation: float
    deviation_stderr: float
    optimizer: AbstractOptimizer

    def __repr__(self) -> str:
        error = f" ± {100 * self.deviation_stderr:.2g}" if self.deviation_stderr else ""
        return f"LossCurve({self.rule}: off by {100 * self.deviation:.3g}{error} %)"


class ScalingRule(eqx.Module):
    """Mean-loss curves of an optimizer with its batches, and of others with larger batches.

    - `t`: the common times, of shape `(n+1,)`.
    - `original`: the `LossCurve` of the optimizer that was given.
    - `scaled`: that with larger batches by the rule.
    - `others`: those with larger batches by other rules, a tuple.
    - `paths`: the number of paths; 0 if the curves are computed from exact moments.
    - `problem`: the problem.
    """

    t: Float[np.ndarray, " n"]
    original: LossCurve
    scaled: LossCurve
    others: tuple[Any, ...]
    paths: int
    problem: Problem

    def __repr__(self) -> str:
        by = f"by {self.paths} paths" if self.paths else "by exact moments"
        what = f"{self.original.optimizer!r} on {self.problem.name}, {by}"
        return (
            "\n  ".join([f"ScalingRule(of {what}", *map(repr, (self.scaled, *self.others))]) + ")"
        )


def scaling_rule(
    optimizer: AbstractOptimizer,
    problem: Problem,
    steps: int,
    factor: Scalar = 4,
    *,
    x0: Any = None,
    paths: int = 1000,
    key: Any = 0,
) -> ScalingRule:
    """Make batches k times as large by a scaling rule, and compare the curves of the mean loss.

    A batch that is k times as large has gradients with a k-th of the covariance. The rules keep the
    stochastic equation, to first order in the learning rate η:

        SGD              η → k η                                       the linear rule
        Adam, RMSprop    η → √k η, 1 - b → k (1 - b), ε → ε/√k         the square-root rule

    The linear rule keeps the temperature η σ². The other holds if noise dominates the gradients, so
    that the preconditioner is proportional to σ. Beside each there are curves with the same larger
    batches and another learning rate: √k η and η for `SGD`, k η and η with the same decay rates for
    the others. Times are η times the number of steps for `SGD`, and for the others the number of
    steps of the original batches in which as many examples are drawn. The curves are compared at 10
    times after the start; where one lies between two steps, the mean loss is interpolated.

    They are computed from exact `moments` for `SGD` on quadratic losses, and otherwise from
    ensembles.

    - `optimizer`: `Noisy` or `Minibatch` around an `SGD`, an `Adam` or an `RMSprop`.
    - `steps`: the number of steps of the original optimizer. It is rounded so that the curves have
      common times.
    - `factor`: k, by which the batches grow; 4 by default.
    - `x0`: the start, by default that of the problem.
    - `paths`: the number of paths of each ensemble, 1000 by default; `key`: a seed or a typed key.

    **Raises:** `InvalidValue` for other optimizers, inside a JAX transformation, and for a factor
    at which a decay rate would be negative, a batch would be no whole number, or would be larger
    than the data; `InvalidType` for wrong types.

    >>> from dynopt import SGD, Noisy, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> scaling_rule(Noisy(SGD(0.01), sigma=3.0), bowl, 400)
    ScalingRule(of Noisy(SGD(learning_rate=0.01), sigma=3, key=0) on bowl, by exact moments
      LossCurve(batch × 4, learning rate × 4: off by 1.91 %)
      LossCurve(batch × 4, learning rate × 2: off by 49.4 %)
      LossCurve(batch × 4, learning rate × 1: off by 74.5 %))

    Source: P. Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour" (2017);
    S. Malladi, K. Lyu, A. Panigrahi and S. Arora, "On the SDEs and scaling rules for adaptive
    gradient algorithms" (2022).
    """
    must_be_optimizer(optimizer)
    must_be_single(optimizer)
    must_be_problem(problem)
    must_be_concrete("scaling_rule", optimizer, problem, x0, factor)
    steps = whole_number("steps", steps, least=1, most=MAX_STEPS, like=400)
    k = float(positive("factor", factor))
    inner = getattr(optimizer, "optimizer", None)
    if not isinstance(optimizer, Noisy | Minibatch) or type(inner) not in (SGD, Adam, RMSprop):
        raise InvalidValue(
            f"scaling rules are known for SGD, Adam and RMSprop with noise outside of them, got "
            f"{optimizer!r}; pass for example dynopt.Noisy(dynopt.SGD(0.1), sigma=1.0)."
        )
    interval = max(1, round(steps / POINTS / k))  # in steps of the original batches, divided by k
    is_linear = type(inner) is SGD
    root = k**0.5
    rates = [k, root, 1.0] if is_linear else [root, k, 1.0]
    changes = [(1.0, 1.0, k * interval)]  # the factors of batch and rate, the steps in an interval
    changes += [(k, rate, k * interval / rate if is_linear else interval) for rate in rates]
    follows_rule = [not is_linear and i == 1 for i in range(len(changes))]
    optimizers = [
        _change(optimizer, batch, rate, k if follows else 1.0)
        for (batch, rate, _), follows in zip(changes, follows_rule, strict=True)
    ]
    runs, used = [], 0
    keys = jax.random.split(as_key(key), len(changes))
    for i, ((batch, rate, length), changed) in enumerate(zip(changes, optimizers, strict=True)):
        every = round(length) if abs(length - round(length)) < 1e-9 * length else 1
        last = every * math.ceil(POINTS * length / every * (1 - 1e-9))
        try:
            loss = _by_moments(changed, problem, last, every, x0)
            stderr = np.zeros_like(loss)
        except NoExactMoments:
            used = paths
            run = ensemble(changed, problem, last, paths, keys[i], x0=x0, save_every=every)
            loss, stderr = map(np.asarray, run.average(run.loss))
        wanted, known = length * np.arange(POINTS + 1), every * np.arange(len(loss))
        loss, stderr = (np.interp(wanted, known, values) for values in (loss, stderr))
        decays = ", 1 - b" if follows_rule[i] else ""
        rule = f"batch × {batch:g}, learning rate × {rate:.3g}"
        rule += f"{decays} × {k:g}" if decays else ""
        runs.append((rule if i else "original", loss, stderr, changed))
    _, first, first_stderr, _ = runs[0]
    curves = [
        LossCurve(rule, loss, stderr, *_deviation(loss, stderr, first, first_stderr), changed)
        for rule, loss, stderr, changed in runs
    ]
    unit = float(optimizer.h) if is_linear else 1.0
    t = unit * k * interval * np.arange(POINTS + 1)
    return ScalingRule(t, curves[0], curves[1], tuple(curves[2:]), used, problem)


def _change(noisy: Any, batch: float, rate: float, forgetting: float) -> AbstractOptimizer:
    """The optimizer with other batches, another learning rate and other decay rates.

    - `batch`, `rate`, `forgetting`: the factors of the batch, of η and of every 1 - b.
    """
    inner = noisy.optimizer
    values = inner.hyperparameters()
    values["learning_rate"] = rate * values["learning_rate"]
    for name in ("b1", "b2", "decay"):
        if name in values:
            values[name] = 1 - forgetting * (1 - values[name])
            if values[name] < 0:
                raise InvalidValue(
                    f"`factor` is {forgetting:g}, so that `{name}` of {inner!r} becomes "
                    f"{values[name]:.3g}, which is negative; use a smaller `factor`, or a larger "
                    f"`{name}`."
                )
    if forgetting > 1 and "eps" in values:
        values["eps"] = values["eps"] / batch**0.5
    changed = type(inner)(**values)
    ratio = changed.h / inner.h
    if isinstance(noisy, Noisy):  # the temperature is √h times the root of the covariance
        return replace_fields(noisy, optimizer=changed, scale=noisy.scale * (ratio / batch) ** 0.5)
    size = noisy.size * batch
    if size < 1 or size != round(size):
        raise InvalidValue(
            f"`factor` is {batch:g}, so that batches of {noisy.size} become batches of {size:g}; "
            "use a factor that makes a whole number of examples, such as 2."
        )
    size = int(size)
    h0 = noisy.h0 and noisy.h0 * ratio
    return replace_fields(noisy, optimizer=changed, size=size, h0=h0)


def _by_moments(optimizer: Any, problem: Problem, steps: int, every: int, x0: Any) -> np.ndarray:
    """The mean loss after each `every` steps.

    **Raises:** `NoExactMoments`.
    """
    law, _, _ = affine_laws("scaling_rule", optimizer, problem, x0, include_flows=False)
    means, covs = law.run(steps)
    with jax.enable_x64(True):
        start = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), problem.start(x0))
        loss = jax.tree_util.Partial(value, problem.loss)
        return np.concatenate(
            [
                mean_of_quadratic(loss, start, *pair)
                for pair in zip(means[::every], covs[::every], strict=True)
            ]
        )


def _deviation(loss, stderr, first, first_stderr) -> tuple[float, float]:
    """The largest relative deviation of a mean loss from the first one, and its standard error."""
    ratios = loss[1:] / first[1:]
    largest = np.abs(ratios - 1).argmax()
    relative = np.hypot(stderr[1:] / loss[1:], first_stderr[1:] / first[1:])
    if loss is first:
        return 0.0, 0.0
    return float(np.abs(ratios[largest] - 1)), float(ratios[largest] * relative[largest])
