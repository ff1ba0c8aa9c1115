"""`sweep` runs the map for many starts and hyperparameters at once, as far as the machine allows."""

from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Int, PyTree

from ..checks import is_concrete, whole_number
from ..errors import EnvironmentProblem, InvalidType, InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_optimizer
from ..problems import Problem
from ..problems.problem import must_be_problem
from . import lanes
from .batches import many, must_be_buildable
from .chunks import Chunks, Found, Work
from .iterate import run_map
from .prepare import MAX_BYTES, MAX_STEPS, fit_to_start, with_dtype
from .setup import Setup, first_step, keep_setup
from .status import Status


class Sweep(eqx.Module):
    """Many runs of a map; axes of the batch come first in every array.

    - `x`: the positions as the problem knows them: the last ones, or with `keep=n` those after each n steps.
    - `loss`: f there; with `keep="loss"` after every step. - `grad_norm`: |∇f| where `x` is.
    - `result`: one `Status` for each run, as integers, so that `result == Status.ok` is a mask.
    - `first_bad_step`: -1 if there is none.
    - `k`: after which steps `loss` was seen; `h`: time per step, `()` or as the batch; `t`: the times k h.
    - `optimizer`, `problem`: what they are called.
    """

    x: PyTree[Array]
    loss: Array
    grad_norm: Array
    result: Int[Array, "..."]
    first_bad_step: Int[Array, "..."]
    k: Array
    h: Array
    setup: Setup

    optimizer = property(lambda self: self.setup.optimizer)
    problem = property(lambda self: self.setup.problem)

    @property
    def t(self) -> Array:
        return jnp.multiply.outer(self.h, self.k)

    @property
    def shape(self) -> tuple[int, ...]:
        """The batch."""
        return self.result.shape

    def __repr__(self) -> str:
        who = f"{type(self.optimizer).__name__} on {self.problem.name}"
        many = f"{' x '.join(map(str, self.shape))} runs" if self.shape else "1 run"
        if isinstance(self.result, Tracer):
            return f"Sweep({who}, {many})"
        kinds, counts = np.unique(self.result, return_counts=True)
        ended = ", ".join(
            f"{count} {Status(int(kind))}" for kind, count in zip(kinds, counts, strict=True)
        )
        return f"Sweep({who}, {many} of {int(np.max(self.k))} steps: {ended})"


def sweep(
    optimizer: AbstractOptimizer,
    problem: Problem,
    steps: int,
    *,
    x0: Any = None,
    keep: Literal["last", "loss"] | int = "last",
    devices: int | Sequence[Any] | np.ndarray | None = None,
    memory: int = 2**30,
) -> Sweep:
    """Run the map for every member of a batch: each run is that of `iterate`, and none depends on the others.

    One compilation serves all values of hyperparameters and starts. Runs are done in chunks on all cores or devices,
    with a bar where a terminal shows it. Ctrl-C ends the sweep within a second: it returns what is finished, and for
    the rest NaN and `Status.interrupted`. Inside `jit`, `vmap` and `grad` all runs are one piece. Whether a run is far
    out is asked after every 32 steps and then found to the step; one that comes back before that has not diverged.

    - `optimizer`: a page, or many in one, as `equinox.filter_vmap` makes them: `filter_vmap(SGD)(rates)`.
    - `x0`: starts, axes of the batch before those of a position. They and those of `optimizer` are broadcast as in
      numpy: 3 pages and 3 starts are 3 runs; with starts of shape `(5, 1, dim)` they are 5 x 3.
    - `steps`: how many, 0 or more. - `keep`: "last"; "loss", of every step, and the last position; or n: all after each
      n steps (a divisor of `steps`), the start included.
    - `devices`: how many, or which; by default all, those of other processes included.
    - `memory`: bytes that runs in hand may take beside the result, by default 1 GiB: less memory, smaller chunks.

    **Raises:** `InvalidValue` and `InvalidType` for wrong input; `EnvironmentProblem` if devices or memory are lacking.
    A run that fails raises nothing: read `result`.

    >>> from dynopt import SGD, Problem
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> ends = sweep(eqx.filter_vmap(SGD)(jnp.array([0.5, 1.5, 9.0])), bowl, 12)
    >>> ends
    Sweep(SGD on bowl, 3 runs of 12 steps: 2 ok, 1 diverged)
    >>> ends.x[:2, 0].tolist() == [0.5**12, 0.5**12]
    True
    """
    must_be_optimizer(optimizer)
    must_be_problem(problem)
    steps, every = _counted(steps, keep)
    memory, mesh = whole_number("memory", memory, least=1), lanes.meshed(_chosen(devices))
    starts, leading = problem.starts(x0)
    starts = jax.tree.map(
        lambda v: v if isinstance(v, Tracer) else np.asarray(v, _canonical(v)), starts
    )
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape[len(leading) :], leaf.dtype), starts)
    one, unravel = (
        np.zeros(problem.dim, jnp.result_type(*jax.tree.leaves(zeros))),
        ravel_pytree(zeros)[1],
    )
    numbers, page = eqx.partition(with_dtype(optimizer, one.dtype), many(optimizer))
    batch = _broadcast([leaf.shape for leaf in jax.tree.leaves(numbers)], leading)
    must_be_buildable(optimizer)
    points = keep not in ("last", "loss")
    work = Work(numbers, page, problem.loss, starts, len(leading), batch, one, steps, every, points)
    _must_fit(work)
    closed_over = jax.make_jaxpr(problem.loss)(zeros).consts
    if is_concrete((numbers, page, starts, problem.loss, closed_over)):
        found = Found(*map(jnp.asarray, Chunks(work, mesh, memory).run()))
    else:
        found = _in_one_piece(work)
    number = jax.tree.map(lambda leaf: leaf[(0,) * leaf.ndim], numbers)
    fitted = fit_to_start(eqx.combine(number, page), zeros, one.dtype)
    setup = keep_setup(optimizer, problem, first_step, fitted, zeros, found)
    k = jnp.arange(work.looks) * every
    if keep == "last":
        found, k = found._replace(loss=found.loss[:, -1]), jnp.asarray(steps)
    found = jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), found)
    flat = jax.vmap(unravel)(found.x.reshape(-1, one.size))
    x = jax.tree.map(lambda leaf: leaf.reshape(*found.x.shape[:-1], *leaf.shape[1:]), flat)
    h = jnp.asarray(optimizer.h, one.dtype)
    return Sweep(x, found.loss, found.grad_norm, found.result, found.first_bad_step, k, h, setup)


