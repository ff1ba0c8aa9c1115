"""Maps and flows without `iterate` and `integrate`: a second opinion, and quick to compile."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

from dynopt.runs.prepare import with_dtype


def solve_flow(optimizer, grad, x0, times, tol=1e-12):
    """The points of phase space of the flow at these times, solved by SciPy's DOP853."""
    y0 = eqx.filter_jit(optimizer.init_flow)(jnp.asarray(x0), grad)
    flat_y0, unravel = ravel_pytree(y0)
    arrays = with_dtype(optimizer, flat_y0.dtype)
    solution = solve_ivp(
        lambda t, y: _flat_vector_field(arrays, grad, y0, t, y),
        (0, times[-1]),
        flat_y0,
        "DOP853",
        times,
        rtol=tol,
        atol=tol,
    )
    assert solution.success, solution.message
    return jax.vmap(unravel)(jnp.asarray(solution.y.T))


@eqx.filter_jit
def _flat_vector_field(optimizer, grad, y0, t, flat_y):
    unravel = ravel_pytree(y0)[1]
    return ravel_pytree(optimizer.vector_field(t, unravel(flat_y), grad))[0]


def run_map(optimizer, grad, x0, steps):
    """The points of phase space of the map, the start first."""
    x0 = jnp.asarray(x0)
    return _run_map(with_dtype(optimizer, x0.dtype), grad, x0, jnp.arange(steps))


@eqx.filter_jit
def _run_map(optimizer, grad, x0, ks):
    def one_step(y, k):
        y = optimizer.step(k * optimizer.h, y, grad)
        return y, y

    y0 = optimizer.init(x0, grad)
    _, points = jax.lax.scan(one_step, y0, ks)
    return jax.tree.map(lambda first, later: jnp.concatenate([first[None], later]), y0, points)
