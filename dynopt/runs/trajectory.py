"""A run through phase space: its points at the times t = k h, and how it ended."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Int, PyTree

from .. import files
from ..checks import is_concrete
from ..errors import Interrupted, InvalidType, ProblemError, SolverFailure
from ..problems import Problem
from ..problems.position import with_constants
from . import archive
from .setup import Setup, safe_repr
from .status import Status


@jax.tree_util.register_static
class StaticText(str):
    """A text that is no leaf of a PyTree, so that `jax.jit` returns what holds it."""


def _without_texts(stats: dict[str, Any]) -> dict[str, Any]:
    return {k: StaticText(v) if isinstance(v, str) else v for k, v in stats.items()}


def _count_runs(batch: tuple[int, ...]) -> str:
    return f"a batch of {' x '.join(map(str, batch))} runs"


class Trajectory(eqx.Module):
    """A run of a map or of a flow: n + 1 points of phase space at the times t = k h.

    - `t`: the times, shape `(n+1,)`.
    - `y`: the points of phase space, a NamedTuple of arrays of shape `(n+1, dim)`, in which a
      position is one vector.
    - `x`: the positions as the problem has them, with a leading axis of length n + 1.
    - `last`: the last finite position.
    - `loss`, `grad_norm`: f and |∇f| at the positions, shape `(n+1,)`; of a `Game` both are |g|,
      unless it shows something else.
    - `result`: a `Status`, as an integer; `status` is the same by name.
    - `stats`: `first_bad_step`, which is -1 if there is none; of a flow also `solver`,
      `solver_steps`, `rtol` and `atol`.
    - `kind`: "map" or "flow".
    - `optimizer`, `problem`: the objects that were run. What an archive cannot restore is an
      `Unrestored`, which only prints as they did.

    A batch, as `equinox.filter_vmap` makes it, has its axes before all others; its `optimizer` is
    then a batch of optimizers.
    """

    t: Array
    y: Any
    loss: Array
    grad_norm: Array
    result: Int[Array, "..."]
    stats: dict[str, Any] = eqx.field(converter=_without_texts)
    kind: str = eqx.field(static=True)
    unravel: Callable[[Array], PyTree] = eqx.field(static=True)
    setup: Setup

    optimizer = property(lambda self: self.setup[0].tree)
    problem = property(lambda self: self.setup[1].tree)

    @property
    def x(self) -> PyTree[Array]:
        batch = self.y.x.shape[:-1]
        flat = jax.vmap(self.unravel)(self.y.x.reshape(-1, self.y.x.shape[-1]))
        x = jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), flat)
        return with_constants(x, getattr(self.problem, "constants", None), batch)

    @property
    def last(self) -> PyTree[Array]:
        """The last finite position, as the problem has it; of a traced run the last one.

        **Raises:** `InvalidType` for a batch of runs.
        """
        if np.ndim(self.result):
            raise InvalidType(
                f"`last` is that of one run, got {_count_runs(self.result.shape)}; take one of "
                "them, as in jax.tree.map(lambda a: a[0], runs)."
            )
        k = max(int(self.finite.sum()) - 1, 0) if is_concrete((self.loss, self.y.x)) else -1
        return jax.tree.map(lambda leaf: leaf[k], self.x)

    @property
    def status(self) -> Status:
        """How the run ended.

        **Raises:** `InvalidType` for a batch of runs, and for a run inside a transformation.
        """
        if is_concrete(self.result) and not np.ndim(self.result):
            return Status(int(self.result))
        batch = self.result.shape
        given = _count_runs(batch) if batch else "a run inside a transformation"
        raise InvalidType(
            f"`status` is that of one run, got {given}; read `result`, for example "
            "result == dynopt.Status.ok."
        )

    @property
    def finite(self) -> np.ndarray:
        """Which saved points belong to the finite beginning, shape `(n+1,)`."""
        finite = np.isfinite(np.asarray(self.loss)) & np.isfinite(np.asarray(self.y.x)).all(-1)
        return np.logical_and.accumulate(finite, axis=-1)

    def failure(self, number: Callable[[float], str] = "{:.4g}".format) -> str | None:
        """What went wrong and where, such as "diverged at step 37"; None if nothing did.

        - `number`: how the time of a flow is printed.

        **Raises:** `InvalidType` for a batch of runs, and for a run inside a transformation.
        """
        if self.status == Status.ok:
            return None
        k, finite = int(self.stats["first_bad_step"]), np.flatnonzero(self.finite)
        t = number(float(self.t[finite[-1]])) if finite.size else "0"
        where = f"at step {k}" if self.kind == "map" else f"at t = {t}"
        return self.status.long.format(where=where, t=t)

    def save(self, path: str | Path) -> None:
        """Write the run to one `.npz` file, whole or not at all; no part of it is pickled.

        The same run gives the same bytes. `load` says what of it comes back.

        **Raises:** `OutputError` if the file cannot be written.
        """
        files.write(path, archive.pack(self))

    @classmethod
    def load(cls, path: str | Path) -> "Trajectory":
        """Read what `save` wrote.

        All arrays come back as they were. The optimizers and wrappers of dynopt and the problems
        of its catalogue are made again from their names and hyperparameters. Anything else, such
        as your own class or loss or a function of optax, comes back as an `Unrestored`. Containers
        of a position other than dicts, lists and tuples come back as lists of their leaves.

        **Raises:** `CorruptFile` if the file is damaged, compressed or something else;
        `InvalidValue` if it holds float64 and JAX is set to float32; `OSError` if it cannot be
        read.
        """
        return cls(**archive.unpack(path))

    def __repr__(self) -> str:
        points = f"{self.t.shape[-1]} points, {self.t.dtype}"
        single = isinstance(self.result, jax.Array) and self.result.ndim == 0
        ended = f", {self.status}" if single and is_concrete(self.result) else ""
        optimizer, problem = safe_repr(self.optimizer), getattr(self.problem, "name", "...")
        return f"Trajectory({self.kind} of {optimizer} on {problem}, {points}{ended})"


def raise_if_interrupted(
    trajectory: Trajectory, problem: Problem, interrupt: KeyboardInterrupt | None
) -> None:
    """**Raises:** `Interrupted`, if Ctrl-C ended the run."""
    if interrupt is not None:
        message = (
            f"the {trajectory.kind} of {safe_repr(trajectory.optimizer)} on {problem.name} "
            f"{trajectory.failure()}; `partial` of this exception is the run up to there."
        )
        raise Interrupted(*interrupt.args, message=message, partial=trajectory) from interrupt


def raise_if_failed(trajectory: Trajectory, problem: Problem, throw: bool) -> Trajectory:
    """The trajectory, unless it failed and `throw` asks for an exception.

    Inside a transformation, and for a batch, it always comes back.

    **Raises:** `ProblemError` if the loss or its gradient is not finite at the start;
    `SolverFailure` if the run failed later.
    """
    if not throw or not is_concrete(trajectory) or trajectory.result.ndim:
        return trajectory
    status = trajectory.status
    if status == Status.ok:
        return trajectory
    if int(trajectory.stats["first_bad_step"]) == 0:
        loss, norm = float(trajectory.loss[0]), float(trajectory.grad_norm[0])
        what, slope = (problem.symbol, "field") if problem.owns_field else ("loss", "gradient")
        raise ProblemError(
            f"{problem.name} starts where its {what} is {loss} and the norm of its {slope} {norm}; "
            "start where both are finite."
        )
    reached = float(trajectory.t[np.flatnonzero(trajectory.finite)[-1]])
    run = "iterate" if trajectory.kind == "map" else "integrate"
    advice = status.advice.format(dtype=trajectory.t.dtype)
    if run == "integrate" and reached == 0 and trajectory.optimizer.regularity.flow_depends_on_h:
        advice = "its correction is too large there; use an eighth of the `learning_rate`"
    message = (
        f"the {trajectory.kind} of {safe_repr(trajectory.optimizer)} on {problem.name} "
        f"{trajectory.failure()}: {advice}, or keep the run with {run}(..., throw=False)."
    )
    raise SolverFailure(message, partial=trajectory, status=status, t_reached=reached)
