"""Wrappers: schedules, averages, layer-wise rates, gradient surgery, and what all of them keep."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from losses import QUARTIC_START as start, quartic as f
from reference_runs import run_map, solve_flow

from dynopt import (
    SGD,
    Accumulated,
    Adam,
    AdamW,
    Averaged,
    Layerwise,
    Memoryless,
    Modified,
    Momentum,
    Muon,
    NesterovConvex,
    Problem,
    RMSprop,
    Schedule,
    ScheduleFree,
    WithGradient,
    integrate,
    iterate,
)
from dynopt.errors import InvalidType, InvalidValue, UnknownName
from dynopt.optimizers.twin import optax_parameters

grad = jax.grad(f)
cosine = optax.cosine_decay_schedule(1.0, 40, alpha=0.1)


def layers(x):
    return (
        jnp.sum(jnp.cos(x["a"]["w"]))
        + x["a"]["b"] @ x["a"]["b"]
        + jnp.sum(x["c"] ** 4)
        + x["c"][0] * x["a"]["b"][0]
    )


net = Problem(
    layers,
    {"a": {"w": np.full((2, 2), 0.5), "b": np.array([0.3, -1.0])}, "c": np.array([0.7])},
    name="net",
)
flat, unravel = jax.flatten_util.ravel_pytree(net.start())
slope = jax.grad(lambda x: layers(unravel(x)))

WRAP = {
    "schedule": lambda optimizer: Schedule(optimizer, cosine),
    "averaged": lambda optimizer: Averaged(optimizer, 0.5),
    "layerwise": lambda optimizer: Layerwise(optimizer, {"a": 2.0, "a.w": 0.5}),
    "with gradient": lambda optimizer: WithGradient(
        optimizer, lambda g, x: jax.tree.map(lambda g, x: jnp.tanh(g) + 0.1 * x, g, x)
    ),
}
wraps = pytest.mark.parametrize("wrap", WRAP.values(), ids=WRAP)
inner_optimizers = pytest.mark.parametrize(
    "optimizer", [SGD(0.01), Momentum(0.01), Adam(0.01)], ids=["sgd", "momentum", "adam"]
)


def largest_difference(a, b):
    differences = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), a, b)
    return max(map(float, jax.tree.leaves(differences)))


# --- what all of them keep


@wraps
@inner_optimizers
def test_the_flow_is_the_limit_of_the_map_and_does_not_depend_on_the_time_step(wrap, optimizer):
    optimizer = wrap(optimizer).for_leaves(net.start())
    y = jax.tree.map(lambda a: a + 0.5, optimizer.init(flat, slope))
    velocity = optimizer.vector_field(0.3, y, slope)
    limit = jax.jvp(lambda h: optimizer.with_time_step(h).step(0.3, y, slope), (0.0,), (1.0,))[1]
    assert largest_difference(limit, velocity) < 1e-13
    assert largest_difference(optimizer.with_time_step(0.0).step(0.3, y, slope), y) == 0
    assert largest_difference(optimizer.refine(7).vector_field(0.3, y, slope), velocity) == 0


@wraps
@inner_optimizers
def test_the_map_is_that_of_the_twin(wrap, optimizer, library_path):
    optimizer, x = wrap(optimizer), net.start()
    run = iterate(optimizer, net, 6)
    for k, parameters in enumerate(library_path(optimizer.optax(), jax.grad(layers), x, 6)):
        y = jax.tree.map(lambda a, k=k: a[k + 1], run.y)
        np.testing.assert_allclose(
            optax_parameters(optimizer, y),
            jax.flatten_util.ravel_pytree(parameters)[0],
            rtol=1e-12,
        )


@pytest.mark.parametrize("name", WRAP)
def test_the_global_error_has_order_one_and_that_of_the_modified_flow_order_two(name):
    """With the heavy ball as inner optimizer."""
    optimizer = WRAP[name](Momentum(0.04)).for_leaves(net.start())
    for order, kind in ((1, lambda optimizer: optimizer), (2, Modified)):
        errors = []
        for n in (1, 2, 4):
            refined = kind(optimizer.refine(n))
            end = solve_flow(refined, slope, flat, [0.0, 2.0], tol=1e-11).x[-1]
            errors.append(np.linalg.norm(run_map(refined, slope, flat, 10 * n).x[-1] - end))
        assert refined.regularity.order == order
        assert np.log2(errors[1] / errors[2]) == pytest.approx(order, abs=0.2)


@wraps
def test_they_nest_print_and_keep_dtypes(wrap):
    optimizer = wrap(WithGradient(SGD(0.1), optax.clip_by_global_norm(1.0)))
    assert "WithGradient(SGD(learning_rate=0.1), transform=clip_by_global_norm)" in repr(optimizer)
    assert optimizer.name == f"{type(optimizer).__name__}(WithGradient(SGD))" and optimizer.h == 0.1
    single = jax.tree.map(lambda a: np.asarray(a, np.float32), net.x0)
    run = iterate(optimizer, net, 2, x0=single)
    assert {leaf.dtype for leaf in jax.tree.leaves((run.y, run.t))} == {jnp.dtype(jnp.float32)}


def test_new_values_never_compile_again():
    """Rates, factors and times are data; the functions are the same objects."""
    traces = []

    def counted(x):
        traces.append(x)
        return layers(x)

    problem = Problem(counted, net.x0, name="counted")

    def wrap(rate):
        clipped = WithGradient(Adam(rate), per_layer_clip)
        return Accumulated(
            Averaged(Layerwise(Schedule(clipped, cosine), {"a": 7 * rate}), 9 * rate), 2
        )

    iterate(wrap(0.1), problem, 3)
    number_of_traces = len(traces)
    iterate(wrap(0.2), problem, 3)
    iterate(wrap(0.05).refine(3), problem, 3, x0=jax.tree.map(lambda a: a / 2, net.x0))
    assert len(traces) == number_of_traces > 0


def test_a_time_step_longer_than_the_memory_of_the_mean_is_refused():
    with pytest.raises(
        InvalidValue, match="the time step `h` = 0.6 is longer than the memory time `tau` = 0.5"
    ):
        Averaged(SGD(0.1), 0.5).with_time_step(0.6)


@pytest.mark.parametrize("kind", [Schedule, Averaged, Layerwise, WithGradient])
def test_only_optimizers_are_wrapped(kind, as_users_see_it):
    with pytest.raises(InvalidType, match="`optimizer` must be an optimizer of dynopt"):
        kind(0.1, {})


@pytest.mark.parametrize("wrap", [WRAP["schedule"], WRAP["layerwise"]])
@pytest.mark.parametrize("optimizer", [ScheduleFree(0.1), Averaged(SGD(0.1), 1.0)])
def test_an_optimizer_with_positions_in_its_memory_takes_no_factor(wrap, optimizer):
    with pytest.raises(
        InvalidValue,
        match="moves the position alone, but the memory of .* holds a position, `(z|fast)`",
    ):
        wrap(optimizer)


# --- schedules


def test_a_schedule_multiplies_the_step():
    scheduled = Schedule(SGD(0.1), cosine)
    x = start
    for k, position in enumerate(run_map(scheduled, grad, start, 50).x[1:]):
        factor = 0.1 + 0.9 * (1 + np.cos(np.pi * min(k, 40) / 40)) / 2
        x = x - factor * 0.1 * np.asarray(grad(x))
        np.testing.assert_allclose(position, x, rtol=1e-12)
        assert scheduled.factor(k * 0.1) == pytest.approx(factor, rel=1e-12)
    assert scheduled.h == SGD(0.1).h


def test_a_schedule_is_a_change_of_time_for_gradient_descent():
    """The flow at t is that without the schedule at T = ∫ c dt, for a warm-up and a cosine."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, 1.0, 10, 40)
    optimizer = Schedule(SGD(0.1), schedule)
    t = np.linspace(0, 4, 2001)
    c = np.array(jax.vmap(optimizer.factor)(t))
    T = np.concatenate([[0], np.cumsum((c[1:] + c[:-1]) / 2 * np.diff(t))])
    scheduled = solve_flow(optimizer, grad, start, t[::400], tol=1e-10)
    unscheduled = solve_flow(SGD(0.1), grad, start, T[::400])
    np.testing.assert_allclose(scheduled.x, unscheduled.x, atol=1e-6)


