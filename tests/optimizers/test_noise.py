"""Noisy gradients, minibatches and Langevin dynamics, as maps."""

from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import dynopt
from dynopt import (
    SGD,
    Accumulated,
    Adam,
    Averaged,
    Extragradient,
    Langevin,
    Minibatch,
    Modified,
    Momentum,
    Noisy,
    Problem,
    RMSprop,
    Stepped,
    WithGradient,
    analysis,
    ensemble,
    grid,
    integrate,
    iterate,
    problems,
    sweep,
)
from dynopt.errors import InvalidType, InvalidValue
from dynopt.optimizers import catalogue
from dynopt.optimizers.wrappers.noise import noise_of, replace_noise
from dynopt.optimizers.wrappers.probing import (
    acts_on_each_coordinate,
    is_affine_in_gradient,
    is_quadratic_in_gradient,
    positive_memories,
)
from dynopt.runs.prepare import flatten_loss

H, SIGMA = 0.25, 0.5
DATA = np.random.default_rng(0).normal(size=(12, 2))
flat = Problem(lambda x: 0.0 * x.sum(), [0.0, 0.0], name="flat")
bowl = Problem(lambda x: (x**2).sum() / 2, [1.0, 2.0], name="bowl")
line = Problem(lambda x, data: (data @ x).mean(), [0.0, 0.0], data=DATA, name="line")
fit = Problem(
    lambda x, data: ((data - x[None]) ** 2).sum(-1).mean() / 2, [1.0, 2.0], data=DATA, name="fit"
)


def steps_of(optimizer, problem, steps=3, paths=4000):
    """The displacements of the first steps of many paths, of shape (paths, steps, 2)."""
    return np.diff(np.asarray(ensemble(optimizer, problem, steps, paths).x), axis=1)


def assert_covariance(samples, expected):
    """The mean products of samples with mean 0 are within 4.5 standard errors of the right ones."""
    products = samples[:, :, None] * samples[:, None, :]
    error = products.std(0) / len(samples) ** 0.5
    assert (np.abs(products.mean(0) - expected) < 4.5 * error).all()
    assert (error < 0.1 * np.abs(expected).max()).all()


# --- noise


def test_the_noise_of_a_step_is_normal_and_independent_of_that_of_other_steps_and_coordinates():
    """On a flat loss x moves by -h σ ξ; all six numbers of three steps have covariance (hσ)² 1."""
    moves = steps_of(Noisy(SGD(H), SIGMA), flat).reshape(-1, 6)
    assert (np.abs(moves.mean(0)) < 4.5 * H * SIGMA / len(moves) ** 0.5).all()
    assert_covariance(moves, (H * SIGMA) ** 2 * np.eye(6))
    assert (np.abs((moves / (H * SIGMA)) ** 4).mean(0) - 3 < 0.5).all()  # the fourth moment


def test_a_root_gives_the_noise_its_covariance():
    root = np.array([[1.0, 0.0, 2.0], [0.5, -1.0, 0.0]])
    moves = steps_of(Noisy(SGD(H), root=root), flat, 1)[:, 0]
    assert_covariance(moves, H**2 * root @ root.T)


def test_a_root_may_depend_on_the_position_which_is_that_of_the_problem():
    tree = Problem(lambda x: 0.0 * (x["a"].sum() + x["b"]), {"a": [1.0, 2.0], "b": 3.0})
    seen = []

    def root(x):
        seen.append(x)
        return jnp.concatenate([x["a"], x["b"][None]])[:, None]

    run = iterate(Noisy(SGD(H), root=root), tree, 1)
    move = np.append(np.diff(run.x["a"], axis=0), np.diff(run.x["b"]))
    np.testing.assert_allclose(move / move[0], [1.0, 2.0, 3.0], rtol=1e-12)
    assert seen[0].keys() == {"a", "b"}


class Twice(dynopt.AbstractOptimizer):
    """It asks for two gradients at one position, and moves by 1 and by their difference."""

    h: float

    class State(NamedTuple):
        x: jnp.ndarray

    def init(self, x, grad):
        return self.State(x)

    def step(self, t, y, grad):
        return self.State(y.x + 1 + (grad(y.x) - grad(y.x)))

    def vector_field(self, t, y, grad):
        return self.State(jnp.ones_like(y.x) / self.h)


