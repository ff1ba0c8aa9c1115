"""The theorems that every page must satisfy, asked of the contents list: a new page is tested by being listed."""

import inspect
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from every_optimizer import SMOOTH_OPTIONS, default_optimizers, smooth_optimizers

import dynopt
from dynopt import optimizers
from dynopt.errors import InvalidValue
from dynopt.optimizers.twin import optax_parameters

pages = pytest.mark.parametrize("optimizer", default_optimizers(0.01).values(), ids=default_optimizers(0.01))
warm_pages = pytest.mark.parametrize("optimizer", smooth_optimizers(0.01).values(), ids=smooth_optimizers(0.01))
TWINS = {
    "Momentum": optax.sgd,
    "Nesterov": optax.sgd,
    "NesterovConvex": optax.sgd,
    "Muon": optax.contrib.muon,
    "ScheduleFree": optax.contrib.schedule_free_sgd,
}


def bend(x):
    """Smooth, convex near its start, different in every coordinate."""
    x = x.ravel()
    scale = jnp.arange(1.0, x.size + 1)
    return jnp.sum(scale * x**2) / 2 + jnp.sum(jnp.cos(x)) + x[0] * x[-1] / 4


grad = jax.grad(bend)


def start(optimizer, shape=(3,)):
    """A vector; a column for a page that moves matrices."""
    return jnp.array([1.3, -0.7, 0.4]).reshape(shape if optimizer.elementwise else (3, 1))


def somewhere(optimizer, seed):
    """A random point of phase space, with memory that is positive wherever it must be."""
    keys, shape = jax.random.split(jax.random.key(seed), 8), start(optimizer).shape
    y = optimizer.init(jax.random.normal(keys[0], shape), grad)
    return type(y)(y.x, *(0.5 + jax.random.uniform(k, shape) for k in keys[1 : len(y)]))


def largest(tree):
    return max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    "optimizer", [*default_optimizers(0.01).values(), *smooth_optimizers(0.01, SMOOTH_OPTIONS).values()], ids=repr
)
def test_step_is_optax_for_ten_steps(optimizer, library_path):
    y = optimizer.init(start(optimizer), grad)
    for k, x in enumerate(library_path(optimizer.optax(), grad, start(optimizer), 10)):
        y = optimizer.step(k * optimizer.h, y, grad)
        np.testing.assert_allclose(optax_parameters(optimizer, y), x, rtol=4e-15, atol=1e-15)


@pages
def test_default_hyperparameters_are_those_of_optax(optimizer):
    name = type(optimizer).__name__
    theirs = inspect.signature(TWINS.get(name) or getattr(optax, name.lower())).parameters
    for name, ours in inspect.signature(type(optimizer).__init__).parameters.items():
        if ours.default is not inspect.Parameter.empty and name not in (
            "momentum",
            "smoothing",
            "exact",
        ):
            assert ours.default == theirs[name].default, name


@pytest.mark.parametrize("seed", range(3))
@warm_pages
def test_flow_is_the_limit_of_the_map(optimizer, seed):
    y, t = somewhere(optimizer, seed), 0.3
    limit = jax.jvp(lambda h: optimizer.with_time_step(h).step(t, y, grad), (0.0,), (1.0,))[1]
    assert (
        largest(jax.tree.map(lambda a, b: a - b, limit, optimizer.vector_field(t, y, grad))) < 1e-13
    )


@warm_pages
def test_a_clock_that_stands_still_is_the_identity(optimizer):
    y = somewhere(optimizer, 0)
    assert (
        largest(
            jax.tree.map(lambda a, b: a - b, optimizer.with_time_step(0.0).step(0.3, y, grad), y)
        )
        == 0
    )


@pages
def test_refining_leaves_the_flow_alone(optimizer):
    y = somewhere(optimizer, 1)
    fine, coarse = (
        optimizer.refine(7).vector_field(0.3, y, grad),
        optimizer.vector_field(0.3, y, grad),
    )
    assert largest(jax.tree.map(lambda a, b: a - b, fine, coarse)) == 0
    assert float(optimizer.refine(7).h) == pytest.approx(optimizer.h / 7, rel=1e-15)