def test_the_map_has_covered_the_sum_of_its_steps():
    """Down a slope of 1, after 40 steps: Σ cₖ h, which is less than h/2 from ∫ c dt."""
    x = run_map(Schedule(SGD(0.1), cosine), jnp.ones_like, [0.0], 40).x[-1, 0]
    factors = 0.1 + 0.9 * (1 + np.cos(np.pi * np.arange(40) / 40)) / 2
    np.testing.assert_allclose(x, -0.1 * factors.sum(), rtol=1e-13)
    assert 0 < 0.1 * factors.sum() - 4 * 0.55 < 0.1 / 2


def test_the_modified_flow_of_gradient_descent_has_its_schedule_half_a_step_late():
    """x′ = -(c - h c′/2) ∇f - (h/2) c² ∇²f ∇f."""
    optimizer = Schedule(SGD(0.1), cosine)
    y, t = optimizer.init(jnp.asarray(start), grad), 1.3
    c, c_rate = jax.jvp(optimizer.factor, (t,), (1.0,))
    g = grad(y.x)
    expected = -(c - 0.1 * c_rate / 2) * g - 0.1 / 2 * c**2 * jax.jvp(grad, (y.x,), (g,))[1]
    velocity = jax.jit(lambda y: Modified(optimizer).vector_field(t, y, grad))(y)
    np.testing.assert_allclose(velocity.x, expected, rtol=1e-12)


