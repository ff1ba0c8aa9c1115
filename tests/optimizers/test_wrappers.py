"""Pages around pages: schedules, averages, layers, surgery. Each keeps what the page inside knows."""

import equinox as eqx
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

AROUND = {
    "schedule": lambda optimizer: Schedule(optimizer, cosine),
    "averaged": lambda optimizer: Averaged(optimizer, 0.5),
    "layerwise": lambda optimizer: Layerwise(optimizer, {"a": 2.0, "a.w": 0.5}),
    "surgery": lambda optimizer: WithGradient(
        optimizer, lambda g, x: jax.tree.map(lambda g, x: jnp.tanh(g) + 0.1 * x, g, x)
    ),
}
wrappers = pytest.mark.parametrize("wrap", AROUND.values(), ids=AROUND)
inside = pytest.mark.parametrize(
    "optimizer", [SGD(0.01), Momentum(0.01), Adam(0.01)], ids=["sgd", "momentum", "adam"]
)


def largest(tree):
    return max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(tree))


def difference(a, b):
    return largest(jax.tree.map(lambda a, b: a - b, a, b))


# --- what all of them keep


@wrappers
@inside
def test_the_flow_is_the_limit_of_the_map_and_a_refined_clock_leaves_it_alone(wrap, optimizer):
    optimizer = wrap(optimizer).for_leaves(net.start())
    y = jax.tree.map(lambda a: a + 0.5, optimizer.init(flat, slope))
    limit = jax.jvp(lambda h: optimizer.with_time_step(h).step(0.3, y, slope), (0.0,), (1.0,))[1]
    assert difference(limit, optimizer.vector_field(0.3, y, slope)) < 1e-13
    assert difference(optimizer.with_time_step(0.0).step(0.3, y, slope), y) == 0
    assert (
        difference(
            optimizer.refine(7).vector_field(0.3, y, slope), optimizer.vector_field(0.3, y, slope)
        )
        == 0
    )


@wrappers
@inside
def test_the_map_is_that_of_the_twin(wrap, optimizer, library_path):
    optimizer, x = wrap(optimizer), net.start()
    run = iterate(optimizer, net, 6)
    for k, seen in enumerate(library_path(optimizer.optax(), jax.grad(layers), x, 6)):
        y = jax.tree.map(lambda a, k=k: a[k + 1], run.y)
        np.testing.assert_allclose(
            optax_parameters(optimizer, y), jax.flatten_util.ravel_pytree(seen)[0], rtol=1e-12
        )


@pytest.mark.parametrize("name", AROUND)
def test_the_gap_closes_like_h_and_to_the_modified_flow_like_h_squared(name):
    """Around the heavy ball."""
    optimizer = AROUND[name](Momentum(0.04)).for_leaves(net.start())
    for order, kind in ((1, lambda optimizer: optimizer), (2, Modified)):
        errors = []
        for n in (1, 2, 4):
            asked = kind(optimizer.refine(n))
            end = solve_flow(asked, slope, flat, [0.0, 2.0], tol=1e-11).x[-1]
            errors.append(np.linalg.norm(run_map(asked, slope, flat, 10 * n).x[-1] - end))
        assert asked.regularity.order == order
        assert np.log2(errors[1] / errors[2]) == pytest.approx(order, abs=0.2)


@wrappers
def test_they_nest_print_and_keep_dtypes(wrap):
    optimizer = wrap(WithGradient(SGD(0.1), optax.clip_by_global_norm(1.0)))
    assert "WithGradient(SGD(learning_rate=0.1), transform=clip_by_global_norm)" in repr(optimizer)
    assert optimizer.name == f"{type(optimizer).__name__}(WithGradient(SGD))" and optimizer.h == 0.1
    single = jax.tree.map(lambda a: np.asarray(a, np.float32), net.x0)
    run = iterate(optimizer, net, 2, x0=single)
    assert {leaf.dtype for leaf in jax.tree.leaves((run.y, run.t))} == {jnp.dtype(jnp.float32)}


