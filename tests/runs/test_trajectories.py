"""The map is that of optax and the flow that of the closed forms, both at the times t = k h.

No value of a hyperparameter or of a start is compiled twice.
"""

import subprocess
import sys
from functools import partial

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from losses import Root, polynomial

from dynopt import (
    SGD,
    Adam,
    Momentum,
    Problem,
    RMSprop,
    Status,
    integrate,
    iterate,
    problems,
)
from dynopt.errors import InvalidType, InvalidValue, ProblemError, SolverFailure
from dynopt.optimizers import catalogue

bowl = polynomial("bowl", [1.0, -1.0])
bowl32 = polynomial("bowl", np.array([1.0, -1.0], np.float32))
stiff = polynomial("stiff", [1.0, 1.0])
tree = {"w": np.array([[1.0, 2.0], [3.0, 4.0]]), "b": (np.array(0.5),)}
network = Problem(
    lambda p: jnp.sum(p["w"] ** 2) + jnp.sum(jnp.cos(p["b"][0])), tree, name="network"
)


# --- closed forms


def test_the_map_of_sgd_on_a_quadratic():
    run = iterate(SGD(0.1), bowl, 50)
    k = np.arange(51)[:, None]
    np.testing.assert_allclose(
        run.x, (1 - 0.1 * np.array([1.0, 4.0])) ** k * np.array([1.0, -1.0]), rtol=1e-13
    )
    np.testing.assert_array_equal(run.t, k[:, 0] * 0.1)


@pytest.mark.parametrize("steps", [20, 300], ids=["one call", "several"])
def test_each_step_is_given_the_time_at_which_it_begins(steps):
    """Where the gradient is constant, the bias corrections of Adam make each step η long."""
    slope = Problem(lambda x: 3.0 * jnp.sum(x), [1.0], name="slope")
    run = iterate(Adam(0.1, eps=0.0), slope, steps)
    np.testing.assert_allclose(run.x[:, 0], 1 - 0.1 * np.arange(steps + 1), rtol=1e-11, atol=1e-12)


def test_the_flow_of_sgd_on_a_quadratic():
    run = integrate(SGD(0.1), bowl, 50)
    exact = np.exp(-np.outer(run.t, [1.0, 4.0])) * np.array([1.0, -1.0])
    np.testing.assert_allclose(run.x, exact, atol=1e-10)


@pytest.mark.parametrize("mu", [0.95, 0.6, 0.2], ids=["under", "critical", "over"])
def test_map_and_flow_of_momentum_on_a_quadratic(mu):
    """Powers of the companion matrix, and the damped oscillator.

    The friction (1 - 0.6)/0.1 = 4 = 2√4 is critical.
    """
    optimizer, x0, quadratic = Momentum(0.01, mu), bowl.start(), problems.quadratic([1.0, 4.0]).loss
    map, flow = (run(optimizer, bowl, 40, save_every=2) for run in (iterate, integrate))
    exact = jax.jit(jax.vmap(lambda k: quadratic.momentum(k, x0, 0.01, mu)))(2 * jnp.arange(21))
    np.testing.assert_allclose(map.x, exact, atol=1e-12)
    exact = jax.jit(jax.vmap(lambda t: quadratic.oscillator(t, x0, optimizer.friction)))(flow.t)
    np.testing.assert_allclose(flow.x, exact, atol=1e-9)


@pytest.mark.parametrize(
    ("loss", "exact"),
    [
        ("quartic", lambda x, t: x / np.sqrt(1 + 2 * x**2 * t)),
        ("hilltop", lambda x, t: x * np.exp(t)),
        ("double well", lambda x, t: x * np.exp(t) / np.sqrt(1 + x**2 * (np.exp(2 * t) - 1))),
    ],
    ids=["quartic", "hilltop", "double well"],
)
def test_scalar_gradient_flows(loss, exact):
    run = integrate(SGD(0.04), polynomial(loss, [1.0, -0.5]), 50)
    for column, start in zip(run.x.T, (1.0, -0.5), strict=True):
        np.testing.assert_allclose(column, exact(start, np.asarray(run.t)), rtol=3e-8)