def test_the_memory_forgets_with_every_step_whatever_the_schedule():
    still = Schedule(Adam(0.01), lambda k: 0.0 * k)
    y = still.step(0.0, still.init(jnp.asarray(start), grad), grad)
    y_adam = Adam(0.01).step(0.0, Adam(0.01).init(jnp.asarray(start), grad), grad)
    np.testing.assert_array_equal(y.x, start)
    np.testing.assert_array_equal(np.stack(y[1:]), np.stack(y_adam[1:]))


def test_round_off_of_the_time_does_not_change_the_step():
    optimizer = Schedule(SGD(0.1), lambda k: jnp.where(k < 3, 1.0, 0.0))
    assert 3 * 0.1 / 0.1 != 3
    assert [float(optimizer.factor(k * 0.1)) for k in range(5)] == [1, 1, 1, 0, 0]


def test_the_loss_is_the_lyapunov_function_of_scheduled_gradient_descent_only():
    optimizer = Schedule(SGD(0.1), cosine)
    y = optimizer.init(jnp.asarray(start), grad)
    rate = jax.jvp(
        lambda y: optimizer.lyapunov(0.2, y, f), (y,), (optimizer.vector_field(0.2, y, grad),)
    )[1]
    np.testing.assert_allclose(rate, -optimizer.factor(0.2) * jnp.sum(grad(y.x) ** 2))
    with pytest.raises(InvalidValue, match="no Lyapunov function is known"):
        Schedule(Adam(0.1), cosine).lyapunov(0.0, Adam(0.1).init(jnp.asarray(start), grad), f)


@pytest.mark.parametrize(
    ("schedule", "error", "words"),
    [
        (0.1, InvalidType, "`schedule` must be a function of the step, got 0.1"),
        (lambda k: -0.5, InvalidValue, "is -0.5 at step 0; return factors of at least 0"),
        (lambda: 1.0, InvalidType, "must take the step and return one real number"),
        (
            lambda k: 1.0 if k < 5 else 0.5,
            InvalidType,
            "branches on the traced step; use jax.numpy.where",
        ),
        (
            lambda k: 1 / np.sqrt(k + 1),
            InvalidType,
            "uses numpy on the traced step; use jax.numpy instead",
        ),
        (
            lambda k: 1 / float(k + 1),
            InvalidType,
            "turns the traced step into a Python number; use jax.numpy",
        ),
        (
            lambda k: [1.0, 0.5][int(k)],
            InvalidType,
            "must take the step and return one real number; at step .*: list index out",
        ),
        (
            lambda k: 1j,
            InvalidType,
            "must take the step and return one real number; at step 0: .* got 1j",
        ),
        (
            lambda k: "1",
            InvalidType,
            "must take the step and return one real number; at step 0: .* got the text '1'",
        ),
        (
            lambda k: np.random.uniform(),
            InvalidValue,
            "`schedule` .* is another function each time it is traced, .*; draw the numbers once",
        ),
        (lambda k: None, InvalidType, "must take the step and return one real number"),
        (lambda k: 1 / (k - 10), InvalidValue, "is -0.1 at step 0"),
        (lambda k: jnp.nan * k, InvalidType, "must be finite, got nan"),
        (lambda k: jnp.ones(2) * k, InvalidType, r"must be one number, got shape \(2,\)"),
    ],
)
def test_wrong_schedules(schedule, error, words):
    with pytest.raises(error, match=words):
        Schedule(SGD(0.1), schedule)


