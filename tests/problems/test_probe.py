"""A loss is one function with a gradient, and a gradient that lies is found out by differences."""

import warnings

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dynopt import SGD, Accumulated, Adam, Modified, Momentum, analysis, integrate, iterate
from dynopt.errors import ProblemError
from dynopt.problems import MeanLoss, Problem, catalogue
from dynopt.problems.probe import FirstOrder, compare_with_differences
from dynopt.problems.program import may_hide_derivatives, precision, trace_loss

hold = jax.lax.stop_gradient
NUMBERS = np.random.default_rng(0)


def bowl(x):
    return jnp.sum(x**2)


def game(x):
    """Two players on x₀x₁: the field is (x₁, -x₀), a rotation, and the value is always 0."""
    return x[0] * hold(x[1]) - hold(x[0]) * x[1]


@jax.custom_jvp
def held_game(x):
    """The same field, as a rule that JAX differentiates rightly."""
    return 0.0 * x[0]


@held_game.defjvp
def held_game_rule(primals, tangents):
    (x,), (dx,) = primals, tangents
    return held_game(x), x[1] * dx[0] - x[0] * dx[1]


def quietly(loss, x0=(1.0, 0.0), **options) -> Problem:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Problem(loss, x0, **options)


def rule(value, gradient):
    """A function with a hand-written gradient."""
    function = jax.custom_vjp(value)
    function.defvjp(lambda x: (value(x), x), lambda x, factor: (factor * gradient(x),))
    return function


def one_sentence(caught) -> str:
    message = str(caught.value)
    assert "\n" not in message and ". " not in message and "; " in message
    return message


# one function


def counted():
    calls = []

    def loss(x):
        calls.append(1)
        return len(calls) * bowl(x)

    return loss


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: bowl(x - NUMBERS.normal(size=2)),
        lambda x: NUMBERS.normal() * bowl(x),
        lambda x: bowl(x - np.arange(9.0)[NUMBERS.permutation(9)[:2]]),
        lambda x: bowl(x - jax.random.normal(jax.random.key(NUMBERS.integers(10**6)), (2,))),
        lambda x: jnp.sum(x ** int(NUMBERS.integers(2, 10**6))),
        lambda x: jax.lax.fori_loop(0, 3, lambda i, x: x * NUMBERS.normal(), x).sum(),
        counted(),
        rule(bowl, lambda x: 2 * x * NUMBERS.normal()),
    ],
    ids=["normal", "factor", "batch", "key", "power", "loop", "counter", "rule"],
)
def test_a_loss_that_differs_from_call_to_call_is_refused(loss):
    with pytest.raises(ProblemError, match="another function each time") as caught:
        Problem(loss, [1.0, 2.0], name="noisy")
    assert "draw the numbers once outside" in one_sentence(caught)


def test_so_is_one_over_data():
    with pytest.raises(ProblemError, match="another function each time"):
        Problem(lambda x, data: ((data - NUMBERS.normal() * x) ** 2).mean(), 1.0, data=np.ones(4))


KEY, DRAWN = jax.random.key(0), NUMBERS.normal(size=2)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: bowl(x - DRAWN),
        lambda x: bowl(x - jax.random.normal(jax.random.key(3), (2,))),
        lambda x: bowl(x - jax.random.normal(KEY, (2,))),
        lambda x: jnp.where(jnp.array([True, False]), x, np.nan)[0] ** 2,
    ],
    ids=["drawn outside", "fixed key", "key from outside", "NaN"],
)
def test_numbers_drawn_once_are_one_function(loss):
    assert Problem(loss, [1.0, 2.0]).derivable


# a function with a gradient


def loops(x):
    return jax.lax.while_loop(lambda x: x.sum() < 30, lambda x: 2 * x, x).sum()


def calls_back(x):
    return jax.pure_callback(
        lambda x: np.sum(np.asarray(x) ** 2), jax.ShapeDtypeStruct((), x.dtype), x
    )


def steps_by_ulps(x):
    return jnp.nextafter(x, x + 1).sum()


def writes_numpy(x):
    return rule(bowl, lambda x: np.asarray(2 * x))(x)


