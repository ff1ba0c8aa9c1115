"""The theorems that every optimizer satisfies: a new one is tested by its line in the catalogue."""

import ast
import inspect
import io
import operator
import re
import tokenize
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
from dynopt.optimizers import catalogue, color_numbers, wrappers
from dynopt.optimizers.equations import equations
from dynopt.optimizers.twin import optax_parameters

DEFAULT = default_optimizers(0.01)
SMOOTH = smooth_optimizers(0.01)
kinds = pytest.mark.parametrize("kind", catalogue.values(), ids=catalogue)
with_defaults = pytest.mark.parametrize("optimizer", DEFAULT.values(), ids=DEFAULT)
smooth = pytest.mark.parametrize("optimizer", SMOOTH.values(), ids=SMOOTH)
with_defaults_or_smooth = pytest.mark.parametrize(
    "optimizer",
    [*DEFAULT.values(), *smooth_optimizers(0.01, SMOOTH_OPTIONS).values()],
    ids=[*DEFAULT, *(f"{name} {SMOOTH_OPTIONS[name]}" for name in SMOOTH_OPTIONS)],
)


def loss(x):
    """Smooth, convex near its start, different in every coordinate."""
    x = x.ravel()
    scale = jnp.arange(1.0, x.size + 1)
    return jnp.sum(scale * x**2) / 2 + jnp.sum(jnp.cos(x)) + x[0] * x[-1] / 4


grad = jax.grad(loss)


def start(optimizer):
    """A vector; a column for an optimizer of matrices."""
    return jnp.array([1.3, -0.7, 0.4]).reshape(-1 if optimizer.elementwise else (3, 1))


def random_point(optimizer, seed):
    """A random point of phase space, with memory that is positive wherever it must be."""
    keys, shape = jax.random.split(jax.random.key(seed), 8), start(optimizer).shape
    y = optimizer.init(jax.random.normal(keys[0], shape), grad)
    return type(y)(y.x, *(0.5 + jax.random.uniform(k, shape) for k in keys[1 : len(y)]))


def largest_difference(a, b):
    differences = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), a, b)
    return max(map(float, jax.tree.leaves(differences)))


# --- map and flow


@with_defaults_or_smooth
def test_the_map_is_that_of_optax_for_ten_steps(optimizer, library_path):
    y, step = optimizer.init(start(optimizer), grad), optimizer.step
    if not optimizer.elementwise:  # matrices take many operations
        step = jax.jit(lambda t, y, grad: optimizer.step(t, y, grad), static_argnums=2)
    for k, x in enumerate(library_path(optimizer.optax(), grad, start(optimizer), 10)):
        y = step(k * optimizer.h, y, grad)
        np.testing.assert_allclose(optax_parameters(optimizer, y), x, rtol=4e-15, atol=1e-15)


@kinds
def test_default_hyperparameters_are_those_of_the_function_of_optax_named_as_source(kind):
    source = (inspect.getdoc(kind) or "").partition("\nSource:")[2]
    for name in re.findall(r"`optax\.([\w.]+)`", source):
        theirs = inspect.signature(operator.attrgetter(name)(optax)).parameters
        for argument, ours in inspect.signature(kind.__init__).parameters.items():
            has_default = ours.default is not inspect.Parameter.empty
            if has_default and argument not in ("momentum", "smoothing", "exact"):
                assert ours.default == theirs[argument].default, argument


@pytest.mark.parametrize("seed", range(3))
@smooth
def test_the_vector_field_is_the_limit_of_the_map(optimizer, seed):
    y, t = random_point(optimizer, seed), 0.3
    limit = jax.jvp(lambda h: optimizer.with_time_step(h).step(t, y, grad), (0.0,), (1.0,))[1]
    assert largest_difference(limit, optimizer.vector_field(t, y, grad)) < 1e-13


@smooth
def test_a_time_step_of_zero_is_the_identity(optimizer):
    y = random_point(optimizer, 0)
    assert largest_difference(optimizer.with_time_step(0.0).step(0.3, y, grad), y) == 0


@with_defaults
def test_refining_leaves_the_flow_alone(optimizer):
    y, fine = random_point(optimizer, 1), optimizer.refine(7)
    assert (
        largest_difference(fine.vector_field(0.3, y, grad), optimizer.vector_field(0.3, y, grad))
        == 0
    )
    assert float(fine.h) == pytest.approx(optimizer.h / 7, rel=1e-15)


@with_defaults_or_smooth
def test_the_lyapunov_function_never_rises_along_the_flow_or_none_is_known(optimizer):
    text = inspect.getdoc(type(optimizer)) or ""
    if "No Lyapunov function is known" in text or optimizer == DEFAULT["muon"]:
        with pytest.raises(InvalidValue, match="no Lyapunov function is known"):
            optimizer.lyapunov(0.0, random_point(optimizer, 0), loss)
        return

    @jax.jit
    def rate(t, y):
        velocity = optimizer.vector_field(t, y, grad)
        return jax.jvp(lambda t, y: optimizer.lyapunov(t, y, loss), (t, y), (1.0, velocity))[1]

    rates = np.array([rate(0.05 * (seed + 1), random_point(optimizer, seed)) for seed in range(20)])
    is_conserved = "Conserved quantity:" in text
    assert is_conserved == isinstance(optimizer, dynopt.AdaGrad)
    assert (np.abs(rates) < 1e-13).all() if is_conserved else (rates < 0).all()


# --- arrays