def test_all_gradients_of_one_step_have_the_same_noise():
    run = iterate(Noisy(Twice(0.1), 1.0), bowl, 3)
    np.testing.assert_array_equal(run.x, bowl.x0 + np.arange(4.0)[:, None])
    on_bowl = iterate(Extragradient(Noisy(SGD(H), SIGMA)), bowl, 1).x[1] - bowl.x0
    plain = iterate(Noisy(SGD(H), SIGMA), bowl, 1).x[1] - bowl.x0
    # x - h (H (x - h(x + ξ)) + ξ) for the Hessian matrix 1, with the ξ of the plain step.
    np.testing.assert_allclose(on_bowl, (1 - H) * plain, rtol=1e-12)


def test_the_key_alone_decides_the_run():
    run = iterate(Noisy(SGD(H), SIGMA, key=7), bowl, 5)
    again = iterate(Noisy(SGD(H), SIGMA, key=jax.random.key(7)), bowl, 5)
    other = iterate(Noisy(SGD(H), SIGMA, key=8), bowl, 5)
    np.testing.assert_array_equal(run.x, again.x)
    assert (run.x[1:] != other.x[1:]).all()


@pytest.mark.parametrize("kind", [SGD, Momentum, RMSprop])
def test_without_variance_the_map_is_that_of_the_inner_optimizer(kind):
    quiet, plain = iterate(Noisy(kind(0.01), 0.0), bowl, 5), iterate(kind(0.01), bowl, 5)
    np.testing.assert_allclose(quiet.x, plain.x, rtol=1e-14)


def test_refinement_keeps_the_temperature():
    """h σ² stays, so that n times as many steps have n times the variance each."""
    noisy = Noisy(SGD(H), SIGMA)
    assert noisy.refine(4).h == H / 4 and noisy.refine(4).sigma == 2 * SIGMA
    moves = steps_of(noisy.refine(4), flat, 1)[:, 0]
    assert_covariance(moves, H / 4 * (H * SIGMA**2) * np.eye(2))
    momentum = Noisy(Momentum(0.01), SIGMA).refine(9)
    assert momentum.optimizer.friction == Momentum(0.01).friction
    assert momentum.sigma == pytest.approx(3 * SIGMA, rel=1e-12)


@pytest.mark.parametrize(
    ("optimizer", "sigma"),
    [
        (Langevin(SGD(0.02), 0.5), (2 * 0.5 / 0.02) ** 0.5),
        (Langevin(Momentum(0.04, momentum=0.8), 0.5), (2 * 1.0 * 0.5 / 0.2) ** 0.5),  # h .2, a 1
    ],
)
def test_the_noise_of_langevin_dynamics_belongs_to_the_temperature(optimizer, sigma):
    assert optimizer.sigma == pytest.approx(sigma, rel=1e-12)
    assert optimizer.refine(7).temperature == pytest.approx(0.5, rel=1e-12)
    assert "temperature=0.5" in repr(optimizer.refine(7))


def test_a_sweep_batches_keys_and_noise_levels():
    sigmas = [0.0, 0.5, 2.0]
    swept = sweep(grid(lambda sigma: Noisy(SGD(H), sigma, key=3), sigma=sigmas), bowl, 4)
    for i, sigma in enumerate(sigmas):
        run = iterate(Noisy(SGD(H), sigma, key=3), bowl, 4)
        np.testing.assert_allclose(swept.x[i], run.x[-1], rtol=1e-13)
    keys = jax.random.split(jax.random.key(0), 3)
    batch = eqx.filter_vmap(lambda key: Noisy(SGD(H), SIGMA, key=key))(keys)
    swept = sweep(batch, bowl, 4)
    for i, key in enumerate(keys):
        run = iterate(Noisy(SGD(H), SIGMA, key=key), bowl, 4)
        np.testing.assert_allclose(swept.x[i], run.x[-1], rtol=1e-13)