@pytest.mark.parametrize(
    "loss, words",
    [
        (loops, "repeats a loop until a condition holds on line {} .*use jax.lax.fori_loop"),
        (calls_back, "calls a Python function .* on line {} .*derivative by jax.custom_vjp"),
        (steps_by_ulps, "has no gradient on line {} of test_probe.py .*'nextafter'"),
        (writes_numpy, "derivative in the loss of writes_numpy uses numpy on a traced value"),
    ],
)
def test_a_loss_without_a_gradient_is_refused_at_its_line(loss, words):
    line = loss.__code__.co_firstlineno + 1
    with pytest.raises(ProblemError, match=words.format(line)) as caught:
        Problem(loss, [1.0, 2.0])
    one_sentence(caught)


def test_the_line_is_found_behind_data_and_constants():
    def loop(x, data):
        return (data * loops(x["w"])).mean()

    with pytest.raises(ProblemError, match=r"repeats a loop .* on line \d+ of test_probe.py"):
        Problem(loop, {"w": np.ones(2), "order": np.arange(2)}, data=np.ones(3))


def test_the_remedies_for_a_loss_without_a_gradient_work():
    repeated = Problem(lambda x: jax.lax.fori_loop(0, 3, lambda i, x: 2 * x, x).sum(), [1.0, 2.0])
    assert jax.grad(repeated.loss)(repeated.start()).tolist() == [8, 8]
    ruled = Problem(rule(calls_back, lambda x: 2 * x), [1.0, 2.0])
    assert jax.grad(ruled.loss)(ruled.start()).tolist() == [2, 4]


def test_what_a_rule_raises_is_kept_with_a_note():
    def fails(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        Problem(rule(bowl, fails), [1.0], name="ruled")
    assert "while differentiating the loss of ruled" in caught.value.__notes__


# what numbers tell

FEATURES = jnp.asarray(np.random.default_rng(1).normal(size=(50, 3)))
TARGET = jnp.asarray(np.random.default_rng(2).normal(size=(4, 3)))
MATRIX = np.eye(4, 3) * [6.0, 1.0, 0.5]


def scaled_by(norm):
    return lambda w: bowl(w / norm(w) - TARGET.astype(w.dtype))


def power_iteration(w):
    """The largest singular value by vectors that are held fixed: its gradient is right, and the
    derivative of that gradient is not.
    """
    u, v = jnp.ones(4, w.dtype), w[0]
    for _ in range(4):
        v = w.T @ u / jnp.linalg.norm(w.T @ u)
        u = w @ v / jnp.linalg.norm(w @ v)
    return hold(u) @ w @ hold(v)


# the findings that must be False, at a start of double and of single precision
LIES = {
    "game": (game, [1.0, 0.5], {"consistent", "derivable", "conservative"}),
    "game as a rule": (held_game, [1.0, 0.5], {"consistent", "conservative"}),
    "power iteration": (scaled_by(power_iteration), MATRIX, {"derivable"}),
    "all held": (lambda x: bowl(hold(x)), [1.0, 2.0], {"consistent", "moves"}),
    "one held": (
        lambda x: (hold(x[0]) - x[1]) ** 2,
        [1.0, 2.0],
        {"consistent", "moves", "derivable", "conservative"},
    ),
    "round": (lambda x: bowl(jnp.round(x)), [1.0, 2.0], {"moves"}),
    "sign": (lambda x: jnp.sign(x).sum(), [1.0, 2.0], {"moves"}),
    "step": (lambda x: jnp.where(x > 0, 1.0, 0.0).sum(), [0.1, 0.2], {"moves"}),
    "straight through": (
        lambda x: bowl(x + hold(jnp.round(x) - x)),
        [1.0, 2.0],
        {"consistent", "derivable"},
    ),
    "wrong factor": (rule(bowl, lambda x: 3 * x), [1.0, 2.0], {"consistent"}),
    "wrong sign": (rule(bowl, lambda x: -2 * x), [1.0, 2.0], {"consistent"}),
}
TRUTHS = {
    "softmax": (lambda x: -jnp.log(jax.nn.softmax(x)[0]), [1.0, 2.0]),
    "logsumexp": (lambda x: jax.nn.logsumexp(x), [1.0, 2.0, 1e3]),
    "relu": (lambda x: jax.nn.relu(FEATURES.astype(x.dtype) @ x - 0.3).mean(), [1.0, 0.0, 2.0]),
    "abs": (lambda x: jnp.abs(x - 1).sum(), [3.0, -2.0]),
    "max": (lambda x: jnp.max(x**2), [1.0, -2.0]),
    "spectral norm": (scaled_by(lambda w: jnp.linalg.norm(w, 2)), MATRIX),
    "no curvature": (lambda x: x.sum(), [0.0, 0.0]),
    "constant": (lambda x: 1.0 + 0 * x.sum(), [0.0, 0.0]),
    "guarded root": (
        lambda x: jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0).sum(),
        [0.1, -0.2],
    ),
    "logarithm near 0": (lambda x: -jnp.log(x).sum(), [0.01, 3.0]),
    "stiff": (lambda x: 1e6 * x[0] ** 2 + x[1] ** 2, [1.0, 1.0]),
    "right rule": (rule(lambda x: jnp.sum(x**3), lambda x: 3 * x**2), [1.0, 2.0]),
    "harmless hold": (lambda x: bowl(x / hold(1 + 0 * x)), [1.0, 2.0]),
}
DTYPES = [np.float64, np.float32]