def _counted(steps: Any, keep: Any) -> tuple[int, int]:
    """How many steps, and how many from one kept point to the next."""
    steps = whole_number("steps", steps, least=0, most=MAX_STEPS, like=100)
    if isinstance(keep, str):
        if keep not in ("last", "loss"):
            raise InvalidValue(
                f'`keep` is {keep!r}; pass "last", "loss", or every how many steps to keep a point.'
            )
        return steps, 1 if keep == "loss" else max(steps, 1)
    every = whole_number("keep", keep, least=1)
    if steps % every:
        raise InvalidValue(
            f"`keep` is {every}, which does not divide the {steps} `steps`; use a divisor."
        )
    return steps, every


def _chosen(devices: Any) -> Sequence[Any]:
    """The devices, once they are known to be there."""
    present = jax.devices()
    if devices is None:
        return present
    if isinstance(devices, Sequence | np.ndarray):
        if len(devices) == 0 or not all(isinstance(device, jax.Device) for device in devices):
            raise InvalidType(
                f"`devices` must be a number or JAX's devices, got {devices!r}; pass jax.devices(), say."
            )
        if len(set(devices)) < len(devices):
            raise InvalidValue(
                f"`devices` names a device twice, in {list(devices)}; pass each once."
            )
        return list(devices)
    number = whole_number("devices", devices, least=1)
    if number > len(present):
        kind = present[0].platform
        more = (
            f", or set XLA_FLAGS=--xla_force_host_platform_device_count={number} before JAX starts"
        )
        raise EnvironmentProblem(
            f"{number} devices were asked for, and JAX sees {len(present)} ({kind}); pass devices={len(present)}"
            f"{more * (kind == 'cpu')}."
        )
    return present[:number]


def _canonical(leaf: Any) -> np.dtype:
    return jax.dtypes.canonicalize_dtype(leaf.dtype)


def _broadcast(optimizers: Sequence[tuple[int, ...]], starts: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the batch."""
    try:
        batch = np.broadcast_shapes(starts, *optimizers)
    except ValueError:
        raise InvalidValue(
            f"`optimizer` holds pages of shape {' and '.join(map(str, dict.fromkeys(optimizers)))} and `x0` starts of shape "
            f"{starts}, which do not broadcast; pass as many of each, or give one an axis of length 1."
        ) from None
    if 0 in batch:
        raise InvalidValue(
            f"the batch has shape {batch}, which holds no run; pass at least one page and one start."
        )
    return batch


def _must_fit(work: Work) -> None:
    """**Raises:** `InvalidValue` if the result alone would take too much memory."""
    size = (
        work.runs
        * work.one.dtype.itemsize
        * (work.looks * (2 + work.points * work.one.size) + work.one.size)
    )
    if size > MAX_BYTES:
        raise InvalidValue(
            f"the result of the sweep would take {size / 2**30:.0f} GiB, more than {MAX_BYTES >> 30}; keep less of each "
            'run with keep="last", or sweep in parts.'
        )


def _in_one_piece(work: Work) -> Found:
    """All runs as one batch that can be differentiated, for sweeps inside a transformation."""

    def member(numbers, x0):
        optimizer = fit_to_start(eqx.combine(numbers, work.optimizer), x0, work.one.dtype)
        _, y, loss, norm, result, bad = run_map(
            optimizer, work.loss, x0, work.looks, work.every
        )
        return Found(*(y.x, loss, norm) if work.points else (y.x[-1], loss, norm[-1]), result, bad)

    def spread(leaf, axes):
        own = leaf.shape[axes:]
        return jnp.broadcast_to(leaf, (*work.batch, *own)).reshape(work.runs, *own)

    numbers = jax.tree.map(lambda leaf: spread(leaf, leaf.ndim), work.numbers)
    return jax.vmap(member)(
        numbers, jax.tree.map(lambda leaf: spread(leaf, work.leading), work.starts)
    )