def test_the_dtype_is_kept():
    start = jnp.array([1.0, 2.0], jnp.float32)
    small = Problem(lambda x: (x**2).sum() / 2, start, name="small")
    for optimizer in (Noisy(SGD(H), SIGMA), Noisy(SGD(H), root=np.eye(2))):
        assert iterate(optimizer, small, 2).x.dtype == jnp.float32
        assert integrate(optimizer, small, 2).x.dtype == jnp.float32


# --- minibatches


def test_the_root_is_that_of_the_covariance_of_a_batch_mean():
    noise = Minibatch(SGD(H), 3)
    _, _, grad = flatten_loss(fit.loss, fit.start())
    root = noise.root_at(jnp.array([0.3, -0.7]), grad)
    np.testing.assert_allclose(root.T @ root, np.cov(DATA.T, bias=True) / 3, rtol=1e-12)


@pytest.mark.parametrize("n", [1, 4, 0.75])
def test_the_covariance_of_a_batch_is_amplified_when_the_time_step_is_refined(n):
    """With r = √(2n - 1), ((1 + r)/2)² + ((1 - r)/2)² = n."""
    optimizer = Minibatch(SGD(H), 3) if n == 1 else Minibatch(SGD(H), 3).refine(n)
    moves = steps_of(optimizer, line, 1)[:, 0] + optimizer.h * DATA.mean(0)
    assert (np.abs(moves.mean(0)) < 4.5 * moves.std(0) / len(moves) ** 0.5).all()
    assert_covariance(moves, optimizer.h**2 * n * np.cov(DATA.T, bias=True) / 3)


def test_an_epoch_without_replacement_uses_every_example_once():
    """On a linear loss the gradients do not depend on x, and their sum over an epoch is known."""
    run = iterate(Minibatch(SGD(H), 3, replace=False, key=1), line, 12)
    np.testing.assert_allclose(run.x[4::4], -H * DATA.mean(0) * np.arange(4, 13, 4)[:, None])
    inside = np.diff(run.x, axis=0).reshape(3, 4, 2)
    assert not np.allclose(inside[0], inside[1]) and not np.allclose(inside[1], inside[2])


def test_a_batch_may_be_accumulated_over_parts():
    whole = iterate(Minibatch(Adam(H), 6), fit, 4)
    in_parts = iterate(Minibatch(Accumulated(Adam(H), 3), 6), fit, 4)
    np.testing.assert_allclose(in_parts.x, whole.x, rtol=1e-12)
    with pytest.raises(InvalidValue, match="`k` is 4, which does not divide batches of 6"):
        iterate(Minibatch(Accumulated(Adam(H), 4), 6), fit, 4)


def test_noise_and_accumulation_may_be_wrapped_in_either_order():
    outside = iterate(Noisy(Accumulated(SGD(H), 3), SIGMA), fit, 4)
    inside = iterate(Accumulated(Noisy(SGD(H), SIGMA), 3), fit, 4)
    np.testing.assert_allclose(outside.x, inside.x, rtol=1e-12)


def test_gradients_that_are_changed_over_each_part_keep_their_mean_inside_noise():
    signs = WithGradient(Noisy(Accumulated(SGD(H), 12), sigma=0.0), jnp.sign)
    start = np.zeros(2)  # there the examples have the gradients -DATA
    velocity = np.diff(integrate(signs, fit, 1, x0=start, save_every=1).x, axis=0)[0] / H
    np.testing.assert_allclose(velocity, np.sign(DATA).mean(0), rtol=1e-6)


# --- how noise enters a vector field


def test_which_optimizers_are_affine_in_the_gradient_is_known():
    """The vector fields of the catalogue, read: these hold g outside of products and roots."""
    affine = {
        *("sgd", "momentum", "nesterov", "nesterov_convex", "schedule_free", "optimistic"),
        *("signum", "muon"),  # a function of the mean, which is affine in g
    }
    x = jnp.zeros((1, 1))
    found = {name for name, kind in catalogue.items() if is_affine_in_gradient(kind(0.01), x)}
    assert found == affine
    x = jnp.zeros(3)
    assert is_affine_in_gradient(Averaged(Momentum(0.1), 2.0), x)
    for transform in (lambda g: jnp.clip(g, -1, 1), lambda g: g / (1 + g @ g)):
        assert not is_affine_in_gradient(WithGradient(SGD(0.1), transform), x)
    assert not is_affine_in_gradient(dynopt.SAM(SGD(0.1), 0.1), x)


