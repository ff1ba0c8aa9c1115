"""The numerical solution of a flow, and its discrete adjoint.

diffrax differentiates its loops in one mode each. So that both modes work, and one after the other,
the derivative in reverse mode is taken here: the steps that diffrax accepted are taken back one by
one, in loops that have forward derivatives themselves.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .both_modes import in_both_modes


def solve(
    vector_field: Callable, y: PyTree, t: Array, rtol: Array, atol: Array, solver, max_steps: int
) -> tuple[PyTree, PyTree, Array, Array]:
    """Solve dy/dt = vector_field(t, y) from `y` at the time `t[0]`; in both modes of derivatives.

    It returns the solution at the times `t`, its last point with an axis in front, whether the
    solver got to the last time, and how many steps it took. In the derivatives the times at which
    steps end are constants, but for those that are among the times `t`.
    """
    vector_field = eqx.filter_closure_convert(jax.jit(vector_field), t[0], y)
    options = {"solver": solver, "max_steps": max_steps}
    return in_both_modes(
        partial(_solve, **options), partial(_pull_back, **options), vector_field, y, t, rtol, atol
    )


def _solve(*arguments, **options):
    t = arguments[2]
    saveat = diffrax.SaveAt(subs=(diffrax.SubSaveAt(ts=t), diffrax.SubSaveAt(t1=True)))
    solution = _diffeqsolve(*arguments, **options, saveat=saveat)
    return *solution.ys, diffrax.is_okay(solution.result), solution.stats["num_steps"]


def _diffeqsolve(vector_field, y, t, rtol, atol, solver, max_steps: int, saveat) -> Any:
    return diffrax.diffeqsolve(
        as_term(vector_field),
        solver,
        t[0],
        t[-1],
        dt0=None,
        y0=y,
        saveat=saveat,
        stepsize_controller=controller_for(solver, t, rtol, atol),
        max_steps=max_steps,
        throw=False,
        adjoint=diffrax.ForwardMode(),
    )


def controller_for(solver, t: Array, rtol: Array, atol: Array) -> Any:
    """What chooses the steps: the tolerances, or the times `t` without an error estimate."""
    is_adaptive = isinstance(solver, diffrax.AbstractAdaptiveSolver)
    return diffrax.PIDController(rtol, atol) if is_adaptive else diffrax.StepTo(ts=t)


def as_term(vector_field: Callable) -> diffrax.ODETerm:
    return diffrax.ODETerm(lambda t, y, _: vector_field(t, y))


def _pull_back(varied: PyTree, fixed: PyTree, cotangents: PyTree, *, solver, max_steps: int):
    """The cotangents of the arguments `varied` of `_solve`.

    Only one point in so many is recorded, and the points between two of them are computed again:
    the memory grows with the root of the number of steps.
    """
    every = math.isqrt(max_steps) + 1
    _, start, saved_t, *_ = arguments = eqx.combine(varied, fixed)
    steps = diffrax.SubSaveAt(steps=1, fn=lambda t, y, _: t), diffrax.SubSaveAt(steps=every)
    saveat = diffrax.SaveAt(subs=steps)
    record = _diffeqsolve(*arguments, solver=solver, max_steps=max_steps, saveat=saveat)
    n, recorded = record.stats["num_accepted_steps"], record.ys[1]
    times = jax.lax.stop_gradient(jnp.concatenate([saved_t[:1], record.ts[0]]))
    solver = with_tolerances(solver, *arguments[3:])
    if isinstance(solver, diffrax.AbstractRungeKutta):
        solver = eqx.tree_at(lambda s: s.scan_kind, solver, "bounded", is_leaf=lambda v: v is None)
    of_saved, of_last = cotangents[:2]

    def one_step(varied, y, i):
        """Step `i` from the point `y`, and what the solution is interpolated from within it."""
        vector_field, _, t, *_ = eqx.combine(varied, fixed)
        begin, end = _move_with(t, times[i]), _move_with(t, times[i + 1])
        step = as_term(vector_field), begin, end, y, None
        y, _, dense, *_ = solver.step(*step, solver.init(*step), made_jump=False)
        return y, {"t0": begin, "t1": end, **dense}

    def interpolate(varied, dense, k):
        return solver.interpolation_cls(**dense).evaluate(eqx.combine(varied, fixed)[2][k])

    def back_by_a_step(i, y, k, of_y, total):
        (_, dense), pull = jax.vjp(partial(one_step, i=i), varied, y)

        def of_next_saved(carry):
            k, *sums = carry
            _, pull = jax.vjp(partial(interpolate, k=k), varied, dense)
            return k - 1, *_add(tuple(sums), pull(_at(of_saved, k)))

        k, total, of_dense = jax.lax.while_loop(
            lambda carry: (carry[0] > 0) & (saved_t[carry[0]] > times[i]),
            of_next_saved,
            (k, total, jax.tree.map(jnp.zeros_like, dense)),
        )
        of_varied, of_y = pull((of_y, of_dense))
        return k, of_y, _add(total, of_varied)

    def back_by_a_block(carry):
        block, *carry = carry
        first, size = block * every, jnp.minimum(every, n - block * every)
        y = jax.tree.map(partial(jnp.where, block == 0), start, _at(recorded, block - 1))
        points = jax.tree.map(lambda leaf: jnp.zeros((every, *leaf.shape), leaf.dtype), y)

        def keep(i, carry):
            y, points = carry
            points = jax.tree.map(lambda a, leaf: a.at[i].set(leaf), points, y)
            return one_step(varied, y, first + i)[0], points

        _, points = jax.lax.fori_loop(0, size, keep, (y, points))

        def back(j, carry):
            i = size - 1 - j
            return back_by_a_step(first + i, _at(points, i), *carry)

        return block - 1, *jax.lax.fori_loop(0, size, back, tuple(carry))

    reached = jnp.searchsorted(saved_t, times[n] * (1 + ULPS * jnp.finfo(times).eps), side="right")
    zeros = jax.tree.map(jnp.zeros_like, varied)
    begin = (n - 1) // every, reached - 1, _at(of_last, -1), zeros
    _, _, of_start, total = jax.lax.while_loop(lambda carry: carry[0] >= 0, back_by_a_block, begin)
    of_start = eqx.filter(of_start, jax.tree.map(eqx.is_array, varied[1], is_leaf=_is_none))
    return total[0], _add(total[1], of_start), *total[2:]


def with_tolerances(solver, rtol, atol):
    """The solver; an implicit one solves its equations with these tolerances, as in diffrax."""
    if not isinstance(solver, diffrax.AbstractImplicitSolver):
        return solver
    unset, controller = diffrax.Kvaerno5().root_finder.rtol, diffrax.PIDController(rtol, atol)
    names = [n for n in ("rtol", "atol", "norm") if getattr(solver.root_finder, n) is unset]
    return eqx.tree_at(
        lambda solver: [getattr(solver.root_finder, name) for name in names],
        solver,
        [getattr(controller, name) for name in names],
    )


ULPS = 16  # XLA may round one product in two ways, so that equal times differ in their last digits


def _move_with(t: Array, time: Array) -> Array:
    """The time; it has the derivative of the saved time that it equals, if any."""
    margin = ULPS * jnp.finfo(t).eps * time
    nearest = t[jnp.searchsorted(t, time - margin)]
    return jnp.where(jnp.abs(nearest - time) <= margin, _with_value(nearest, time), time)


def _with_value(x: Array, value: Array) -> Array:
    """`value`, with the derivative of `x`."""
    return x + jax.lax.stop_gradient(value - x)


def _at(tree: PyTree, i) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[i], tree)


def _add(a: PyTree, b: PyTree) -> PyTree:
    return jax.tree.map(jnp.add, a, b)


def _is_none(value: Any) -> bool:
    return value is None
