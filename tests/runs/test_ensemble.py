"""Paths of stochastic flows, one by `integrate` and many of flow or map by `ensemble`."""

import itertools
from functools import cache, partial

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import dynopt
from dynopt import (
    SGD,
    Adam,
    Langevin,
    Layerwise,
    Minibatch,
    Modified,
    Momentum,
    Noisy,
    Problem,
    RMSprop,
    Status,
    WithGradient,
    ensemble,
    integrate,
    iterate,
)
from dynopt.derivations.stochastic import StochasticEquation
from dynopt.errors import InvalidType, InvalidValue
from dynopt.runs import lanes
from dynopt.runs.prepare import fit_to_start, flatten_loss

H, SIGMA, STEPS, PATHS = 0.1, 1.0, 20, 4000
CURVATURES, START = np.array([1.0, 3.0]), np.array([1.0, 2.0])
T = H * STEPS


class Bowl(eqx.Module):
    """Its curvatures are data, so that one compilation serves all."""

    curvatures: np.ndarray

    def __call__(self, x):
        return jnp.vdot(x * jnp.asarray(self.curvatures), x) / 2


bowl = Problem(Bowl(CURVATURES), START, name="bowl")
flat = Problem(Bowl(np.zeros(2)), [0.0, 0.0], name="flat")
one = Problem(lambda x: (x**2).sum() / 2, [1.0], name="one")
steep = Problem(lambda x: (x**4).sum(), [0.0], name="steep")
fit = Problem(
    lambda x, data: ((data - x[None]) ** 2).sum(-1).mean() / 2,
    [3.0],
    data=np.array([[0.0], [1.0], [5.0]]),
    name="fit",
)
noisy = Noisy(SGD(H), SIGMA)


def assert_normal(samples, mean, variance):
    """Mean and variance of independent samples within 4.5 standard errors of the right ones."""
    n = len(samples)
    assert (np.abs(samples.mean(0) - mean) < 4.5 * np.sqrt(variance / n)).all()
    assert (np.abs(samples.var(0) / variance - 1) < 4.5 * np.sqrt(2 / n)).all()


@cache
def paths_of_map():
    return ensemble(noisy, bowl, STEPS, PATHS, save_every=10)


def test_the_paths_of_a_map_have_the_moments_of_its_recursion():
    """xₖ₊₁ = (1 - hλ) xₖ - hσ ξₖ."""
    decay = 1 - H * CURVATURES
    variance = (H * SIGMA) ** 2 * (1 - decay ** (2 * STEPS)) / (1 - decay**2)
    paths = paths_of_map()
    assert_normal(np.asarray(paths.x[:, -1]), decay**STEPS * START, variance)
    assert paths.x.shape == (PATHS, 3, 2) and paths.kind == "map"
    np.testing.assert_allclose(paths.t, [0, 10 * H, 20 * H], rtol=1e-12)


MOMENTS = {  # of the Ornstein-Uhlenbeck process dx = -λ x dt + √h σ dW
    "mean": np.exp(-CURVATURES * T) * START,
    "variance": H * SIGMA**2 * (1 - np.exp(-2 * CURVATURES * T)) / (2 * CURVATURES),
}