@pytest.mark.parametrize("kink", [-1000.0, -1.0, 0.0, 500.0, 3e5])
def test_a_kink_in_one_coordinate_is_found_wherever_it_is(kink):
    bent = WithGradient(SGD(0.1), lambda g: jnp.maximum(g, kink))
    assert not is_affine_in_gradient(bent, jnp.zeros(1))
    assert not is_quadratic_in_gradient(bent, jnp.zeros(1))


def test_a_kink_is_found_if_a_schedule_ends_at_zero():
    bent = WithGradient(SGD(0.01), jnp.sign)
    for schedule in (optax.linear_schedule(1.0, 0.0, 50), optax.linear_schedule(0.0, 1.0, 50)):
        assert not is_affine_in_gradient(dynopt.Schedule(bent, schedule), jnp.zeros(2))
        assert is_affine_in_gradient(dynopt.Schedule(SGD(0.01), schedule), jnp.zeros(2))
        assert positive_memories(dynopt.Schedule(Adam(0.01), schedule), jnp.zeros(2)).keys() == {2}


def test_noise_may_be_refined_outside_of_layers_that_have_names():
    layers = dynopt.Layerwise(SGD(0.1), {"a": 0.5})
    assert float(Noisy(layers, 1.0).refine(4).sigma) == pytest.approx(2.0)
    with pytest.raises(InvalidValue, match="grows like 1/√h"):
        Noisy(dynopt.Layerwise(Adam(0.1), {"a": 0.5}), 1.0).refine(4)


def test_which_vector_fields_are_quadratic_in_the_gradient_is_known():
    """Adam and its relatives hold g and g²; Lion holds a sign of g itself."""
    x = jnp.zeros(1)
    for kind in (SGD, RMSprop, Adam, dynopt.AdaBelief):
        assert is_quadratic_in_gradient(kind(0.01), x)
    assert not is_quadratic_in_gradient(dynopt.Lion(0.01), x)
    for transform in (lambda g: jnp.clip(g, -1, 1), lambda g: g**3):
        assert not is_quadratic_in_gradient(WithGradient(SGD(0.1), transform), x)


def test_which_memories_stay_positive_is_known():
    x = jnp.zeros(2)
    for kind, place in ((RMSprop, 1), (Adam, 2), (dynopt.AdaBelief, 2)):  # (g - m)² in the last one
        optimizer = kind(0.1)
        tau = optimizer.tau if kind is RMSprop else optimizer.tau2
        assert positive_memories(optimizer, x) == {place: pytest.approx(1 / tau, rel=1e-6)}
    for optimizer in (Momentum(0.1), dynopt.Lion(0.1), WithGradient(Momentum(0.1), jnp.tanh)):
        assert positive_memories(optimizer, x) == {}


def test_noisy_muon_may_be_refined_as_it_is_affine_in_the_gradient():
    assert float(Noisy(dynopt.Muon(0.1), 1.0).refine(4).sigma) == pytest.approx(2.0)


def test_which_optimizers_act_on_each_coordinate_is_known():
    x = jnp.zeros(3)
    assert acts_on_each_coordinate(Adam(0.1), x)
    assert acts_on_each_coordinate(WithGradient(SGD(0.1), jnp.tanh), x)
    assert not acts_on_each_coordinate(WithGradient(SGD(0.1), lambda g: g / (1 + g @ g)), x)
    assert not acts_on_each_coordinate(dynopt.SAM(SGD(0.1), 0.1), x)


def test_noise_is_found_and_taken_away_at_any_depth():
    deep = Averaged(Accumulated(Noisy(SGD(H), SIGMA), 2), 1.0)
    assert isinstance(noise_of(deep), Noisy) and noise_of(Averaged(SGD(H), 1.0)) is None
    quiet = replace_noise(deep, lambda noise: noise.optimizer)
    assert repr(quiet) == repr(Averaged(Accumulated(SGD(H), 2), 1.0))


