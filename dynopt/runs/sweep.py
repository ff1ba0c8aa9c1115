"""`sweep` runs the map for many starts and hyperparameters at once."""

from collections.abc import Callable, Sequence
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
from ..optimizers.base import must_be_optimizer, must_be_point, must_keep_form
from ..problems import Problem
from ..problems.position import with_constants
from ..problems.problem import must_be_problem
from . import lanes
from .batches import batched_leaves, must_be_buildable
from .chunks import Chunks, Outcome, SweepTask
from .iterate import run_map
from .prepare import MAX_STEPS, fit_to_start, flatten_loss, must_fit, with_dtype
from .setup import Kept, Setup, first_step, keep_setup
from .status import Status


class Sweep(eqx.Module):
    """Many runs of a map. The axes of the batch come first in every array.

    - `x`: the last positions, as the problem has them; with `keep=n` those after each n steps.
    - `loss`: f at these positions; with `keep="loss"` after every step.
    - `grad_norm`: |∇f| at the positions `x`.
    - `result`: one `Status` for each run, as integers, so that `result == Status.ok` is a mask.
    - `first_bad_step`: the step after which a run had failed, -1 if it did not.
    - `k`: the numbers of the steps to which `loss` belongs.
    - `h`: the time step, of shape `()` or that of the batch.
    - `t`: the times k h.
    - `optimizer`, `problem`: the batch of optimizers and the problem that were run.
    """

    x: PyTree[Array]
    loss: Array
    grad_norm: Array
    result: Int[Array, "..."]
    first_bad_step: Int[Array, "..."]
    k: Array
    h: Array
    setup: Setup

    optimizer = property(lambda self: self.setup[0].tree)
    problem = property(lambda self: self.setup[1].tree)

    @property
    def t(self) -> Array:
        return jnp.multiply.outer(self.h, self.k)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the batch."""
        return self.result.shape

    def __repr__(self) -> str:
        name = f"{type(self.optimizer).__name__} on {self.problem.name}"
        runs = f"{' x '.join(map(str, self.shape))} runs" if self.shape else "1 run"
        if isinstance(self.result, Tracer):
            return f"Sweep({name}, {runs})"
        ended = count_statuses(self.result)
        return f"Sweep({name}, {runs} of {int(np.max(self.k))} steps: {ended})"


def count_statuses(result: Any) -> str:
    """How many runs have ended in which way, such as "98 ok, 2 diverged"."""
    kinds, counts = np.unique(result, return_counts=True)
    return ", ".join(
        f"{count} {Status(int(kind))}" for kind, count in zip(kinds, counts, strict=True)
    )


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
    """Run the map for every element of a batch. Each run equals that of `iterate`.

    One compilation serves all values of hyperparameters and starts. The runs are done in chunks on
    all cores or devices, with a progress bar if a terminal shows it. Ctrl-C ends the sweep within a
    second: it returns what is finished, and NaN and `Status.interrupted` for the other runs. Inside
    `jit`, `vmap` and `grad` all runs are one batch without chunks.

    Whether a run has diverged is tested after every 32 steps, and the first bad step is then found
    exactly. A run that comes back within these steps does not count as diverged.

    - `optimizer`: one optimizer, or a batch, as `dynopt.grid` makes it.
    - `steps`: the number of steps, 0 or more.
    - `x0`: the starts, axes of the batch before those of a position. They and the batch of
      `optimizer` are broadcast as in numpy: 3 optimizers and 3 starts are 3 runs; with starts of
      shape `(5, 1, dim)` they are 5 x 3 runs.
    - `keep`: "last" keeps the last position and its loss; "loss" also the losses of all steps; a
      number n keeps everything after each n steps, the start included. It must divide `steps`.
    - `devices`: how many devices, or which; by default all, those of other processes included.
    - `memory`: the bytes that runs may take while they are computed, by default 1 GiB. Less memory
      means smaller chunks.

    **Raises:** `InvalidValue` and `InvalidType` for wrong input; `EnvironmentProblem` if devices or
    memory are lacking. A run that fails raises nothing: read `result`.

    >>> from dynopt import SGD, Problem, grid
    >>> bowl = Problem(lambda x: (x**2).sum() / 2, [1.0], name="bowl")
    >>> ends = sweep(grid(SGD, learning_rate=[0.5, 1.5, 9.0]), bowl, 12)
    >>> ends
    Sweep(SGD on bowl, 3 runs of 12 steps: 2 ok, 1 diverged)
    >>> ends.x[:2, 0].tolist() == [0.5**12, 0.5**12]
    True
    """
    must_be_optimizer(optimizer)
    must_be_problem(problem)
    steps, save_every = _steps_and_save_every(steps, keep)
    memory = whole_number("memory", memory, least=1)
    mesh = lanes.make_mesh(_available(devices))
    starts, leading = problem.starts(x0)
    starts = jax.tree.map(
        lambda leaf: leaf if isinstance(leaf, Tracer) else np.asarray(leaf, _dtype(leaf)), starts
    )
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape[len(leading) :], leaf.dtype), starts)
    position = np.zeros(problem.dim, jnp.result_type(*jax.tree.leaves(zeros)))
    _, unravel = ravel_pytree(zeros)
    numbers, shared = eqx.partition(
        with_dtype(optimizer, position.dtype), batched_leaves(optimizer)
    )
    batch = _broadcast([leaf.shape for leaf in jax.tree.leaves(numbers)], leading)
    must_be_buildable(optimizer)
    task = SweepTask(
        numbers,
        optimizer=shared,
        loss=problem.loss,
        starts=starts,
        leading=len(leading),
        batch=batch,
        position=position,
        steps=steps,
        save_every=save_every,
        keep_points=keep not in ("last", "loss"),
    )
    _must_fit_in_memory(task)
    first = jax.tree.map(lambda leaf: leaf[(0,) * leaf.ndim], numbers)
    fitted = fit_to_start(eqx.combine(first, shared), zeros, position.dtype)
    closed_over = jax.make_jaxpr(lambda: _first_step(fitted, problem.loss, zeros))().consts
    if is_concrete((numbers, shared, starts, problem.loss, closed_over)):
        outcome = Outcome(*map(jnp.asarray, Chunks(task, mesh, memory).run()))
        setup = Kept(optimizer), Kept(problem)
    else:
        outcome = _run_in_one_piece(task)
        setup = keep_setup(optimizer, problem, first_step, fitted, zeros, outcome)
    k = jnp.arange(task.num_saved) * save_every
    if keep == "last":
        outcome, k = outcome._replace(loss=outcome.loss[:, -1]), jnp.asarray(steps)
    outcome = jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), outcome)
    x = jax.vmap(unravel)(outcome.x.reshape(-1, position.size))
    axes = outcome.x.shape[:-1]
    x = jax.tree.map(lambda leaf: leaf.reshape(*axes, *leaf.shape[1:]), x)
    return Sweep(
        with_constants(x, problem.constants, axes),
        outcome.loss,
        outcome.grad_norm,
        outcome.result,
        outcome.first_bad_step,
        k,
        h=jnp.asarray(optimizer.h, position.dtype),
        setup=setup,
    )


def _steps_and_save_every(steps: Any, keep: Any) -> tuple[int, int]:
    """The number of steps, and that from one saved point to the next."""
    steps = whole_number("steps", steps, least=0, most=MAX_STEPS, like=100)
    if isinstance(keep, str):
        if keep not in ("last", "loss"):
            raise InvalidValue(
                f'`keep` is {keep!r}; pass "last", "loss", or the number of steps between two '
                "saved points."
            )
        return steps, 1 if keep == "loss" else max(steps, 1)
    save_every = whole_number("keep", keep, least=1)
    if steps % save_every:
        raise InvalidValue(
            f"`keep` is {save_every}, which does not divide the {steps} `steps`; use a divisor."
        )
    return steps, save_every


def _available(devices: Any) -> Sequence[Any]:
    """The devices that were asked for.

    **Raises:** `EnvironmentProblem` if there are not so many; `InvalidValue` and `InvalidType` for
    what names no devices.
    """
    present = jax.devices()
    if devices is None:
        return present
    if isinstance(devices, Sequence | np.ndarray):
        if len(devices) == 0 or not all(isinstance(device, jax.Device) for device in devices):
            raise InvalidType(
                f"`devices` must be a number or JAX's devices, got {devices!r}; pass for example "
                "jax.devices()."
            )
        if len(set(devices)) < len(devices):
            raise InvalidValue(
                f"`devices` names a device twice, in {list(devices)}; pass each once."
            )
        return list(devices)
    number = whole_number("devices", devices, least=1)
    if number > len(present):
        kind, flag = present[0].platform, "--xla_force_host_platform_device_count"
        more = f", or set XLA_FLAGS={flag}={number} before JAX starts" if kind == "cpu" else ""
        raise EnvironmentProblem(
            f"{number} devices were asked for, and JAX has {len(present)} ({kind}); pass "
            f"devices={len(present)}{more}."
        )
    return present[:number]


def _dtype(leaf: Any) -> np.dtype:
    """The dtype that JAX gives to an array: float32 for float64, unless x64 is on."""
    return jax.dtypes.canonicalize_dtype(leaf.dtype)


def _broadcast(optimizers: Sequence[tuple[int, ...]], starts: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the batch, from those of the optimizers' numbers and that of the starts."""
    try:
        batch = np.broadcast_shapes(starts, *optimizers)
    except ValueError:
        shapes = " and ".join(map(str, dict.fromkeys(optimizers)))
        raise InvalidValue(
            f"`optimizer` is a batch of shape {shapes} and `x0` holds starts of shape {starts}, "
            "which do not broadcast; pass as many of each, or give one an axis of length 1."
        ) from None
    if 0 in batch:
        raise InvalidValue(
            f"the batch has shape {batch}, which holds no run; pass at least one optimizer and "
            "one start."
        )
    return batch