def false_findings(loss, x0, dtype) -> set[str]:
    x0 = jnp.asarray(x0, dtype)
    epsilon = precision(trace_loss(loss, x0, "loss"))
    for distance in (0.1, 0.001):
        found = compare_with_differences(loss, x0, epsilon, distance)
        if found.is_finite:
            break
    return {name for name, value in found._asdict().items() if not value}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LIES)
def test_numbers_find_out_what_lies(name, dtype):
    loss, x0, expected = LIES[name]
    assert false_findings(loss, x0, dtype) == expected
    assert may_hide_derivatives(trace_loss(loss, jnp.asarray(x0, dtype), name))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TRUTHS)
def test_numbers_accuse_nothing_that_is_right(name, dtype):
    loss, x0 = TRUTHS[name]
    assert false_findings(loss, x0, dtype) == set()


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_accuse_no_waves(dtype):
    problem = catalogue["rastrigin"]()  # the worst of the catalogue for differences
    assert false_findings(problem.loss, problem.x0, dtype) == set()


@pytest.mark.parametrize(
    "name", ["softmax", "logsumexp", "relu", "abs", "max", "spectral norm", "guarded root"]
)
def test_functions_of_jax_need_no_numbers(name):
    loss, x0 = TRUTHS[name]
    assert not may_hide_derivatives(trace_loss(loss, jnp.asarray(x0), name))
    assert not may_hide_derivatives(
        trace_loss(lambda x: jax.vmap(jax.nn.logsumexp)(x[:, None]).sum(), jnp.ones(2), name)
    )


@pytest.mark.parametrize(
    "loss, expected",
    [
        (bowl, 2.0**-52),
        (lambda x: bowl(x.astype(jnp.float32)), 2.0**-23),
        (lambda x: bowl(x.astype(jnp.bfloat16)).astype(float), 2.0**-7),
        (lambda x: bowl(x - np.float32(1)), 2.0**-52),
        (lambda x: jax.jit(lambda a, b: a.sum() + b.sum())(x, np.ones(2, np.float32)), 2.0**-52),
        (lambda x: jax.lax.fori_loop(0, 2, lambda i, y: 2 * y, jnp.float32(x[0])), 2.0**-23),
        (lambda x: jnp.sum((x > 0).astype(jnp.float32) * x), 2.0**-52),
        (lambda x: (jnp.float32(x[0]), bowl(x))[1], 2.0**-52),
    ],
    ids=["double", "single", "half", "constant", "call", "loop", "mask", "unused"],
)
def test_the_precision_is_that_of_the_coarsest_dtype_on_the_way(loss, expected):
    assert Problem(loss, [1.0, 2.0]).precision == expected


def test_single_precision_inside_a_mean_over_data_is_no_sum():
    data = np.linspace(0.1, 1.3, 7)
    loss = lambda x, data: ((data - x).astype(jnp.float32) ** 2).mean().astype(float)  # noqa: E731
    assert Problem(loss, 0.3, data=data).precision == 2.0**-23


# what follows from it


def after(steps, h):
    """The first player after simultaneous steps on the game from (1, 0): Re (1 + ih)ⁿ."""
    return ((1 + 1j * h) ** steps).real


def slope_of_after(steps, h):
    return (1j * steps * (1 + 1j * h) ** (steps - 1)).real


