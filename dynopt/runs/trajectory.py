"""A run through phase space: where it was at the times t = k h, and how it ended."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Int, PyTree

from .. import files
from ..checks import is_concrete
from ..errors import ProblemError, SolverFailure
from ..problems import Problem
from . import archive
from .status import GAVE_UP as GAVE_UP, Status as Status


class Trajectory(eqx.Module):
    """A run through phase space, seen at the times t = k h.

    - `t`: times, shape `(n+1,)`. - `y`: points of phase space, a NamedTuple of arrays `(n+1, dim)`, in which a PyTree
      position is one vector. - `x`: the positions as the problem knows them, with a leading axis n+1.
    - `loss`, `grad_norm`: f and |∇f| there, shape `(n+1,)`.
    - `result`: a `Status`, as an integer; `status`: the same by name.
    - `stats`: `first_bad_step` (-1 if none); of a flow also `solver`, `solver_steps`, `rtol` and `atol`.
    - `kind`: "map" or "flow". - `optimizer`, `problem`: as they print.
    """

    t: Array
    y: Any
    loss: Array
    grad_norm: Array
    result: Int[Array, ""]
    stats: dict[str, Any]
    kind: str = eqx.field(static=True)
    optimizer: str = eqx.field(static=True)
    problem: str = eqx.field(static=True)
    unravel: Callable[[Array], PyTree] = eqx.field(static=True)

    @property
    def x(self) -> PyTree[Array]:
        batch = self.y.x.shape[:-1]
        flat = jax.vmap(self.unravel)(self.y.x.reshape(-1, self.y.x.shape[-1]))
        return jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), flat)

    @property
    def status(self) -> Status:
        return Status(int(self.result))

    @property
    def finite(self) -> np.ndarray:
        """Which saved points belong to the finite beginning, shape `(n+1,)`."""
        seen = np.isfinite(np.asarray(self.loss)) & np.isfinite(np.asarray(self.y.x)).all(-1)
        return np.logical_and.accumulate(seen, axis=-1)

    def failure(self, number: Callable[[float], str] = "{:.4g}".format) -> str | None:
        """What went wrong and where, such as "diverged at step 37"; None if nothing did.

        - `number`: how the time of a flow is printed.
        """
        if self.status == Status.ok:
            return None
        k, finite = int(self.stats["first_bad_step"]), np.flatnonzero(self.finite)
        t = number(float(self.t[finite[-1]])) if finite.size else "0"
        where = f"at step {k}" if self.kind == "map" else f"at t = {t}"
        return self.status.long.format(where=where, t=t)

    def save(self, path: str | Path) -> None:
        """Write everything to one `.npz` without pickle, whole or not at all; the same run gives the same bytes.

        Containers other than dicts, lists and tuples come back as lists of their leaves.

        **Raises:** `OutputError` if the disk refuses.
        """
        files.write(path, archive.pack(self))

    @classmethod
    def load(cls, path: str | Path) -> "Trajectory":
        """Read what `save` wrote.

        **Raises:** `CorruptFile` if the file is damaged or something else; `OSError` if it cannot be read.
        """
        return cls(**archive.unpack(path))

    def __repr__(self) -> str:
        known = (
            isinstance(self.result, jax.Array)
            and not isinstance(self.result, Tracer)
            and self.result.ndim == 0
        )
        ended = f", {self.status}" if known else ""
        seen = f"{self.t.shape[-1]} points, {self.t.dtype}"
        return f"Trajectory({self.kind} of {self.optimizer} on {self.problem}, {seen}{ended})"


def raise_if_failed(trajectory: Trajectory, problem: Problem, throw: bool) -> Trajectory:
    """The trajectory, unless it failed and failures are to be raised; inside a transformation nobody can raise."""
    if (
        not throw
        or not is_concrete(trajectory)
        or trajectory.result.ndim
        or trajectory.status == Status.ok
    ):
        return trajectory
    status, k = trajectory.status, int(trajectory.stats["first_bad_step"])
    if k == 0:
        raise ProblemError(
            f"{problem.name} starts where its loss is {float(trajectory.loss[0])} and the norm of its gradient "
            f"{float(trajectory.grad_norm[0])}; start where both are finite."
        )
    reached = float(trajectory.t[np.flatnonzero(trajectory.finite)[-1]])
    run = "iterate" if trajectory.kind == "map" else "integrate"
    message = (
        f"the {trajectory.kind} of {trajectory.optimizer} on {problem.name} "
        f"{trajectory.failure()}: {status.advice.format(dtype=trajectory.t.dtype)}, or keep the "
        f"run with {run}(..., throw=False)."
    )
    raise SolverFailure(message, partial=trajectory, status=status, t_reached=reached)