@pytest.mark.parametrize("wrap", [WRAP["schedule"], WRAP["layerwise"]])
def test_a_factor_has_a_lyapunov_function_where_the_inner_optimizer_has_one(wrap):
    """With a changed gradient the loss may rise along the flow."""
    y = SGD(0.1).init(flat, slope)
    with pytest.raises(InvalidValue, match="no Lyapunov function is known for WithGradient"):
        wrap(WithGradient(SGD(0.1), lambda g: jax.tree.map(jnp.negative, g))).lyapunov(
            0.0, y, lambda x: x @ x
        )
    assert wrap(Accumulated(SGD(0.1), 2)).lyapunov(0.0, y, lambda x: x @ x) == flat @ flat


# --- averages


def test_averaged_map_and_flow():
    optimizer = Averaged(SGD(0.1), 0.5)
    run = run_map(optimizer, grad, start, 20)
    z, mean = start, start
    for x, fast in zip(run.x[1:], run.fast[1:], strict=True):
        z = z - 0.1 * np.asarray(grad(z))
        mean = mean + 0.1 / 0.5 * (z - mean)
        np.testing.assert_allclose(fast, z, rtol=1e-12)
        np.testing.assert_allclose(x, mean, rtol=1e-12)
    y = optimizer.init(jnp.asarray(start), grad)._replace(x=jnp.zeros(2))
    np.testing.assert_allclose(optimizer.vector_field(0.0, y, grad).x, start / 0.5)
    np.testing.assert_allclose(optimizer.vector_field(0.0, y, grad).fast, -grad(jnp.asarray(start)))


def test_the_mean_of_a_circle_is_smaller_by_one_over_the_root_of_one_plus_omega_tau_squared():
    """For ω = 0.5 and τ = 20 its radius tends to 1/√101 = 0.0995."""

    def rotation(x):
        return 0.5 * jnp.stack([x[1], -x[0]])

    optimizer = Averaged(SGD(0.1), 20.0)
    t = np.concatenate([[0.0], np.linspace(300, 320, 9)])
    run = solve_flow(optimizer, rotation, [1.0, 0.0], t)
    np.testing.assert_allclose(np.linalg.norm(run.fast, axis=1), 1, rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(run.x[1:], axis=1), 0.099504, atol=1e-4)


def test_averaging_lags_by_tau_behind_a_steady_motion():
    run = solve_flow(Averaged(SGD(0.1), 2.0), jnp.ones_like, [0.0], [0.0, 60.0])
    np.testing.assert_allclose(run.x[-1] - run.fast[-1], 2.0, rtol=1e-9)


def test_an_average_shorter_than_a_step_or_of_an_average_is_refused():
    with pytest.raises(
        InvalidValue, match="the time step `h` = 0.1 is longer than the memory time `tau` = 0.05"
    ):
        Averaged(SGD(0.1), 0.05)
    averaged = Averaged(SGD(0.1), 1.0)
    for inner in (averaged, WithGradient(averaged, per_layer_clip)):
        with pytest.raises(InvalidValue, match="is averaged already; pass its inner optimizer"):
            Averaged(inner, 1.0)


@pytest.mark.parametrize(
    "optimizer",
    [ScheduleFree(0.1), NesterovConvex(0.1), Averaged(ScheduleFree(0.1), 1.0)],
    ids=repr,
)
def test_a_flow_that_divides_by_time_is_not_modified(optimizer):
    with pytest.raises(
        InvalidValue,
        match="divides by the time since its start, so no series in h holds there",
    ):
        Modified(optimizer)


def test_an_optimizer_is_made_memoryless_before_it_is_wrapped():
    words = (
        r"is a wrapper; wrap the memoryless optimizer instead: dynopt.Averaged\(dynopt.Memoryless"
    )
    with pytest.raises(InvalidValue, match=words):
        Memoryless(Averaged(Momentum(0.1), 1.0))


@wraps
def test_an_optimizer_is_wrapped_before_its_flow_is_modified(wrap):
    """The modified flow of an optimizer is not that of a wrapper."""
    with pytest.raises(
        InvalidValue,
        match="belongs to its own map and not to a wrapped one; wrap the inner optimizer first",
    ):
        wrap(Modified(SGD(0.1)))


# --- layer-wise rates