def test_loss_and_gradient_norm_belong_to_the_positions():
    run = iterate(Adam(0.1), bowl, 10)
    curvatures = np.array([1.0, 4.0])
    np.testing.assert_allclose(run.loss, np.asarray(run.x) ** 2 @ curvatures / 2, rtol=1e-15)
    np.testing.assert_allclose(
        run.grad_norm, np.linalg.norm(np.asarray(run.x) * curvatures, axis=1), rtol=1e-14
    )


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_the_flow_is_a_semigroup_unless_time_enters(name):
    """flow(s + t) = flow(t) ∘ flow(s), but Adam's bias correction knows the time of the start."""
    from scipy.integrate import solve_ivp

    long = integrate(catalogue[name](0.01), bowl, 40, save_every=2)
    half = integrate(catalogue[name](0.01), bowl, 20)
    if name == "momentum":
        optimizer, middle = catalogue[name](0.01), half.y
        start = np.concatenate([middle.x[-1], middle.p[-1]])
        field = jax.jit(
            lambda y: jnp.concatenate(
                optimizer.vector_field(0.0, type(middle)(*jnp.split(y, 2)), jax.grad(bowl.loss))
            )
        )
        second_half = solve_ivp(
            lambda t, y: field(y),
            (0, 20 * float(optimizer.h)),
            start,
            "DOP853",
            rtol=1e-11,
            atol=1e-13,
        )
        np.testing.assert_allclose(second_half.y[:2, -1], long.x[-1], atol=1e-8)
    else:
        restarted = integrate(catalogue[name](0.01), bowl, 20, x0=half.x[-1])
        assert np.abs(restarted.x[-1] - long.x[-1]).max() > 1e-4


# --- solvers


@pytest.mark.parametrize(
    "solver", [diffrax.Dopri8(), diffrax.Kvaerno5()], ids=["Dopri8", "Kvaerno5"]
)
def test_solvers_agree(solver):
    optimizer = Adam(0.05)
    other = integrate(optimizer, bowl, 20, solver=solver, rtol=1e-9)
    np.testing.assert_allclose(other.x, integrate(optimizer, bowl, 20).x, atol=1e-7)
    assert other.stats["solver"] == type(solver).__name__


def test_the_euler_solver_on_the_flow_of_sgd_is_sgd():
    """For h a power of two every time t = k h is exact; one fused multiply-add per step remains."""
    optimizer = SGD(2.0**-4)
    euler = integrate(optimizer, bowl, 50, solver=diffrax.Euler())
    np.testing.assert_allclose(euler.x[:31], iterate(optimizer, bowl, 50).x[:31], rtol=2e-14)


def test_a_stiff_flow_is_solved_by_an_implicit_solver():
    run = integrate(SGD(0.02), stiff, 50)
    assert run.stats["solver"] == "Kvaerno5"
    np.testing.assert_allclose(run.x[-1], [0, np.exp(-1)], atol=1e-7)


def test_a_tighter_tolerance_lowers_the_error():
    exact = np.exp(-np.outer(np.arange(51) * 0.1, [1.0, 4.0])) * np.array([1.0, -1.0])
    errors = [
        np.abs(integrate(SGD(0.1), bowl, 50, rtol=r).x - exact).max() for r in (1e-5, 1e-7, 1e-9)
    ]
    assert errors[0] > 5 * errors[1] > 25 * errors[2]


# --- shapes and dtypes


def test_a_pytree_position_goes_in_and_comes_out():
    flat = Problem(
        lambda x: jnp.cos(x[0]) + jnp.sum(x[1:] ** 2), [0.5, 1.0, 2.0, 3.0, 4.0], name="flat"
    )
    for run in (iterate, integrate):
        trees, vectors = run(Adam(0.1), network, 5), run(Adam(0.1), flat, 5)
        assert trees.x["w"].shape == (6, 2, 2) and trees.x["b"][0].shape == (6,)
        assert trees.y.x.shape == trees.y.m.shape == (6, 5)
        np.testing.assert_allclose(trees.x["w"].reshape(6, 4), vectors.x[:, 1:], rtol=1e-13)