def test_a_game_is_made_with_one_warning_at_the_line_of_its_maker():
    with pytest.warns(UserWarning, match="gradient of game is not .*wrongly") as caught:
        problem = Problem(game, [1.0, 0.0])
    assert len(caught) == 1 and not problem.derivable and not problem.conservative
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Problem(problem.loss, [2.0, 1.0], name="again")  # warned of already


def test_runs_of_a_game_go_on_as_before():
    problem = quietly(game)
    plain = eqx.tree_at(lambda p: p.loss, problem, game)
    for run in (iterate, integrate):
        ours, before = (run(Momentum(0.01), p, 20) for p in (problem, plain))
        for field in ("x", "loss", "grad_norm"):
            assert np.array_equal(getattr(ours, field), getattr(before, field))
    assert float(iterate(SGD(0.1), problem, 100).x[-1, 0]) == pytest.approx(after(100, 0.1))
    assert analysis.order(SGD(0.1), problem, time=1.0).slope == pytest.approx(1, abs=0.02)


def test_whatever_differentiates_the_field_of_a_game_refuses_in_one_sentence():
    problem = quietly(game)
    attempts = [
        lambda: jax.grad(lambda h: iterate(SGD(h), problem, 5).x[-1, 0])(0.1),
        lambda: jax.jvp(lambda h: iterate(SGD(h), problem, 5).loss[-1], (0.1,), (1.0,)),
        lambda: jax.grad(lambda t: integrate(SGD(t), problem, 5).x[-1, 0])(0.1),
        lambda: integrate(SGD(0.1), problem, 5, solver=diffrax.Kvaerno5()),
        lambda: analysis.order(Modified(SGD(0.1)), problem, time=1.0),
        lambda: analysis.implicit_bias(SGD(0.1), problem),
        lambda: jax.hessian(problem.loss)(problem.start()),
        lambda: analysis.sharpness(problem),
        lambda: analysis.lyapunov(SGD(0.1), problem, 5),
        lambda: analysis.suggested_rates(problem, {"sgd": SGD}, 5),
    ]
    for attempt in attempts:
        with pytest.raises(ProblemError, match="the gradient of game") as caught:
            attempt()
        assert "as the rule of a jax.custom_jvp" in one_sentence(caught)


def test_the_remedy_makes_all_of_it_right():
    with pytest.warns(UserWarning, match="held_game is not the derivative of its value, as a rule"):
        problem = Problem(held_game, [1.0, 0.0])
    assert problem.derivable and not problem.conservative
    slope = jax.grad(lambda h: iterate(SGD(h), problem, 100).x[-1, 0])(0.1)
    assert float(slope) == pytest.approx(slope_of_after(100, 0.1), rel=1e-12)
    assert slope_of_after(100, 0.1) == pytest.approx(70.06, abs=0.005)
    assert analysis.order(Modified(SGD(0.1)), problem, time=1.0).slope == pytest.approx(2, abs=0.02)


def test_a_game_has_no_sharpness_and_no_loss_that_falls():
    problem = quietly(held_game)
    for attempt in (
        lambda: analysis.sharpness(problem),
        lambda: analysis.lyapunov(SGD(0.1), problem, 5),
        lambda: analysis.suggested_rates(problem, {"sgd": SGD}, 5),
    ):
        with pytest.raises(ProblemError, match="as in a game; use analysis.spectrum, or jax.jac"):
            attempt()
    jacobian = jax.jacfwd(problem.field)(problem.start())  # what the message advises
    assert jacobian.tolist() == [[0, 1], [-1, 0]]


def test_a_game_has_no_boundary_of_stability():
    problem = quietly(held_game, minimizers=[0.0, 0.0])
    result = analysis.sensitivity(
        Momentum(0.1), problem, 5, learning_rates=[0.1, 0.2], values=[0.0, 0.5]
    )
    assert np.isnan(result.boundary).all() and np.isfinite(result.loss).all()


def test_a_gradient_that_is_right_but_not_its_derivative_is_used_without_a_warning():
    problem = Problem(scaled_by(power_iteration), MATRIX, name="normalised")
    assert not problem.derivable and problem.conservative
    with pytest.raises(ProblemError, match="the gradient of normalised"):
        analysis.sharpness(problem)