def _must_fit_in_memory(task: SweepTask) -> None:
    """**Raises:** `InvalidValue` if the result alone would take too much memory."""
    numbers_per_save = 2 + task.keep_points * task.position.size
    numbers = task.num_saved * numbers_per_save + task.position.size
    size = task.runs * numbers * task.position.dtype.itemsize
    remedy = 'keep less of each run with keep="last", or sweep in parts'
    must_fit(size, "the result of the sweep", remedy)


@eqx.filter_jit  # so that it is traced once
def _first_step(optimizer: AbstractOptimizer, loss: Callable, x0: PyTree) -> tuple[Any, Array]:
    """The loss and the point of phase space after one step."""
    x, flat_loss, grad = flatten_loss(loss, x0)
    y = must_be_point(optimizer.init(x, grad))
    after = optimizer.step(0 * optimizer.h, y, grad)
    return must_keep_form("step", y, after), flat_loss(x)


def _run_in_one_piece(task: SweepTask) -> Outcome:
    """All runs as one batch that can be differentiated, for sweeps inside a transformation."""

    def one_run(numbers, x0):
        optimizer = fit_to_start(eqx.combine(numbers, task.optimizer), x0, task.position.dtype)
        _, y, loss, norm, result, first_bad_step = run_map(
            optimizer, task.loss, x0, task.num_saved, task.save_every
        )
        x, norm = (y.x, norm) if task.keep_points else (y.x[-1], norm[-1])
        return Outcome(x, loss, norm, result, first_bad_step)

    def spread(leaf, axes):
        """The leaf for each run, its first `axes` axes broadcast to the batch."""
        shape = leaf.shape[axes:]
        return jnp.broadcast_to(leaf, (*task.batch, *shape)).reshape(task.runs, *shape)

    numbers = jax.tree.map(lambda leaf: spread(leaf, leaf.ndim), task.numbers)
    starts = jax.tree.map(lambda leaf: spread(leaf, task.leading), task.starts)
    return jax.vmap(one_run)(numbers, starts)