def test_save_every_keeps_each_nth_point_of_the_same_run():
    dense, thin = iterate(Adam(0.1), bowl, 60), iterate(Adam(0.1), bowl, 60, save_every=20)
    np.testing.assert_array_equal(thin.t, dense.t[::20])
    np.testing.assert_allclose(thin.x, dense.x[::20], rtol=1e-14)


def test_save_every_keeps_each_nth_point_of_the_same_flow():
    dense, thin = integrate(Adam(0.1), bowl, 20), integrate(Adam(0.1), bowl, 100, save_every=5)
    np.testing.assert_array_equal(thin.t[:5], dense.t[::5])
    np.testing.assert_allclose(thin.x[:5], dense.x[::5], atol=1e-9)


def test_memory_is_flat_in_the_number_of_steps():
    """A million steps of which eleven points are saved give a trajectory of eleven points."""
    run = iterate(SGD(1e-6), bowl, 1_000_000, save_every=100_000)
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(run)) < 2000
    np.testing.assert_allclose(run.x[-1], np.exp([-1.0, -4.0]) * [1, -1], rtol=1e-5)


def test_a_short_run_is_the_beginning_of_a_long_one():
    np.testing.assert_array_equal(
        iterate(Adam(0.1), bowl, 10).x, iterate(Adam(0.1), bowl, 60).x[:11]
    )


def test_no_steps_give_the_start_alone():
    for run in (iterate, integrate):
        start = run(SGD(0.1), bowl, 0)
        np.testing.assert_array_equal(start.x, [[1.0, -1.0]])
        assert start.status == Status.ok


@pytest.mark.parametrize("optimizer", [SGD(0.01), Adam(0.01)], ids=["sgd", "adam"])
@pytest.mark.parametrize(
    "run", [iterate, partial(integrate, max_steps=200)], ids=["iterate", "integrate"]
)
def test_the_dtype_of_the_start_is_kept(optimizer, run):
    single = run(optimizer, bowl32, 3)
    arrays = jax.tree.leaves((single.t, single.y, single.loss, single.grad_norm))
    assert {array.dtype for array in arrays} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", ["momentum", "adam"])
@pytest.mark.parametrize("run", [iterate, integrate])
def test_new_values_never_compile_again(name, run):
    traces = []

    def loss(x):
        traces.append(1)
        return jnp.sum(x**2) / 2

    counted = Problem(loss, [1.0, -1.0], name="counted")
    more = {} if run is iterate else {"rtol": 1e-8}
    run(catalogue[name](0.01), counted, 4, **more)
    first = len(traces)
    rates = {"momentum": {"momentum": 0.5}, "adam": {"b1": 0.5, "b2": 0.9, "eps": 1e-6}}
    more = {} if run is iterate else {"rtol": 1e-6, "atol": 1e-9}
    run(catalogue[name](0.02, **rates[name]), counted, 4, x0=[0.5, 0.1], **more)
    run(catalogue[name](0.02).refine(3), counted, 4, **more)
    assert len(traces) == first


def test_inputs_and_global_state_are_left_alone():
    x0 = np.array([1.0, -1.0])
    config = dict(jax.config.values)
    first = iterate(Adam(0.1), bowl, 10, x0=x0)
    x0[:] = 7
    np.testing.assert_array_equal(first.x, iterate(Adam(0.1), bowl, 10).x)
    integrate(Adam(0.1), bowl, 20)
    assert dict(jax.config.values) == config


