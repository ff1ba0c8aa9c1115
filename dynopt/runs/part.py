"""A part of the solution of a flow, from which it goes on to the last bit as if never stopped.

diffrax keeps no time at which the next step of a solver ends, so that a solve of diffrax cannot be
continued exactly. The loop over its steps stands here, for runs that are not differentiated.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .solve import as_term, controller_for, with_tolerances

FIRST_STEP = 0.01  # of time, as diffrax 0.7 begins
ULPS = 100  # a step that would end so close to the last time ends there, as in diffrax


class Part(NamedTuple):
    """A solution as far as it has come.

    - `k`: the number of steps that the solver took, rejected ones too.
    - `t`, `end`: the time where it stands, and the time where its next step is to end.
    - `y`, `solver_state`, `controller_state`: the point there, and what diffrax keeps.
    - `num_saved`, `saved`: the number of saved rows, and room for all, NaN in what is to come.
    - `is_okay`: whether the solver has not failed.
    """

    k: Array
    t: Array
    end: Array
    y: PyTree
    solver_state: PyTree
    controller_state: PyTree
    num_saved: Array
    saved: PyTree
    is_okay: Array


def begin_part(
    vector_field: Callable, y: PyTree, row: PyTree, t: Array, rtol: Array, atol: Array, solver
) -> Part:
    """The solution at the time `t[0]`, where it is `y`, and where `row` is saved."""
    term, solver = as_term(vector_field), _solver_of_steps(solver, rtol, atol)
    controller = controller_for(solver, t, rtol, atol)
    first = FIRST_STEP if isinstance(controller, diffrax.PIDController) else None
    end, controller_state = controller.init(
        term, t[0], t[-1], y, first, None, solver.func, solver.error_order(term)
    )
    end = jnp.minimum(end, t[-1])
    saved = jax.tree.map(
        lambda leaf: jnp.full((len(t), *leaf.shape), jnp.nan, leaf.dtype).at[0].set(leaf), row
    )
    solver_state = solver.init(term, t[0], end, y, None)
    one = jnp.asarray(1)
    begin = Part(one - 1, t[0], end, y, solver_state, controller_state, one, saved, one > 0)
    return _without_weak_types(begin)


def advance_part(
    part: Part,
    stop: Array,
    vector_field: Callable,
    make_row: Callable,
    t: Array,
    rtol: Array,
    atol: Array,
    solver,
) -> Part:
    """Go on until the solver has taken `stop` steps in all, or stands at the last time, or failed.

    - `make_row`: what is saved of a time and the point there.
    """
    term, solver = as_term(vector_field), _solver_of_steps(solver, rtol, atol)
    controller = controller_for(solver, t, rtol, atol)
    almost = t[-1] * (1 - ULPS * jnp.finfo(t).eps)

    def one_step(part: Part) -> Part:
        step = part.t, part.end, part.y
        y, error, dense, solver_state, solver_result = solver.step(
            term, *step, None, part.solver_state, made_jump=False
        )
        error = jax.tree.map(lambda e: jnp.where(jnp.isnan(e), jnp.inf, e), error)
        is_kept, time, end, _, controller_state, result = controller.adapt_step_size(
            *step, y, None, error, solver.error_order(term), part.controller_state
        )
        is_kept = jnp.asarray(is_kept)
        time = jnp.minimum(time, t[-1])
        last_end = jnp.where(is_kept, t[-1], time + (t[-1] - time) / 2)
        solution = solver.interpolation_cls(t0=part.t, t1=part.end, **dense)

        def is_within(rows):
            i, _ = rows
            return is_kept & (i < len(t)) & (t[i] <= part.end)

        def save(rows):
            i, saved = rows
            row = make_row(t[i], solution.evaluate(t[i]))
            return i + 1, jax.tree.map(lambda array, leaf: array.at[i].set(leaf), saved, row)

        num_saved, saved = jax.lax.while_loop(is_within, save, (part.num_saved, part.saved))
        y, solver_state = jax.tree.map(
            partial(jnp.where, is_kept), (y, solver_state), (part.y, part.solver_state)
        )
        return Part(
            part.k + 1,
            time,
            jnp.where(end > almost, last_end, end),
            y,
            solver_state,
            controller_state,
            num_saved,
            saved,
            (~is_kept | diffrax.is_successful(solver_result)) & diffrax.is_successful(result),
        )

    def goes_on(part: Part):
        return (part.k < stop) & (part.t < t[-1]) & part.is_okay

    return _without_weak_types(jax.lax.while_loop(goes_on, one_step, part))


def _solver_of_steps(solver, rtol, atol):
    solver = with_tolerances(solver, rtol, atol)
    if isinstance(solver, diffrax.AbstractRungeKutta) and solver.scan_kind is None:
        return eqx.tree_at(lambda s: s.scan_kind, solver, "lax", is_leaf=lambda v: v is None)
    return solver


def _without_weak_types(tree: PyTree) -> PyTree:
    """The same arrays; with weak types among them, the next call would be compiled anew."""
    return jax.tree.map(lambda leaf: jnp.astype(leaf, jnp.asarray(leaf).dtype), tree)