@pytest.mark.parametrize("name", ["all held", "round", "sign", "step"])
def test_a_gradient_of_0_where_the_loss_changes_is_told(name):
    loss, x0, _ = LIES[name]
    with pytest.warns(UserWarning, match="is 0 in coordinates in which its loss changes"):
        problem = Problem(loss, x0)
    assert np.array_equal(iterate(SGD(0.1), problem, 3).x[-1], x0)  # nothing moves, as was told


@pytest.mark.parametrize("name", ["wrong factor", "wrong sign"])
def test_a_wrong_rule_is_told(name):
    with pytest.warns(UserWarning, match="is not the derivative of its value, .*check the rule"):
        problem = Problem(*LIES[name][:2])
    assert problem.derivable and problem.conservative


def test_a_wrong_rule_at_the_edge_of_a_domain_is_told():
    wrong = rule(lambda x: -jnp.log(x).sum(), lambda x: -2 / x)
    with pytest.warns(UserWarning, match="is not the derivative of its value"):
        Problem(wrong, [0.005, 0.005, 0.005, 3.0])


def test_a_gradient_by_a_callback_runs_and_refuses_to_be_differentiated():
    def slope(x):
        return jax.pure_callback(lambda x: 2 * np.asarray(x), x, x)

    problem = Problem(rule(bowl, slope), [1.0, 2.0], name="outside")
    assert iterate(SGD(0.25), problem, 2).x[-1].tolist() == [0.25, 0.5]
    with pytest.raises(ProblemError, match="the gradient of outside cannot be differentiated"):
        jax.hessian(problem.loss)(problem.start())


# trees, data, traced values


def game_of_trees(p):
    return game(jnp.stack([p["g"], p["d"][0]]))


def game_over_data(x, data):
    return (data * game(x)).mean()


def test_a_game_of_trees_is_found_out_and_runs():
    problem = quietly(game_of_trees, {"g": 1.0, "d": np.zeros(1)})
    assert isinstance(problem.loss, FirstOrder) and not problem.derivable
    assert float(iterate(SGD(0.1), problem, 5).x["g"][-1]) == pytest.approx(after(5, 0.1))
    assert jax.tree.map(float, jax.grad(problem.loss)(problem.start())["g"]) == 0


def test_a_game_over_data_is_found_out_in_whole_and_in_parts():
    data = np.array([0.5, 1.5, 1.0, 1.0])
    problem = quietly(game_over_data, data=data)
    assert not problem.derivable and isinstance(problem.loss, MeanLoss)
    whole, parts = (
        iterate(optimizer, problem, 4).x[-1] for optimizer in (SGD(0.1), Accumulated(SGD(0.1), 2))
    )
    assert float(whole[0]) == pytest.approx(after(4, 0.1))
    assert float(parts[0]) == pytest.approx(after(4, 0.1))  # a step sees both parts
    with pytest.raises(ProblemError, match="cannot be differentiated"):
        jax.grad(lambda h: iterate(Accumulated(SGD(h), 2), problem, 4).x[-1, 0])(0.1)


def test_a_game_made_of_traced_numbers_is_found_out():
    def outcome(x0, data):
        problem = quietly(game_over_data, x0, data=data)
        return iterate(SGD(0.1), problem, 4).x[-1, 0]

    arguments = jnp.array([1.0, 0.0]), jnp.ones(4)
    assert float(jax.jit(outcome)(*arguments)) == pytest.approx(after(4, 0.1))
    starts = jnp.stack([arguments[0], 2 * arguments[0]])
    ends = jax.vmap(outcome, (0, None))(starts, arguments[1])
    np.testing.assert_allclose(ends, after(4, 0.1) * np.array([1, 2]))
    with pytest.raises(ProblemError, match="cannot be differentiated"):
        jax.grad(lambda data: quietly(game_over_data, data=data).loss(arguments[0]))(jnp.ones(4))
    for argument in (0, 1):
        with pytest.raises(ProblemError, match="cannot be differentiated"):
            jax.jit(jax.grad(outcome, argument))(*arguments)


def test_a_game_that_closes_over_a_traced_value_is_made():
    def outcome(strength):
        problem = Problem(lambda x: strength * game(x), [1.0, 0.0])
        return iterate(Adam(0.1), problem, 2).x[-1]

    assert np.isfinite(jax.vmap(outcome)(jnp.array([1.0, 2.0]))).all()