def test_without_x64_everything_is_float32_and_nothing_turns_it_on():
    script = (
        "import jax, numpy as np, dynopt\n"
        "p = dynopt.Problem(lambda x: (x**2).sum(), np.array([1.0, 2.0]), name='p')\n"
        "a, b = dynopt.iterate(dynopt.Adam(0.1), p, 3), dynopt.integrate(dynopt.Adam(0.1), p, 3)\n"
        "print(a.x.dtype, b.x.dtype, b.status, jax.config.jax_enable_x64)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert out.split() == ["float32", "float32", "ok", "False"]


@pytest.mark.parametrize("run", [iterate, integrate])
def test_on_a_constant_loss_nothing_moves(run):
    constant = run(SGD(0.1), Problem(lambda x: 1.0, [0.0, 1.0], name="flat"), 3)
    assert constant.status == Status.ok and constant.loss.tolist() == [1.0] * 4
    assert (np.ptp(constant.y.x, axis=0) == 0).all()


# --- how runs end


def test_every_status_has_a_short_form_a_long_form_and_an_advice():
    for status in Status:
        assert Status(int(status)) is status and str(status) == status.name
        assert status.short and status.long.format(where="at step 3", t="0.3")
        assert bool(status.advice.format(dtype="float32")) == (status != Status.ok)


def test_a_diverging_run_names_the_step_and_keeps_its_beginning():
    with pytest.raises(
        SolverFailure,
        match=r"the map of SGD\(learning_rate=0.9\) on bowl diverged at step \d+: try a smaller "
        r"`learning_rate`, or keep the run with iterate\(\.\.\., throw=False\)\.",
    ) as caught:
        iterate(SGD(0.9), bowl, 50)
    partial = caught.value.partial
    assert caught.value.status == partial.status == Status.diverged
    k = int(partial.stats["first_bad_step"])
    assert partial.failure() == f"diverged at step {k}" and partial.failure() in str(caught.value)
    radius = (1 + np.sqrt(2)) / np.sqrt(np.finfo(float).eps)
    assert np.linalg.norm(partial.x[k - 1]) <= radius < np.linalg.norm(partial.x[k])
    assert partial.finite[k] and caught.value.t_reached == partial.t[partial.finite][-1]


def test_throw_false_returns_the_same_run():
    run = iterate(SGD(0.9), bowl, 50, throw=False)
    with pytest.raises(SolverFailure) as caught:
        iterate(SGD(0.9), bowl, 50)
    np.testing.assert_array_equal(run.x, caught.value.partial.x)
    np.testing.assert_allclose(run.x[:20, 1], -((1 - 0.9 * 4) ** np.arange(20)), rtol=1e-13)
    assert run.status == Status.diverged
    assert str(run.status) == "diverged" and "diverged" in repr(run)


def test_leaving_the_domain_is_nonfinite():
    edge = Problem(Root(jnp.array(4.0), jnp.array(4.0)), [0.3], name="edge")
    run = iterate(SGD(1.0), edge, 5, throw=False)
    assert run.status == Status.nonfinite and run.stats["first_bad_step"] == 1
    with pytest.raises(SolverFailure, match="met NaN or infinity at step 1"):
        iterate(SGD(1.0), edge, 5)


def test_a_step_below_the_spacing_stalls():
    run = iterate(SGD(1e-12), bowl32, 3, throw=False)
    assert run.status == Status.stalled
    with pytest.raises(
        SolverFailure, match="never moved: each step is below the spacing of float32"
    ):
        iterate(SGD(1e-12), bowl32, 3)


def test_a_stationary_start_is_no_failure():
    for run in (iterate, integrate):
        still = run(SGD(0.1), bowl, 50, x0=[0.0, 0.0])
        assert still.status == Status.ok and still.failure() is None


@pytest.mark.parametrize("run", [iterate, integrate])
def test_a_start_without_a_finite_gradient_is_the_problems_fault(run):
    root = Problem(Root(jnp.array(0.0), jnp.array(-1.0)), [1.0], name="root")
    with pytest.raises(
        ProblemError, match="root starts where its loss is 0.0 and the norm of its gradient inf"
    ):
        run(SGD(0.1), root, 5, x0=[0.0])


def test_a_flow_that_blows_up_in_finite_time_is_diverged():
    """x′ = x² from 1 is 1/(1-t): gone at t = 1."""
    cubic = polynomial("cubic", [1.0, 1.0])
    run = integrate(SGD(0.12), cubic, 50, throw=False)
    assert run.status == Status.diverged and run.stats["first_bad_step"] == 9
    finite = np.asarray(run.finite)
    assert run.t[finite][-1] == pytest.approx(0.96)
    np.testing.assert_allclose(run.x[finite, 0], 1 / (1 - np.asarray(run.t[finite])), rtol=1e-7)
    assert run.last[0] == run.x[finite, 0][-1]
    runs = jax.tree.map(lambda a: jnp.stack([a, a]), run)
    with pytest.raises(InvalidType, match="`last` is that of one run, got a batch of 2 runs; take"):
        runs.last  # noqa: B018
    assert jax.tree.map(lambda a: a[0], runs).last[0] == run.last[0]
    with pytest.raises(SolverFailure, match=r"the flow of .* on cubic diverged at t = 0\.96: try"):
        integrate(SGD(0.12), cubic, 50)


def test_too_few_solver_steps_say_so():
    with pytest.raises(
        SolverFailure,
        match=r"could not be solved beyond t = .*: the solver used up its steps; use "
        r"diffrax.Kvaerno5\(\) or more `max_steps`, or keep the run with integrate\(",
    ):
        integrate(SGD(0.02), stiff, 50, solver=diffrax.Tsit5())


def test_a_tolerance_finer_than_the_dtype_says_so():
    with pytest.raises(
        SolverFailure, match="tolerance is out of reach in float32; loosen `rtol` or use float64"
    ) as caught:
        integrate(Adam(0.1), bowl32, 3, rtol=1e-12, atol=1e-15, max_steps=200)
    assert caught.value.partial.stats["solver_steps"] == 200


def test_rmsprop_without_eps_has_a_finite_vector_field_where_its_memory_vanishes():
    square = Problem(lambda x: jnp.sum(x**2), [1.0], name="square")
    optimizer, grad = RMSprop(0.1, eps=0.0), jax.grad(square.loss)
    dy = jax.jit(lambda x: optimizer.vector_field(0.0, optimizer.init(x, grad), grad))
    assert np.isfinite(dy(jnp.array([1.0])).x).all()


# --- bad input

unchecked = pytest.mark.usefixtures("as_users_see_it")


@unchecked
@pytest.mark.parametrize("run", [iterate, integrate])
@pytest.mark.parametrize(
    ("steps", "error", "words"),
    [
        (-1, InvalidValue, "`steps` must be a whole number of at least 0, got -1"),
        (10.5, InvalidValue, "got 10.5"),
        (float("nan"), InvalidValue, "got nan"),
        (float("inf"), InvalidValue, "got inf"),
        (True, InvalidType, "got True"),
        ("3", InvalidType, "got '3'"),
        (None, InvalidValue, "got None"),
        ([3], InvalidType, r"got \[3\]"),
    ],
)
def test_steps_must_be_a_whole_number(run, steps, error, words):
    with pytest.raises(error, match=words):
        run(SGD(0.1), bowl, steps)


@unchecked
def test_whole_floats_are_steps():
    assert iterate(SGD(0.1), bowl, 1e1).t.shape == (11,)


def test_a_flow_can_be_saved_several_times_in_each_step():
    dense, thin = (integrate(SGD(0.1), bowl, 5, save_every=every) for every in (1 / 4, 1))
    assert np.array_equal(dense.t[::4], thin.t)
    assert np.array_equal(dense.y.x[::4], thin.y.x)
    with pytest.raises(InvalidValue, match="or 1/n, got 0.3; pass for example save_every=1/3"):
        integrate(SGD(0.1), bowl, 5, save_every=0.3)
    for given in (0.0, -0.5, float("nan")):
        with pytest.raises(InvalidValue, match=f"or 1/n, got {given}; pass .* save_every=1/2"):
            integrate(SGD(0.1), bowl, 5, save_every=given)


def test_a_solver_without_tolerances_takes_one_step_per_time_h_whatever_is_saved():
    """(1 - h)^8 at h = 0.1, and not (1 - 4h)^2."""
    flow = integrate(SGD(0.1), bowl, 8, save_every=4, solver=diffrax.Euler())
    np.testing.assert_allclose(flow.t, [0, 0.4, 0.8], rtol=1e-14)
    np.testing.assert_allclose(flow.x[:, 0], flow.x[0, 0] * 0.9 ** np.array([0, 4, 8]), rtol=1e-13)
    with pytest.raises(InvalidValue, match="Euler has no error estimate .* pass save_every=1, or"):
        integrate(SGD(0.1), bowl, 8, save_every=1 / 3, solver=diffrax.Euler())


def test_save_every_must_divide_the_steps():
    with pytest.raises(
        InvalidValue, match="`save_every` is 3, which does not divide the 10 `steps`; use a divisor"
    ):
        iterate(SGD(0.1), bowl, 10, save_every=3)


def test_a_trajectory_beyond_the_memory_is_refused_before_it_starts():
    with pytest.raises(
        InvalidValue, match="would take 15 GiB, more than 4; pass for example save_every=10"
    ):
        iterate(SGD(0.1), bowl, 10**9)
    wide = Problem(lambda x: (x**2).sum(), np.ones(100), name="wide")
    with pytest.raises(
        InvalidValue, match="would take 745 GiB, more than 4; pass for example save_every=1000"
    ):
        integrate(SGD(0.1), wide, 10**9)
    with pytest.raises(
        InvalidValue, match="577 GiB, more than 4; pass for example save_every=1458"
    ):
        iterate(SGD(0.1), wide, 2 * 3**18)  # 1458 = 2 * 3**6 is its first divisor above 1000
    with pytest.raises(
        InvalidValue, match="`steps` must be a whole number of at most 1000000000, got 3000000000"
    ):
        iterate(SGD(0.1), bowl, 3 * 10**9)


@pytest.mark.parametrize("option", ["rtol", "atol"])
@pytest.mark.parametrize("value", [0, -1e-9, float("nan")])
def test_tolerances_must_be_positive(option, value):
    with pytest.raises(InvalidValue, match=f"`{option}`"):
        integrate(SGD(0.1), bowl, 5, **{option: value})


@unchecked
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            (0.1, bowl, 5),
            r"`optimizer` must be an optimizer of dynopt such as dynopt.SGD\(0.1\), got 0.1",
        ),
        ((SGD, bowl, 5), "`optimizer` must be an optimizer of dynopt"),
        ((SGD(0.1), lambda x: x, 5), r"`problem` must be a dynopt.Problem, .*wrap a loss as"),
    ],
)
@pytest.mark.parametrize("run", [iterate, integrate])
def test_arguments_of_the_wrong_type_are_refused(run, arguments, words):
    with pytest.raises(InvalidType, match=words):
        run(*arguments)


@unchecked
def test_a_solver_is_an_instance():
    with pytest.raises(InvalidType, match="`solver` must be a diffrax solver, got .*Tsit5"):
        integrate(SGD(0.1), bowl, 5, solver=diffrax.Tsit5)


@pytest.mark.parametrize(
    "solver",
    [diffrax.KenCarp4(), diffrax.SemiImplicitEuler()],
    ids=["KenCarp4", "SemiImplicitEuler"],
)
def test_a_solver_of_split_equations_is_refused(solver):
    with pytest.raises(
        InvalidType,
        match=f"`solver` {type(solver).__name__} splits its equation into several terms, but a "
        "flow has one",
    ):
        integrate(SGD(0.1), bowl, 5, solver=solver)