@pytest.mark.parametrize(
    "optimizer", [*default_optimizers(0.01).values(), *smooth_optimizers(0.01, SMOOTH_OPTIONS).values()], ids=repr
)
def test_energy_never_rises_along_the_flow_or_the_page_says_that_none_is_known(optimizer):
    if "none is known" in " ".join(
        (inspect.getdoc(type(optimizer)) or "").split()
    ) or optimizer == dynopt.Muon(0.01):
        with pytest.raises(InvalidValue, match="energy is known"):
            optimizer.lyapunov(0.0, somewhere(optimizer, 0), bend)
        return

    @jax.jit
    def rate(t, y):
        return jax.jvp(
            lambda t, y: optimizer.lyapunov(t, y, bend),
            (t, y),
            (1.0, optimizer.vector_field(t, y, grad)),
        )[1]

    rates = np.array([rate(0.05 * (seed + 1), somewhere(optimizer, seed)) for seed in range(20)])
    conserved = type(optimizer).__name__ == "AdaGrad"
    assert (np.abs(rates) < 1e-13).all() if conserved else (rates < 0).all()


@pages
def test_the_repr_is_what_one_types(optimizer):
    again = eval(repr(optimizer), vars(optimizers))
    assert repr(again) == repr(optimizer)
    assert jax.tree.all(
        jax.tree.map(lambda a, b: np.isclose(a, b, rtol=1e-11, atol=0), again, optimizer)
    )


@warm_pages
def test_jit_equals_eager_equals_vmap(optimizer):
    def run(optimizer):
        y = optimizer.init(start(optimizer), grad)
        return optimizer.step(optimizer.h, optimizer.step(0.0, y, grad), grad).x

    eager = run(optimizer)
    np.testing.assert_allclose(eqx.filter_jit(run)(optimizer), eager, rtol=4e-15)
    many = eqx.filter_vmap(lambda r: type(optimizer)(r))(jnp.array([0.01, 0.02]))
    plain = type(optimizer)(0.01)
    np.testing.assert_allclose(eqx.filter_vmap(run)(many)[0], run(plain), rtol=4e-15)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@warm_pages
def test_step_and_flow_keep_the_dtype(optimizer, dtype):
    y = optimizer.init(start(optimizer).astype(dtype), grad)
    for point in (optimizer.step(0.0, y, grad), optimizer.vector_field(0.0, y, grad)):
        assert {leaf.dtype for leaf in jax.tree.leaves(point)} == {jnp.dtype(dtype)}


@pytest.mark.parametrize(
    "optimizer",
    [optimizer for optimizer in default_optimizers(0.01).values() if optimizer.elementwise],
    ids=repr,
)
def test_a_page_is_elementwise_in_any_shape(optimizer):
    square = jnp.array([[1.3, -0.7], [0.4, 0.2]])

    def pull(x):
        return x + jnp.sin(x)

    flat = optimizer.step(0.0, optimizer.init(square.ravel(), pull), pull).x
    np.testing.assert_array_equal(
        optimizer.step(0.0, optimizer.init(square, pull), pull).x.ravel(), flat
    )


@pages
def test_a_page_fits_on_a_page(optimizer):
    lines = Path(inspect.getfile(type(optimizer))).read_text().splitlines()
    assert len(lines) <= 90


@pages
def test_the_docstring_teaches_in_the_fixed_order(optimizer):
    text = inspect.getdoc(type(optimizer))
    places = [
        text.index(word)
        for word in (
            "The map",
            "The flow",
            "The clock",
            "Lyapunov:",
            "Elsewhere:",
            ">>>",
            "Source:",
        )
    ]
    assert places == sorted(places)


@pages
def test_the_front_door_shows_every_page(optimizer):
    assert getattr(dynopt, type(optimizer).__name__) is type(optimizer)