def test_every_layer_moves_at_its_rate_and_the_longest_label_takes_precedence():
    layerwise = Layerwise(SGD(0.1), {"a": 2.0, "a.w": 0.5})
    x, x_layerwise = (iterate(optimizer, net, 1).x for optimizer in (SGD(0.1), layerwise))
    for part, factor in (
        (lambda x: x["a"]["w"], 0.5),
        (lambda x: x["a"]["b"], 2.0),
        (lambda x: x["c"], 1.0),
    ):
        step, step_layerwise = (np.diff(part(x), axis=0) for x in (x, x_layerwise))
        np.testing.assert_allclose(step_layerwise, factor * step, rtol=1e-12)


@pytest.mark.parametrize("run", [iterate, integrate])
def test_a_part_with_the_factor_0_stays_where_it_is(run):
    frozen = run(Layerwise(Adam(0.01), {"a": 0.0}), net, 5).x
    for part in ("w", "b"):
        np.testing.assert_array_equal(np.diff(frozen["a"][part], axis=0), 0)
    assert (np.diff(frozen["c"], axis=0) != 0).all()


def test_the_layerwise_flow_is_preconditioned_by_a_block_diagonal_matrix():
    optimizer = Layerwise(Adam(0.01), {"a": 3.0, "c": 0.5}).for_leaves(net.start())
    y = jax.tree.map(lambda a: a + 0.5, optimizer.init(flat, slope))
    C = np.diag([3.0] * 6 + [0.5])
    np.testing.assert_allclose(
        optimizer.vector_field(0.3, y, slope).x,
        C @ Adam(0.01).vector_field(0.3, y, slope).x,
        rtol=1e-13,
    )


def coupled(x):
    return 4 * x["a"] ** 2 + x["b"] ** 2 + jnp.sin(x["a"] * x["b"])


@pytest.mark.parametrize(
    ("optimizer", "power", "is_change_of_units"),
    [
        (SGD(0.01), 1 / 2, True),
        (Momentum(0.01), 1 / 2, True),
        (Adam(0.01, eps=0.0), 1, True),
        (Adam(0.01, eps=1.0), 1, False),
        (AdamW(0.01, eps=0.0, weight_decay=0.5), 1, False),
    ],
    ids=["sgd", "momentum", "adam", "adam with eps", "adamw"],
)
def test_a_factor_acts_as_a_change_of_units_unless_steps_have_a_scale_of_their_own(
    optimizer, power, is_change_of_units, c=9.0
):
    """x = √c z for steps that are linear in the gradient, x = c z for steps that ignore its size."""
    scale, start = c**power, {"a": 1.0, "b": 0.5}
    in_units = Problem(
        lambda z: coupled({"a": z["a"], "b": scale * z["b"]}), {"a": 1.0, "b": 0.5 / scale}
    )
    x = iterate(Layerwise(optimizer, {"b": c}), Problem(coupled, start), 20).x["b"]
    z = iterate(optimizer, in_units, 20).x["b"]
    difference = np.abs(np.asarray(x) - scale * np.asarray(z)).max()
    assert (difference < 1e-12) if is_change_of_units else (difference > 1e-3)


def test_the_stable_learning_rate_depends_on_factor_times_curvature():
    """f = λ₁x²/2 + λ₂y²/2 with factors c: stable up to h = 2/max(cλ)."""
    bowl = Problem(
        lambda x: 4 * x["a"] ** 2 / 2 + x["b"] ** 2 / 2, {"a": 1.0, "b": 1.0}, name="bowl"
    )
    for h, stable in ((0.199, True), (0.201, False)):
        run = iterate(Layerwise(SGD(h), {"b": 10.0}), bowl, 60, throw=False)
        assert bool(jnp.abs(run.x["b"][-1]) < 1) == stable


@pytest.mark.parametrize(
    ("factors", "error", "words"),
    [
        ({"a": -1.0}, InvalidValue, r"`factors\['a'\]` is -1, which climbs the loss"),
        ({"a": "2"}, InvalidType, r"`factors\['a'\]` must be a number, got the text '2'"),
        ([2.0], InvalidType, r"`factors` must be a dict of labels, got \[2.0\]"),
        ({1: 2.0}, InvalidType, "`factors` must be a dict of labels"),
    ],
)
def test_wrong_factors(factors, error, words):
    with pytest.raises(error, match=words):
        Layerwise(SGD(0.1), factors)


