"""The pages of the contents list, as the theorems ask for them."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from scipy.integrate import solve_ivp

from dynopt.optimizers import catalogue
from dynopt.runs.prepare import with_dtype

# Options under which a page is smooth and starts without a layer.
WARM = {
    "rmsprop": {"bias_correction": True},
    "adagrad": {"initial_accumulator_value": 1e6},
    "signum": {"smoothing": 20.0},
    "lion": {"smoothing": 20.0},
    "muon": {"exact": True},
}


def plain(rate, names=tuple(catalogue)):
    """Each page as its defaults make it, by name."""
    return {name: catalogue[name](rate) for name in names}


def warm(rate, names=tuple(catalogue)):
    """Each page where it is smooth, by name."""
    return {name: catalogue[name](rate, **WARM.get(name, {})) for name in names}


def flowed(optimizer, grad, x0, times, tol=1e-12):
    """The flow at these times by SciPy's DOP853, from the page's own start: a second opinion, and quick to compile."""
    first = optimizer.init_flow(jnp.asarray(x0), grad)
    start, unravel = ravel_pytree(first)
    arrays = with_dtype(optimizer, start.dtype)
    found = solve_ivp(
        lambda t, y: _field(arrays, grad, first, t, y),
        (0, times[-1]),
        start,
        "DOP853",
        times,
        rtol=tol,
        atol=tol,
    )
    assert found.success, found.message
    return jax.vmap(unravel)(jnp.asarray(found.y.T))


@eqx.filter_jit
def _field(optimizer, grad, first, t, y):
    return ravel_pytree(optimizer.vector_field(t, ravel_pytree(first)[1](y), grad))[0]


def mapped(optimizer, grad, x0, steps):
    """The map's points of phase space, the start first."""
    x0 = jnp.asarray(x0)
    return _mapped(with_dtype(optimizer, x0.dtype), grad, x0, jnp.arange(steps))


@eqx.filter_jit
def _mapped(optimizer, grad, x0, ks):
    def one(y, k):
        after = optimizer.step(k * optimizer.h, y, grad)
        return after, after

    y = optimizer.init(x0, grad)
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), y, jax.lax.scan(one, y, ks)[1])