# --- errors

noisy, batches = Noisy(SGD(H), SIGMA), Minibatch(SGD(H), 3)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: Noisy(SGD(H)), InvalidValue, "neither of `sigma` and `root`"),
        (lambda: Noisy(SGD(H), 1.0, np.eye(2)), InvalidValue, "both of `sigma` and `root`"),
        (lambda: Noisy(SGD(H), -1.0), InvalidValue, r"`sigma` is -1, which is outside \[0, inf\)"),
        (lambda: Noisy(SGD(H), np.nan), InvalidValue, "`sigma` must be finite, got nan"),
        (lambda: Noisy(noisy, 1.0), InvalidValue, "is noisy already; wrap the optimizer inside"),
        (lambda: Noisy(SGD(H), root="S"), InvalidType, "`root` must be an array .*got 'S'"),
        (lambda: Noisy(SGD(H), root=[1.0]), InvalidValue, r"`root` has the shape \(1,\)"),
        (lambda: Noisy(SGD(H), root=[[np.inf]]), InvalidValue, "`root` holds numbers that are not"),
        (
            lambda: iterate(Noisy(SGD(H), root=np.eye(3)), bowl, 1),
            InvalidValue,
            r"`root` has the shape \(3, 3\), but the positions have 2 coordinates; .*eye\(2\)",
        ),
        (
            lambda: iterate(Noisy(SGD(H), root=lambda x: x), bowl, 1),
            InvalidValue,
            r"`root` has the shape \(2,\), but",
        ),
        (lambda: Noisy(SGD(H), 1.0, key="a"), InvalidType, "`key` must be a seed or a typed"),
        (lambda: Noisy(SGD(H), 1.0, key=True), InvalidType, "`key` must be a seed or a typed"),
        (lambda: Noisy(SGD(H), 1.0, key=-1), InvalidValue, "`key` must be a whole number"),
        (lambda: Noisy(SGD(H), 1.0, key=0.5), InvalidValue, "`key` must be a whole number"),
        (
            lambda: Noisy(SGD(H), 1.0, key=jax.random.PRNGKey(0)),
            InvalidType,
            r"`key` must be a seed or a typed random key.*jax.random.key\(0\)",
        ),
        (
            lambda: Noisy(SGD(H), 1.0, key=jax.random.split(jax.random.key(0))),
            InvalidType,
            "`key` holds 2 random keys, but an optimizer has one",
        ),
        (lambda: Noisy(3, 1.0), InvalidType, "`optimizer` must be an optimizer"),
        (lambda: noisy.optax(), InvalidValue, "optax has no transformation that draws the noise"),
        (lambda: Minibatch(SGD(H), 0), InvalidValue, "`size` must be a whole number of at least 1"),
        (lambda: iterate(batches, bowl, 1), InvalidValue, "minibatches need a problem over data"),
        (
            lambda: iterate(Accumulated(batches, 2), fit, 1),
            InvalidValue,
            "put Minibatch outside of wrappers that change or sum gradients",
        ),
        (
            lambda: iterate(Minibatch(SGD(H), 13), fit, 1),
            InvalidValue,
            "`size` is 13, but the problem has 12 examples",
        ),
        (
            lambda: iterate(Minibatch(SGD(H), 5, replace=False), fit, 1),
            InvalidValue,
            "`size` is 5, which does not divide the 12 examples; use a divisor, or replace=True",
        ),
        (
            lambda: batches.with_time_step(3 * H),
            InvalidValue,
            "the time step 0.75 is more than twice that of batches of 3, 0.25",
        ),
        (lambda: Langevin(Adam(H), 1.0), InvalidValue, "Langevin dynamics are known for SGD and"),
        (lambda: Langevin(SGD(H), -1.0), InvalidValue, "`temperature` is -1"),
        (
            lambda: Noisy(Adam(H), 1.0).refine(2),
            InvalidValue,
            "the noise in each gradient grows like 1/√h when the time step of Noisy.Adam",
        ),
        (
            lambda: Modified(Noisy(Adam(H), 1.0)),
            InvalidValue,
            "is known to order 2 for noise with the same law everywhere",
        ),
        (lambda: Modified(batches), InvalidValue, "is known to order 2 for noise with the same"),
        (lambda: Modified(noisy, order=3), InvalidValue, "is known to order 2 for noise"),
        (lambda: analysis.compare(noisy, bowl, 5), InvalidValue, "`compare` is for optimizers wi"),
        (lambda: analysis.order(noisy, bowl), InvalidValue, r"pass SGD\(learning_rate=0.25\), or"),
        (lambda: analysis.modified(noisy, bowl, 5), InvalidValue, "`modified` is for"),
        (lambda: analysis.local_error(noisy, bowl, 5), InvalidValue, "`local_error` is for"),
        (lambda: analysis.spectral_radius(noisy, 1.0), InvalidValue, "`spectral_radius` is for"),
        (lambda: analysis.critical_curvature(noisy), InvalidValue, "`critical_curvature` is for"),
        (lambda: analysis.spectrum(noisy, bowl), InvalidValue, "`spectrum` is for"),
        (lambda: analysis.implicit_bias(noisy, bowl), InvalidValue, "`implicit_bias` is for"),
        (lambda: analysis.rescaling(noisy, bowl, 5, 2.0), InvalidValue, "`rescaling` is for"),
        (lambda: analysis.inside(noisy, bowl), InvalidValue, "`inside` is for"),
        (lambda: analysis.check_optimizer(noisy), InvalidValue, "`check_optimizer` is for"),
        (lambda: analysis.basins(noisy, bowl, 5), InvalidValue, "`basins` is for optimizers"),
        (lambda: analysis.lyapunov(noisy, bowl, 5), InvalidValue, "`lyapunov` is for optimizers"),
        (lambda: analysis.sensitivity(noisy, bowl, 5), InvalidValue, "`sensitivity` is for"),
        (lambda: Stepped(noisy, diffrax.Heun()), InvalidValue, "`Stepped` is for optimizers wi"),
        (lambda: dynopt.Memoryless(noisy), InvalidValue, "wrap the memoryless optimizer instead"),
    ],
)
def test_an_error_says_what_is_wrong_and_what_to_type(call, kind, message, as_users_see_it):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize(
    "optimizer", [Noisy(SGD(H), root=np.eye(2)), Minibatch(SGD(H), 2), Noisy(SGD(H), 1.0)]
)
def test_the_text_of_a_refined_optimizer_makes_it(optimizer):
    names = {"Noisy": Noisy, "SGD": SGD, "Minibatch": Minibatch, "ConstantRoot": np.eye(2)}
    refined = optimizer.refine(4)
    assert eqx.tree_equal(eval(repr(refined), names), refined, rtol=1e-12)