def test_labels_that_name_no_part_are_refused():
    with pytest.raises(UnknownName, match="no part of the position 'a.v'; did you mean a.w"):
        iterate(Layerwise(SGD(0.1), {"a.v": 2.0}), net, 1)
    with pytest.raises(InvalidValue, match="the position is one array, so 'a' names no part of it"):
        iterate(Layerwise(SGD(0.1), {"a": 2.0}), Problem(f, start, name="f"), 1)
    with pytest.raises(
        InvalidValue, match="does not know its position yet; run it, or call .for_leaves"
    ):
        Layerwise(SGD(0.1), {"a": 2.0}).vector_field(0.0, SGD(0.1).init(flat, slope), slope)


# --- gradient surgery


def per_layer_clip(g):
    """Each leaf to a norm of at most 0.1, by itself."""
    return jax.tree.map(lambda leaf: leaf / jnp.maximum(1, jnp.linalg.norm(leaf) / 0.1), g)


def changed_gradient(transform):
    """The negative of one step of gradient descent with learning rate 1."""
    run = iterate(WithGradient(SGD(1.0), transform), net, 1)
    return jax.tree.map(lambda a: np.asarray(a[0] - a[1]), run.x)


def test_clipping_per_layer_bounds_every_layer_and_keeps_its_direction():
    g, clipped = jax.grad(layers)(net.start()), changed_gradient(per_layer_clip)
    for leaf, clipped_leaf in zip(jax.tree.leaves(g), jax.tree.leaves(clipped), strict=True):
        norm = float(jnp.linalg.norm(leaf))
        np.testing.assert_allclose(clipped_leaf, leaf * min(1, 0.1 / norm), rtol=1e-10)
    assert max(float(jnp.linalg.norm(leaf)) for leaf in jax.tree.leaves(clipped)) <= 0.1 * (
        1 + 1e-12
    )


def test_clipping_the_global_norm_keeps_the_direction_of_all():
    g = jax.flatten_util.ravel_pytree(jax.grad(layers)(net.start()))[0]
    clipped = jax.flatten_util.ravel_pytree(changed_gradient(optax.clip_by_global_norm(0.1)))[0]
    np.testing.assert_allclose(clipped, g * 0.1 / jnp.linalg.norm(g), rtol=1e-10)


def test_centralised_gradients_have_no_mean_over_the_inputs_of_a_matrix():
    centred = changed_gradient(optax.centralize())
    np.testing.assert_allclose(centred["a"]["w"].mean(0), 0, atol=1e-15)
    np.testing.assert_allclose(
        centred["a"]["b"], jax.grad(layers)(net.start())["a"]["b"], rtol=1e-12
    )


def test_a_transform_in_double_precision_leaves_a_run_in_its_own_dtype():
    halved = WithGradient(SGD(0.5), lambda g: g * jnp.array([0.5, 0.5], jnp.float64))
    bowl = Problem(lambda x: jnp.sum(x**2) / 2, np.array([1.0, 4.0], np.float32))
    for run in (iterate(halved, bowl, 2), integrate(halved, bowl, 2)):
        assert run.x.dtype == jnp.float32
    np.testing.assert_allclose(iterate(halved, bowl, 2).x[-1], [0.5625, 2.25])


def test_a_penalty_adds_its_gradient():
    """g + λx is gradient descent on f + λ|x|²/2, and only on the layers that it is given."""

    def decay_weights(g, x):
        return {"a": {"w": g["a"]["w"] + 0.3 * x["a"]["w"], "b": g["a"]["b"]}, "c": g["c"]}

    penalised = Problem(
        lambda x: layers(x) + 0.15 * jnp.sum(x["a"]["w"] ** 2), net.x0, name="penalised"
    )
    steeper = jax.grad(lambda x: penalised.loss(unravel(x)))
    optimizer = WithGradient(SGD(0.1), decay_weights).for_leaves(net.start())
    np.testing.assert_allclose(
        run_map(optimizer, slope, flat, 6).x, run_map(SGD(0.1), steeper, flat, 6).x, rtol=1e-12
    )
    t = np.linspace(0, 0.6, 4)
    np.testing.assert_allclose(
        solve_flow(optimizer, slope, flat, t).x, solve_flow(SGD(0.1), steeper, flat, t).x, rtol=1e-9
    )