def test_new_values_never_compile_again():
    """Rates, factors and times are data; the functions inside are the same objects."""
    seen = []

    def counted(x):
        seen.append(x)
        return layers(x)

    problem = Problem(counted, net.x0, name="counted")

    def wrap(rate):
        clipped = WithGradient(Adam(rate), per_layer_clip)
        return Accumulated(
            Averaged(Layerwise(Schedule(clipped, cosine), {"a": 7 * rate}), 9 * rate), 2
        )

    iterate(wrap(0.1), problem, 3)
    traces = len(seen)
    iterate(wrap(0.2), problem, 3)
    iterate(wrap(0.05).refine(3), problem, 3, x0=jax.tree.map(lambda a: a / 2, net.x0))
    assert len(seen) == traces > 0


def test_a_clock_longer_than_the_mean_remembers_is_refused():
    with pytest.raises(
        InvalidValue, match="the step `h` = 0.6 is longer than the memory time `tau` = 0.5"
    ):
        Averaged(SGD(0.1), 0.5).with_time_step(0.6)


@pytest.mark.parametrize("cls", [Schedule, Averaged, Layerwise, WithGradient])
def test_only_pages_are_wrapped(cls, as_users_see_it):
    with pytest.raises(InvalidType, match="`optimizer` must be a page"):
        cls(0.1, {})


@pytest.mark.parametrize(
    "make", [lambda p: Schedule(p, cosine), lambda p: Layerwise(p, {"a": 2.0})]
)
@pytest.mark.parametrize("optimizer", [ScheduleFree(0.1), Averaged(SGD(0.1), 1.0)])
def test_pages_that_keep_positions_in_their_memory_are_wrapped_the_other_way_round(make, optimizer):
    with pytest.raises(
        InvalidValue,
        match="moves the position alone, but the memory of .* holds a position, `(z|fast)`",
    ):
        make(optimizer)


# --- schedules


def test_a_scheduled_step_is_that_share_of_a_step():
    plain, scheduled = SGD(0.1), Schedule(SGD(0.1), cosine)
    x = start
    for k, seen in enumerate(run_map(scheduled, grad, start, 50).x[1:]):
        share = 0.1 + 0.9 * (1 + np.cos(np.pi * min(k, 40) / 40)) / 2
        x = x - share * 0.1 * np.asarray(grad(x))
        np.testing.assert_allclose(seen, x, rtol=1e-12)
        assert scheduled.factor(k * 0.1) == pytest.approx(share, rel=1e-12)
    assert plain.h == scheduled.h