def test_a_key_without_a_seed_runs_and_is_kept_as_text(tmp_path):
    optimizer = Noisy(SGD(H), SIGMA, key=jax.random.fold_in(jax.random.key(0), 5))
    run = iterate(optimizer, bowl, 2)
    run.save(tmp_path / "run.npz")
    again = dynopt.Trajectory.load(tmp_path / "run.npz")
    assert repr(again.optimizer) == repr(optimizer) and eqx.tree_equal(again.x, run.x)


def test_many_starts_of_one_noisy_optimizer_have_its_noise():
    starts = np.array([[1.0, 2.0], [0.0, 0.0], [3.0, -1.0]])
    swept = sweep(noisy, bowl, 4, x0=starts)
    for i in range(3):
        run = iterate(noisy, bowl, 4, x0=starts[i])
        np.testing.assert_allclose(swept.x[i], run.x[-1], rtol=1e-13)


def test_an_archive_restores_noisy_optimizers(tmp_path):
    for optimizer in (noisy, Minibatch(Adam(H), 3, key=5), Langevin(Momentum(H), 0.5)):
        iterate(optimizer, problems.booth() if optimizer is noisy else fit, 2).save(
            tmp_path / "run.npz"
        )
        restored = dynopt.Trajectory.load(tmp_path / "run.npz").optimizer
        assert repr(restored) == repr(optimizer) and eqx.tree_equal(restored, optimizer)