@smooth
def test_jit_equals_eager_equals_vmap(optimizer):
    def run(optimizer):
        y = optimizer.init(start(optimizer), grad)
        return optimizer.step(optimizer.h, optimizer.step(0.0, y, grad), grad).x

    np.testing.assert_allclose(eqx.filter_jit(run)(optimizer), run(optimizer), rtol=4e-15)
    kind = type(optimizer)
    two = eqx.filter_vmap(lambda rate: kind(rate))(jnp.array([0.01, 0.02]))
    np.testing.assert_allclose(eqx.filter_vmap(run)(two)[0], run(kind(0.01)), rtol=4e-15)


@kinds
def test_the_derivative_of_an_outcome_is_its_difference_quotient(kind):
    """By the learning rate, after five steps, with a coordinate whose gradient is zero."""

    def flat_in_one_coordinate(x):
        return loss(x[:2])

    def final_loss(rate):
        def one_step(y, k):
            return optimizer.step(k * optimizer.h, y, jax.grad(flat_in_one_coordinate)), None

        optimizer = kind(rate)
        y = optimizer.init(start(optimizer), jax.grad(flat_in_one_coordinate))
        return flat_in_one_coordinate(jax.lax.scan(one_step, y, jnp.arange(5))[0].x)

    value_and_slope = jax.jit(jax.value_and_grad(final_loss))
    rate, change = 0.05, 1e-6
    (below, _), (_, slope), (above, _) = map(value_and_slope, (rate - change, rate, rate + change))
    assert abs(slope) > 0.1
    np.testing.assert_allclose(slope, (above - below) / (2 * change), rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@smooth
def test_map_and_vector_field_keep_the_dtype(optimizer, dtype):
    y = optimizer.init(start(optimizer).astype(dtype), grad)
    for point in (optimizer.step(0.0, y, grad), optimizer.vector_field(0.0, y, grad)):
        assert {leaf.dtype for leaf in jax.tree.leaves(point)} == {jnp.dtype(dtype)}


@pytest.mark.parametrize("name", [name for name in DEFAULT if DEFAULT[name].elementwise])
def test_an_elementwise_optimizer_takes_positions_of_any_shape(name):
    optimizer, square = DEFAULT[name], jnp.array([[1.3, -0.7], [0.4, 0.2]])

    def grad(x):
        return x + jnp.sin(x)

    flat = optimizer.step(0.0, optimizer.init(square.ravel(), grad), grad).x
    np.testing.assert_array_equal(
        optimizer.step(0.0, optimizer.init(square, grad), grad).x.ravel(), flat
    )


# --- names


@with_defaults
def test_the_repr_and_the_hyperparameters_make_the_optimizer_again(optimizer):
    same = [
        eval(repr(optimizer), vars(optimizers)),
        type(optimizer)(**optimizer.hyperparameters()),
    ]
    for again in same:
        assert repr(again) == repr(optimizer)
        assert jax.tree.all(
            jax.tree.map(lambda a, b: np.isclose(a, b, rtol=1e-11, atol=0), again, optimizer)
        )


@kinds
def test_the_front_door_shows_every_optimizer(kind):
    assert getattr(dynopt, kind.__name__) is kind


def test_the_numbers_of_colours_never_change():
    """A new optimizer takes the next free number; 100 and more belong to optimizers of users."""
    names = (
        "sgd momentum rmsprop adam nesterov nesterov_convex adagrad adamw nadam adabelief "
        "signum lion muon schedule_free optimistic"
    )
    for number, name in enumerate(names.split()):
        assert color_numbers[catalogue[name]] == number
    assert len(set(color_numbers.values())) == len(catalogue) <= 100


# --- the file


@pytest.mark.parametrize("kind", [*catalogue.values(), *wrappers.catalogue.values()])
def test_the_docstring_has_the_fixed_order_of_headings_and_a_bullet_per_argument(kind):
    text = "\n" + (inspect.getdoc(kind) or "")
    headings = (
        "\nThe map",
        "\nThe flow",
        "\nThe time step:",
        r"\n(Lyapunov function:|Conserved quantity:|No Lyapunov function is known)",
        "\nElsewhere:",
        "\nArguments:\n",
        "\n>>>",
        "\nSource:",
    )
    places = [[match.start() for match in re.finditer(heading, text)] for heading in headings]
    assert all(places), dict(zip(headings, places, strict=True))
    firsts = [starts[0] for starts in places]
    assert firsts == sorted(firsts)
    _, *arguments = inspect.signature(kind.__init__).parameters
    assert re.findall(r"^- `(\w+)`:", text, re.M) == arguments


@kinds
def test_map_flow_and_time_step_are_read_from_the_docstring(kind):
    lines = equations(kind)
    assert list(lines) == ["map", "flow", "time step"]
    assert "ₖ₊₁ = " in lines["map"] and "′ " in lines["flow"] and lines["time step"][:4] == "h = "


def code_lines(source):
    """The number of lines without docstrings, comments and blank lines."""
    text = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                text |= set(range(node.lineno, (node.end_lineno or 0) + 1))
    code = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.string.strip() and token.type != tokenize.COMMENT:
            code |= set(range(token.start[0], token.end[0] + 1))
    return len(code - text)


def test_the_lines_of_code_are_counted_without_words():
    assert code_lines('"""A\n\nfile."""\n\nx = [\n    1\n]  # one\n# no code\n') == 3


def test_the_code_of_every_optimizer_has_at_most_sixty_lines():
    """The docstring may breathe, and the code must fit next to it."""
    lengths = {
        name: code_lines(Path(inspect.getfile(kind)).read_text())
        for name, kind in catalogue.items()
    }
    assert {name: length for name, length in lengths.items() if length > 60} == {}