def test_a_schedule_is_a_change_of_time_for_gradient_descent():
    """At t the flow is where the plain one is at T = ∫ c dt, warm-up and cosine included."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, 1.0, 10, 40)
    optimizer = Schedule(SGD(0.1), schedule)
    t = np.linspace(0, 4, 2001)
    c = np.array(jax.vmap(optimizer.factor)(t))
    T = np.concatenate([[0], np.cumsum((c[1:] + c[:-1]) / 2 * np.diff(t))])
    scheduled = solve_flow(optimizer, grad, start, t[::400], tol=1e-10)
    plain = solve_flow(SGD(0.1), grad, start, T[::400])
    np.testing.assert_allclose(scheduled.x, plain.x, atol=1e-6)


def test_the_map_has_gone_the_sum_of_its_steps():
    """Down a slope of 1, after 40 steps: Σ cₖ h, which is less than h/2 from ∫ c dt."""
    x = run_map(Schedule(SGD(0.1), cosine), jnp.ones_like, [0.0], 40).x[-1, 0]
    shares = 0.1 + 0.9 * (1 + np.cos(np.pi * np.arange(40) / 40)) / 2
    np.testing.assert_allclose(x, -0.1 * shares.sum(), rtol=1e-13)
    assert 0 < 0.1 * shares.sum() - 4 * 0.55 < 0.1 / 2


def test_a_schedule_is_read_half_a_step_late_by_the_modified_flow_of_gradient_descent():
    """x′ = -(c - h c′/2) ∇f - (h/2) c² ∇²f ∇f."""
    optimizer = Schedule(SGD(0.1), cosine)
    y, t = optimizer.init(jnp.asarray(start), grad), 1.3
    c, slope = jax.jvp(optimizer.factor, (t,), (1.0,))
    g = grad(y.x)
    expected = -(c - 0.1 * slope / 2) * g - 0.1 / 2 * c**2 * jax.jvp(grad, (y.x,), (g,))[1]
    np.testing.assert_allclose(Modified(optimizer).vector_field(t, y, grad).x, expected, rtol=1e-12)


def test_memory_forgets_by_the_steps_whatever_the_schedule():
    held = Schedule(Adam(0.01), lambda k: 0.0 * k)
    y = held.step(0.0, held.init(jnp.asarray(start), grad), grad)
    moved = Adam(0.01).step(0.0, Adam(0.01).init(jnp.asarray(start), grad), grad)
    np.testing.assert_array_equal(y.x, start)
    np.testing.assert_array_equal(np.stack(y[1:]), np.stack(moved[1:]))


def test_steps_that_round_off_moves_are_still_those_steps():
    optimizer = Schedule(SGD(0.1), lambda k: jnp.where(k < 3, 1.0, 0.0))
    assert 3 * 0.1 / 0.1 != 3
    assert [float(optimizer.factor(k * 0.1)) for k in range(5)] == [1, 1, 1, 0, 0]


def test_the_loss_is_the_energy_of_scheduled_gradient_descent_only():
    optimizer = Schedule(SGD(0.1), cosine)
    y = optimizer.init(jnp.asarray(start), grad)
    rate = jax.jvp(
        lambda y: optimizer.lyapunov(0.2, y, f), (y,), (optimizer.vector_field(0.2, y, grad),)
    )[1]
    np.testing.assert_allclose(rate, -optimizer.factor(0.2) * jnp.sum(grad(y.x) ** 2))
    with pytest.raises(InvalidValue, match="no energy is known"):
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
        (lambda k: None, InvalidType, "must take the step and return one real number"),
        (lambda k: 1 / (k - 10), InvalidValue, "is -0.1 at step 0"),
        (lambda k: jnp.nan * k, InvalidType, "must be finite, got nan"),
        (lambda k: jnp.ones(2) * k, InvalidType, r"must be one number, got shape \(2,\)"),
    ],
)
def test_wrong_schedules(schedule, error, words):
    with pytest.raises(error, match=words):
        Schedule(SGD(0.1), schedule)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda optimizer: Schedule(optimizer, cosine),
        lambda optimizer: Layerwise(optimizer, {"a": 2.0}),
    ],
)
def test_a_factor_has_an_energy_where_the_page_inside_has_one(wrap):
    """Surgery makes another field of the gradient, so the loss may rise along it."""
    y = SGD(0.1).init(flat, slope)
    with pytest.raises(InvalidValue, match="no energy is known for WithGradient"):
        wrap(WithGradient(SGD(0.1), lambda g: jax.tree.map(jnp.negative, g))).lyapunov(
            0.0, y, lambda x: x @ x
        )
    assert wrap(Accumulated(SGD(0.1), 2)).lyapunov(0.0, y, lambda x: x @ x) == flat @ flat


# --- averages


def test_averaged_map_and_flow():
    optimizer = Averaged(SGD(0.1), 0.5)
    run = run_map(optimizer, grad, start, 20)
    z, mean = start, start
    for seen, fast in zip(run.x[1:], run.fast[1:], strict=True):
        z = z - 0.1 * np.asarray(grad(z))
        mean = mean + 0.1 / 0.5 * (z - mean)
        np.testing.assert_allclose(fast, z, rtol=1e-12)
        np.testing.assert_allclose(seen, mean, rtol=1e-12)
    y = optimizer.init(jnp.asarray(start), grad)._replace(x=jnp.zeros(2))
    np.testing.assert_allclose(optimizer.vector_field(0.0, y, grad).x, start / 0.5)
    np.testing.assert_allclose(optimizer.vector_field(0.0, y, grad).fast, -grad(jnp.asarray(start)))


def test_the_mean_of_a_circle_is_smaller_by_one_over_the_root_of_one_plus_omega_tau_squared():
    """ω = 0.5, τ = 20: the mean of the circle runs on one of radius 1/√101 = 0.0995, once the start is forgotten."""

    def turning(x):
        return 0.5 * jnp.stack([x[1], -x[0]])

    optimizer = Averaged(SGD(0.1), 20.0)
    t = np.concatenate([[0.0], np.linspace(300, 320, 9)])
    run = solve_flow(optimizer, turning, [1.0, 0.0], t)
    np.testing.assert_allclose(np.linalg.norm(run.fast, axis=1), 1, rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(run.x[1:], axis=1), 0.099504, atol=1e-4)


def test_averaging_lags_by_tau_behind_what_walks_straight():
    run = solve_flow(Averaged(SGD(0.1), 2.0), jnp.ones_like, [0.0], [0.0, 60.0])
    np.testing.assert_allclose(run.x[-1] - run.fast[-1], 2.0, rtol=1e-9)


def test_an_average_shorter_than_a_step_or_of_an_average_is_refused():
    with pytest.raises(
        InvalidValue, match="the step `h` = 0.1 is longer than the memory time `tau` = 0.05"
    ):
        Averaged(SGD(0.1), 0.05)
    for inside in (Averaged(SGD(0.1), 1.0), WithGradient(Averaged(SGD(0.1), 1.0), per_layer_clip)):
        with pytest.raises(InvalidValue, match="is averaged already; pass the page inside"):
            Averaged(inside, 1.0)


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


def test_a_page_is_made_memoryless_before_it_is_wrapped():
    words = (
        r"is a wrapper; wrap the memoryless optimizer instead: dynopt.Averaged\(dynopt.Memoryless"
    )
    with pytest.raises(InvalidValue, match=words):
        Memoryless(Averaged(Momentum(0.1), 1.0))


@pytest.mark.parametrize("wrap", AROUND.values(), ids=AROUND)
def test_what_is_modified_is_wrapped_first(wrap):
    """The modified flow of a page is not that of what is around it."""
    with pytest.raises(
        InvalidValue,
        match="is that of its own map, not of what is around it; wrap its page, and modify",
    ):
        wrap(Modified(SGD(0.1)))


# --- layers


def test_every_layer_moves_at_its_rate_and_the_longest_label_wins():
    plain, optimizer = SGD(0.1), Layerwise(SGD(0.1), {"a": 2.0, "a.w": 0.5})
    once, scaled = (iterate(p, net, 1).x for p in (plain, optimizer))
    for label, factor in ((("a", "w"), 0.5), (("a", "b"), 2.0), (("c",), 1.0)):
        moved = [
            np.diff(eqx.tree_at(lambda x: x, _at(x, label), _at(x, label)), axis=0)
            for x in (once, scaled)
        ]
        np.testing.assert_allclose(moved[1], factor * moved[0], rtol=1e-12)


def _at(x, path):
    for key in path:
        x = x[key]
    return np.asarray(x)


def test_the_layerwise_flow_is_preconditioned_by_a_block_diagonal_matrix():
    optimizer = Layerwise(Adam(0.01), {"a": 3.0, "c": 0.5}).for_leaves(net.start())
    y = jax.tree.map(lambda a: a + 0.5, optimizer.init(flat, slope))
    C = np.diag([3.0] * 6 + [0.5])
    np.testing.assert_allclose(
        optimizer.vector_field(0.3, y, slope).x,
        C @ Adam(0.01).vector_field(0.3, y, slope).x,
        rtol=1e-13,
    )


def test_the_largest_curvature_counts_in_the_units_of_the_layers():
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
        ({"a": 0.0}, InvalidValue, r"`factors\['a'\]` is 0: nothing would move"),
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
        InvalidValue, match="has not met its position yet; run it, or call .for_leaves"
    ):
        Layerwise(SGD(0.1), {"a": 2.0}).vector_field(0.0, SGD(0.1).init(flat, slope), slope)


# --- surgery


def per_layer_clip(g):
    """Each leaf to a norm of at most 0.1, by itself."""
    return jax.tree.map(lambda leaf: leaf / jnp.maximum(1, jnp.linalg.norm(leaf) / 0.1), g)


def moved(transform, optimizer=None):
    run = iterate(WithGradient(optimizer or SGD(1.0), transform), net, 1)
    return jax.tree.map(lambda a: np.asarray(a[0] - a[1]), run.x)


def test_clipping_per_layer_bounds_every_layer_and_keeps_its_direction():
    g, clipped = jax.grad(layers)(net.start()), moved(per_layer_clip)
    for full, cut in zip(jax.tree.leaves(g), jax.tree.leaves(clipped), strict=True):
        norm = float(jnp.linalg.norm(full))
        np.testing.assert_allclose(cut, full * min(1, 0.1 / norm), rtol=1e-10)
    assert max(float(jnp.linalg.norm(leaf)) for leaf in jax.tree.leaves(clipped)) <= 0.1 * (
        1 + 1e-12
    )


def test_clipping_the_global_norm_keeps_the_direction_of_all():
    g = jax.flatten_util.ravel_pytree(jax.grad(layers)(net.start()))[0]
    clipped = jax.flatten_util.ravel_pytree(moved(optax.clip_by_global_norm(0.1)))[0]
    np.testing.assert_allclose(clipped, g * 0.1 / jnp.linalg.norm(g), rtol=1e-10)


def test_centralised_gradients_have_no_mean_over_the_inputs_of_a_matrix():
    centred = moved(optax.centralize())
    np.testing.assert_allclose(centred["a"]["w"].mean(0), 0, atol=1e-15)
    np.testing.assert_allclose(
        centred["a"]["b"], jax.grad(layers)(net.start())["a"]["b"], rtol=1e-12
    )


def test_a_penalty_is_the_gradient_of_what_it_adds():
    """g + λx is gradient descent on f + λ|x|²/2, and only on the layers that it is given."""

    def decay_weights(g, x):
        return {"a": {"w": g["a"]["w"] + 0.3 * x["a"]["w"], "b": g["a"]["b"]}, "c": g["c"]}

    penalised = Problem(
        lambda x: layers(x) + 0.15 * jnp.sum(x["a"]["w"] ** 2), net.x0, name="penalised"
    )
    steeper = jax.grad(lambda x: penalised.loss(unravel(x)))
    ours, theirs = WithGradient(SGD(0.1), decay_weights).for_leaves(net.start()), SGD(0.1)
    np.testing.assert_allclose(
        run_map(ours, slope, flat, 6).x, run_map(theirs, steeper, flat, 6).x, rtol=1e-12
    )
    t = np.linspace(0, 0.6, 4)
    np.testing.assert_allclose(
        solve_flow(ours, slope, flat, t).x, solve_flow(theirs, steeper, flat, t).x, rtol=1e-9
    )


def test_noise_has_the_step_as_its_seed_and_the_flow_sees_its_mean():
    key = jax.random.key(0)

    def noisy(g, x, k):
        g, tree = jax.flatten_util.ravel_pytree(g)
        return tree(g + jax.random.normal(jax.random.fold_in(key, k), g.shape))

    optimizer = WithGradient(SGD(0.1), noisy, mean=lambda g: g)
    first, again = (iterate(optimizer, net, 5).y.x for _ in range(2))
    np.testing.assert_array_equal(first, again)
    kicks = np.diff(first, axis=0) + 0.1 * np.stack([slope(x) for x in first[:-1]])
    assert (
        np.std(kicks / 0.1) == pytest.approx(1, abs=0.3)
        and len(np.unique(kicks.round(12))) == kicks.size
    )
    y = optimizer.init(flat, slope)
    np.testing.assert_array_equal(
        optimizer.for_leaves(net.start()).vector_field(0.0, y, slope).x,
        SGD(0.1).vector_field(0.0, y, slope).x,
    )


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
            "a flow has no steps; pass what the flow sees",
        ),
        (
            lambda: WithGradient(SGD(0.1), lambda g, x, k: g, mean=lambda g, x, k: g),
            InvalidValue,
            "`mean` .* takes a step number, and a flow has none",
        ),
        (
            lambda: iterate(WithGradient(SGD(0.1), optax.trace(0.9)), net, 1),
            InvalidValue,
            "`transform` trace remembers, so it changes more than the gradient; make it a page: dynopt.Optax",
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


def test_rmsprop_inside_a_wrapper_keeps_its_layer():
    assert (
        WithGradient(RMSprop(0.1), per_layer_clip).regularity.initial_layer
        and WithGradient(RMSprop(0.1), per_layer_clip).regularity.order == 0.5
    )