def test_noise_has_the_step_as_its_seed_and_the_flow_uses_its_mean():
    key = jax.random.key(0)

    def noisy(g, x, k):
        g, tree = jax.flatten_util.ravel_pytree(g)
        return tree(g + jax.random.normal(jax.random.fold_in(key, k), g.shape))

    optimizer = WithGradient(SGD(0.1), noisy, mean=lambda g: g)
    first, again = (iterate(optimizer, net, 5).y.x for _ in range(2))
    np.testing.assert_array_equal(first, again)
    noise = np.diff(first, axis=0) + 0.1 * np.stack([slope(x) for x in first[:-1]])
    assert np.std(noise / 0.1) == pytest.approx(1, abs=0.3)
    assert len(np.unique(noise.round(12))) == noise.size
    y = optimizer.init(flat, slope)
    np.testing.assert_array_equal(
        optimizer.for_leaves(net.start()).vector_field(0.0, y, slope).x,
        SGD(0.1).vector_field(0.0, y, slope).x,
    )


def jittered(g):
    return jax.tree.map(lambda leaf: leaf * (1 + np.random.normal()), g)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: WithGradient(SGD(0.1), 3.0),
            InvalidType,
            "`transform` must change a gradient, got 3.0; pass a function",
        ),
        (
            lambda: WithGradient(SGD(0.1), lambda: 0),
            InvalidType,
            "takes other arguments; pass a function of g",
        ),
        (
            lambda: WithGradient(SGD(0.1), lambda g, x, k: g),
            InvalidValue,
            "a flow has no steps; pass the function that the flow uses",
        ),
        (
            lambda: WithGradient(SGD(0.1), lambda g, x, k: g, mean=lambda g, x, k: g),
            InvalidValue,
            "`mean` .* takes a step number, and a flow has none",
        ),
        (
            lambda: iterate(WithGradient(SGD(0.1), optax.trace(0.9)), net, 1),
            InvalidValue,
            "`transform` trace has a state, so it changes more than the gradient; "
            "make it an optimizer: dynopt.Optax",
        ),
        (
            lambda: iterate(WithGradient(SGD(0.1), lambda g: jax.tree.map(jnp.sum, g)), net, 1),
            InvalidValue,
            "`transform` .* returned .* for a gradient .*; return one like it",
        ),
        (
            lambda: integrate(
                WithGradient(SGD(0.1), lambda g, x, k: g, mean=lambda g: (g, g)), net, 1
            ),
            InvalidValue,
            "`mean` .* returned .* for a gradient .*; return one like it",
        ),
        (
            lambda: iterate(
                WithGradient(SGD(0.1), lambda g: jax.tree.map(lambda a: a > 0, g)), net, 1
            ),
            InvalidValue,
            "`transform` .* returned .* for a gradient .*; return one like it",
        ),
        (
            lambda: iterate(WithGradient(SGD(0.1), lambda g: g if g["c"][0] > 0 else g), net, 1),
            InvalidType,
            "`transform` .* branches on a traced value; use jax.numpy.where",
        ),
        (
            lambda: iterate(WithGradient(SGD(0.1), lambda g: np.clip(g["c"], -1, 1)), net, 1),
            InvalidType,
            "`transform` .* uses numpy on a traced value; use jax.numpy instead",
        ),
        (
            lambda: iterate(WithGradient(SGD(0.1), jittered), net, 1),
            InvalidValue,
            "`transform` jittered is another function each time it is traced, .*; draw the numbers",
        ),
        (
            lambda: integrate(WithGradient(SGD(0.1), lambda g, x, k: g, mean=jittered), net, 1),
            InvalidValue,
            "`mean` jittered is another function each time it is traced",
        ),
        (
            lambda: iterate(WithGradient(SGD(0.1), lambda g: g["a"]), net, 1),
            InvalidValue,
            "returned .* for a gradient .*; return one like it",
        ),
    ],
)
def test_wrong_transforms(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_muon_inside_a_wrapper_knows_its_matrices():
    matrix = Problem(
        lambda x: jnp.sum(jnp.cos(x["w"]) + x["w"] ** 2), {"w": np.eye(2, 3)}, name="matrix"
    )
    wrapped = iterate(WithGradient(Muon(0.1, exact=True), per_layer_clip), matrix, 3)
    np.testing.assert_allclose(
        wrapped.y.x, iterate(Muon(0.1, exact=True), matrix, 3).y.x, atol=1e-12
    )


def test_rmsprop_inside_a_wrapper_keeps_its_initial_layer():
    regularity = WithGradient(RMSprop(0.1), per_layer_clip).regularity
    assert regularity.initial_layer and regularity.order == 0.5