@pytest.mark.parametrize(
    ("optimizer", "solver"),
    [(noisy, None), (Noisy(SGD(H), root=SIGMA * np.eye(2)).refine(4), diffrax.EulerHeun())],
    ids=["ShARK", "EulerHeun"],
)
def test_the_paths_of_a_flow_have_the_moments_of_its_equation(optimizer, solver):
    """For additive noise a solver in Stratonovich's sense is right, too."""
    steps = round(T / float(optimizer.h))
    paths = ensemble(optimizer, bowl, steps, PATHS, of="flow", save_every=steps // 2, solver=solver)
    assert_normal(np.asarray(paths.x[:, -1]), **MOMENTS)
    assert paths.kind == "flow" and paths.x.shape == (PATHS, 3, 2)


def test_the_steps_of_the_default_solver_are_as_short_as_the_documentation_says():
    """The variance in the long run is 1/(2λ) for dx = -λx dt + dW; four steps of ShARK in h = 1."""
    curvatures = np.array([1.0, 2.0, 4.0])
    stiff = Problem(lambda x: (jnp.asarray(curvatures) * x**2).sum() / 2, np.zeros(3), name="stiff")
    paths = ensemble(Noisy(SGD(1.0), 1.0), stiff, 10, 4000, of="flow", save_every=10)
    ratios = 2 * curvatures * np.diagonal(paths.cov[-1])
    error = (2 / 4000) ** 0.5
    assert (np.abs(ratios - [1.0, 0.94, 0.74]) < [0.03 + 2 * error, 4 * error, 4 * error]).all()


def test_the_equation_is_meant_in_the_sense_of_ito():
    """dx = -x dt + s x dW has E x = e^-t; in Stratonovich's sense it would be e^(s²/2 - 1)t."""
    root = Noisy(SGD(H), root=lambda x: 3.0 * x[:, None])
    assert (np.sqrt(H) * 3.0) ** 2 / 2 == pytest.approx(0.45)
    paths = ensemble(root, one, 10, PATHS, of="flow", save_every=10)
    mean, error = paths.average(paths.x[:, -1, 0])
    assert abs(mean - np.exp(-1)) < 4 * error < abs(np.exp(-0.55) - np.exp(-1)) / 2
    milstein = ensemble(
        root, one, 10, PATHS, of="flow", save_every=10, solver=diffrax.ItoMilstein()
    )
    assert abs(milstein.mean[-1, 0] - np.exp(-1)) < 4 * milstein.stderr[-1, 0] + H / 2


def test_brownian_increments_are_independent_from_step_to_step_and_within_a_step():
    """On a flat loss x is √h σ W, at the times of the solver's own steps, in float64."""
    paths = ensemble(Noisy(SGD(H), SIGMA), flat, 2, PATHS, of="flow")
    moves = np.diff(np.asarray(paths.x), axis=1).reshape(PATHS, -1)
    assert_normal(moves, 0, np.full(4, (H * SIGMA) ** 2))
    correlations = np.corrcoef(moves.T) - np.eye(4)
    assert np.abs(correlations).max() < 4.5 / PATHS**0.5
    fine = np.diff(integrate(Noisy(SGD(H), SIGMA), flat, 500, save_every=1 / 4).x[:, 0])
    assert len(fine) == 2000 == len(set(fine.tolist()))
    assert_normal(fine, 0, H**2 * SIGMA**2 / 4)
    assert abs(np.corrcoef(fine[1:], fine[:-1])[0, 1]) < 4.5 / 2000**0.5


def test_each_path_is_the_run_with_its_key():
    keys = jax.random.split(jax.random.key(5), 3)
    maps, flows = (ensemble(noisy, bowl, 4, 3, key=5, of=of) for of in ("map", "flow"))
    for i, key in enumerate(keys):
        optimizer = Noisy(SGD(H), SIGMA, key=key)
        np.testing.assert_allclose(maps.x[i], iterate(optimizer, bowl, 4).x, rtol=1e-12)
        np.testing.assert_allclose(flows.x[i], integrate(optimizer, bowl, 4).x, rtol=1e-12)


def test_statistics_are_those_of_numpy():
    paths = paths_of_map()
    x = np.asarray(paths.x)
    np.testing.assert_allclose(paths.mean, x.mean(0), rtol=1e-12)
    expected = x.std(0, ddof=1) / PATHS**0.5
    np.testing.assert_allclose(paths.stderr, expected, rtol=1e-12, atol=1e-14)
    for k in range(3):
        np.testing.assert_allclose(paths.cov[k], np.cov(x[:, k].T), rtol=1e-10, atol=1e-14)
    quantiles = paths.quantile([0.1, 0.5])
    np.testing.assert_allclose(quantiles, np.quantile(x, [0.1, 0.5], axis=0), rtol=1e-12)
    mean, error = paths.average(paths.loss[:, -1] ** 2)
    assert mean == pytest.approx(float((paths.loss[:, -1] ** 2).mean()))
    assert error == pytest.approx(np.std(paths.loss[:, -1] ** 2, ddof=1) / PATHS**0.5)


def test_paths_that_fail_are_counted_and_left_out():
    """On x⁴ the map leaves for infinity where h |f″| = 12 h x² is far above 2."""
    with pytest.warns(UserWarning, match=r"\d+ of 400 paths of the map of Noisy.* failed; the"):
        paths = ensemble(Noisy(SGD(H), 6.0), steep, 200, 400)
    failed = 400 - int(paths.num_ok)
    assert 20 < failed < 380 and f"{failed} diverged" in repr(paths)
    assert (paths.result[~paths.ok] == Status.diverged).all()
    assert (np.asarray(paths.first_bad_step[~paths.ok]) > 0).all()
    right = np.asarray(paths.x[paths.ok])
    np.testing.assert_allclose(paths.mean, right.mean(0), rtol=1e-10)
    np.testing.assert_allclose(paths.quantile(0.3), np.quantile(right, 0.3, axis=0), rtol=1e-10)
    np.testing.assert_allclose(paths.cov[-1, 0, 0], right[:, -1, 0].var(ddof=1), rtol=1e-10)


def test_paths_that_an_interrupt_left_undone_are_not_called_failed(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(lanes, "run", interrupted)
    with pytest.warns(UserWarning, match="you stopped the sweep after 0 of 50 runs") as caught:
        paths = ensemble(noisy, bowl, 5, 50)
    assert len(caught) == 1 and (paths.result == Status.interrupted).all()
    assert "50 interrupted" in repr(paths)


@pytest.mark.parametrize("optimizer", [RMSprop(H, decay=0.98, initial_scale=1.0), Adam(H)])
def test_noise_leaves_second_moments_positive(optimizer):
    assert ensemble(Noisy(optimizer, 2.0), one, 60, 100, of="flow").ok.all()


def test_positions_may_be_trees_and_starts_may_differ():
    tree = Problem(lambda x: (x["a"] ** 2).sum() + x["b"] ** 2, {"a": [1.0, 2.0], "b": 3.0})
    starts = {"a": np.arange(10.0).reshape(5, 2), "b": np.arange(5.0)}
    paths = ensemble(Langevin(Momentum(0.01), 0.1), tree, 2, 5, x0=starts, of="flow")
    np.testing.assert_array_equal(paths.x["a"][:, 0], starts["a"])
    assert paths.mean["a"].shape == (3, 2) and paths.stderr["b"].shape == (3,)
    assert paths.cov.shape == (3, 3, 3) and paths.quantile(0.5)["b"].shape == (3,)


def test_factors_of_coordinates_are_no_paths():
    tree = Problem(
        lambda x: (x["a"] ** 2 + x["b"] ** 2) / 2, {"a": 1.0, "b": 1.0, "n": np.array([2])}
    )
    frozen = Layerwise(Noisy(SGD(H), sigma=0.0), {"a": 0.0})
    paths = ensemble(frozen, tree, 5, 2, of="flow")  # as many paths as coordinates
    np.testing.assert_array_equal(paths.x["a"], np.ones((2, 6)))
    np.testing.assert_allclose(paths.x["b"], [np.exp(-paths.t)] * 2, rtol=1e-4)
    np.testing.assert_array_equal(paths.quantile(0.5)["n"], np.full((6, 1), 2))


def test_minibatches_have_the_moments_of_their_equation():
    """On aᵢ (x - cᵢ)²/2 the noise depends on x, and (1, E x, E x²) obeys a linear equation.

    dx = (E ac - E a x) dt + √h S(x) dW with S² the variance of aᵢ x - aᵢcᵢ for batches of one.
    """
    a, b = np.array([0.5, 1.0, 3.0]), np.array([0.5, 2.0, -3.0])
    problem = Problem(
        lambda x, data: (data[0] * x**2 / 2 - data[1] * x).mean(), 3.0, data=(a, b), name="three"
    )
    paths = ensemble(Minibatch(SGD(H), 1), problem, 10, 2000, of="flow", save_every=10)
    samples, noise = np.asarray(paths.x[:, -1]), H * np.cov(a, b, bias=True)
    generator = np.array(
        [
            [0, 0, 0],
            [b.mean(), -a.mean(), 0],
            [noise[1, 1], 2 * b.mean() - 2 * noise[0, 1], noise[0, 0] - 2 * a.mean()],
        ]
    )
    _, *expected = scipy.linalg.expm(10 * H * generator) @ [1, 3, 9]
    for values, mean in ((samples, expected[0]), (samples**2, expected[1])):
        error = values.std() / len(values) ** 0.5
        assert abs(values.mean() - mean) < 4 * error + H / 16 * abs(mean)


def test_a_path_is_differentiable_in_both_modes():
    """Paths of the additive equation are linear in σ, and smooth in h for one key."""

    def end(rate, sigma):
        return integrate(Noisy(SGD(rate), sigma), bowl, 3).x[-1].sum()

    by_rate, by_sigma = map(float, jax.grad(end, argnums=(0, 1))(H, SIGMA))
    _, forward = jax.jvp(end, (H, SIGMA), (1.0, 0.0))
    np.testing.assert_allclose(forward, by_rate, rtol=1e-10)
    np.testing.assert_allclose(SIGMA * by_sigma, end(H, SIGMA) - end(H, 0.0), rtol=1e-10)
    difference = (end(H + 1e-5, SIGMA) - end(H - 1e-5, SIGMA)) / 2e-5
    np.testing.assert_allclose(by_rate, difference, rtol=1e-6)


def test_under_jit_a_path_is_the_same():
    run = jax.jit(lambda rate: integrate(Minibatch(SGD(rate), 2), fit, 3))(H)
    np.testing.assert_allclose(run.x, integrate(Minibatch(SGD(H), 2), fit, 3).x, rtol=1e-12)
    assert run.stats["solver"] == "Euler" and run.stats["solver_steps"] == 48


def test_under_jit_noise_is_pushed_through_the_same_vector_field():
    """Where the numbers of the optimizer are hidden, its kind is found as well."""
    end = jax.jit(lambda rate: integrate(Noisy(Adam(rate, b2=0.99), SIGMA), one, 3).x[-1])(H)
    expected = integrate(Noisy(Adam(H, b2=0.99), SIGMA), one, 3).x[-1]
    np.testing.assert_allclose(end, expected, rtol=1e-12)


def test_the_first_bad_step_is_counted_in_steps_of_the_map():
    fine = integrate(noisy, one, 2, save_every=1 / 4)
    assert fine.x.shape[0] == 9 and fine.stats["first_bad_step"] == -1
    steep = Problem(lambda x: -(x**4).sum(), [1.0], name="steep")
    bad = [
        int(integrate(noisy, steep, 8, save_every=n, throw=False).stats["first_bad_step"])
        for n in (1, 1 / 4)
    ]
    assert bad[0] == bad[1] > 0


def test_a_path_may_be_saved_and_loaded(tmp_path):
    run = integrate(Modified(noisy), bowl, 3)
    run.save(tmp_path / "path.npz")
    again = dynopt.Trajectory.load(tmp_path / "path.npz")
    assert eqx.tree_equal(again.x, run.x) and repr(again) == repr(run)
    assert run.stats["solver"] == "ShARK" and run.stats["rtol"] == 0


def test_the_mean_over_all_epochs_without_replacement_follows_its_modified_flow():
    """All 24 orders of four examples: the error of an epoch is O(h³), and O(h²) without it."""
    A = jnp.array([[1.0, 0.3], [-0.5, 1.2], [0.8, -0.9], [0.2, 0.7]])

    def loss(x, data):
        return (jnp.sin(data @ x) + (data @ x) ** 2 * x[0] / 2).mean()

    curved = Problem(loss, [0.4, -0.6], data=A, name="curved")
    orders = np.array(list(itertools.permutations(range(4))))

    @partial(jax.jit, static_argnums=1)
    def mean_end(h, size):
        """The mean of the last points, by the sums of the gradients of the examples."""

        def end(order):
            x = curved.start()
            for begin in range(0, 4, size):
                batch = [jax.grad(loss)(x, A[order[begin + j], None]) for j in range(size)]
                x = x - h * sum(batch) / size
            return x

        return jax.vmap(end)(orders).mean(0)

    for size in (1, 2):
        errors = {SGD: [], Modified: []}
        for h in (0.01, 0.005):
            for optimizer in (SGD(h), Modified(Minibatch(SGD(h), size, replace=False))):
                end = integrate(optimizer, curved, 4 // size, rtol=1e-12).x[-1]
                errors[type(optimizer)].append(float(jnp.abs(mean_end(h, size) - end).max()))
        for kind, order in ((SGD, 2), (Modified, 3)):
            slopes = np.diff(np.log2(errors[kind]))
            np.testing.assert_allclose(-slopes, order, atol=0.15)


state_dependent = Noisy(SGD(H), root=lambda x: x[:, None])


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: ensemble(SGD(H), bowl, 3), InvalidValue, "has no noise, so all its paths are one"),
        (lambda: ensemble(noisy, bowl, 3, 1), InvalidValue, "`paths` must be a whole number of at"),
        (lambda: ensemble(noisy, bowl, 3, of="x"), InvalidValue, "`of` is 'x'; pass \"map\" or"),
        (
            lambda: ensemble(noisy, bowl, 3, solver=diffrax.Euler()),
            InvalidValue,
            '`solver` is for flows, but `of` is "map"',
        ),
        (lambda: ensemble(noisy, bowl, 3, save_every=2), InvalidValue, "which does not divide"),
        (
            lambda: ensemble(noisy, bowl, 3, 5, x0=np.zeros((4, 2))),
            InvalidValue,
            r"`x0` holds starts of the shape \(4,\), but there are 5 paths",
        ),
        (
            lambda: ensemble(noisy, bowl, 10, 10**9),
            InvalidValue,
            "the ensemble would take .* GiB, more than 4; take fewer `paths`, or keep less",
        ),
        (lambda: ensemble(noisy, bowl, 3, key="a"), InvalidType, "`key` must be a seed"),
        (lambda: integrate(noisy, bowl, 3, rtol=1e-3), InvalidValue, "`rtol` is 0.001, but a stoc"),
        (
            lambda: integrate(noisy, bowl, 3, solver=diffrax.Tsit5()),
            InvalidValue,
            "`solver` Tsit5 solves ordinary differential equations, but .*; pass for example",
        ),
        (
            lambda: integrate(state_dependent, bowl, 3, solver=diffrax.ShARK()),
            InvalidValue,
            "`solver` ShARK solves equations in the sense of Stratonovich, .* leave `solver` out",
        ),
        (
            lambda: integrate(noisy, bowl, 3, solver=diffrax.QUICSORT(0.1)),
            InvalidValue,
            "`solver` QUICSORT solves equations in the terms of Langevin dynamics alone",
        ),
        (lambda: integrate(noisy, bowl, 3, solver="Euler"), InvalidType, "`solver` must be a solv"),
        (
            lambda: integrate(Minibatch(SGD(H), 1, replace=False), fit, 3),
            InvalidValue,
            "draws without replacement: the noise of an epoch sums to nearly 0",
        ),
    ],
)
def test_an_error_says_what_is_wrong_and_what_to_type(call, kind, message, as_users_see_it):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize(
    ("optimizer", "brownian"),
    [
        (noisy, (1, 2)),
        (Noisy(Adam(H), SIGMA), (3, 2)),
        (Noisy(WithGradient(SGD(H), lambda g: g / (1 + g @ g)), SIGMA), (16,)),
        (Modified(noisy), (2,)),
    ],
)
def test_each_coordinate_has_brownian_motions_of_its_own_where_nothing_couples_them(
    optimizer, brownian
):
    x, _, grad = flatten_loss(bowl.loss, bowl.start())
    equation = StochasticEquation(fit_to_start(optimizer, bowl.start(), x.dtype), x)
    y = optimizer.init(x, grad)
    assert equation.brownian_shape(jnp.asarray(0.0), y, grad) == brownian
    columns = equation.columns(jnp.asarray(H), y, grad)
    units = jnp.eye(np.prod(brownian)).reshape(-1, *brownian)
    moves = np.stack([equation.combine(columns, unit).x for unit in units])
    if optimizer is noisy:
        np.testing.assert_allclose(moves.T @ moves, H * SIGMA**2 * np.eye(2), rtol=1e-12)
    else:
        assert np.linalg.matrix_rank(moves) == (0 if optimizer.name == "Noisy(Adam)" else 2)
