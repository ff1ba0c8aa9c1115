"""Any optax transformation is an optimizer: its map is optax's, its flow the limit of the map.

Where the map has no limit, the optimizer says so and names the leaf.
"""

import inspect
import re
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

from dynopt import (
    SGD,
    Adam,
    Memoryless,
    Modified,
    Momentum,
    Optax,
    Problem,
    RMSprop,
    Trajectory,
    WithGradient,
    analysis,
    integrate,
    iterate,
)
from dynopt.errors import DynoptError, InvalidType, InvalidValue, UnknownName
from dynopt.optimizers.gradient import BatchGradient


def f(x):
    return (x[0] ** 2 + 4 * x[1] ** 2) / 2 + jnp.cos(x[0]) * jnp.sin(x[1])


grad, hessian = jax.grad(f), jax.hessian(f)
loss_gradient = BatchGradient(grad, loss=f)
smooth = Problem(f, [-1.5, 1.0], name="smooth")
x0 = jnp.array([-1.5, 1.0])
T1, T2, T3, B, WD = 0.1, 1.0, 10.0, 5.0, 0.1


def adabelief(h):
    return optax.adabelief(h, b1=1 - h / T1, b2=1 - h / T2, eps_root=0.0)


def lion(h):
    rule = optax.scale_by_lion(b1=0.9, b2=1 - h / T1, mode="smooth", smooth_beta=B)
    return optax.chain(rule, optax.scale(-h))


def nadam(h):
    return optax.nadam(h, b1=1 - h / T1, b2=1 - h / T2)


def ademamix(h):
    return contrib.ademamix(h, b1=1 - h / T1, b2=1 - h / T2, b3=1 - h / T3)


def decayed_ball(h):
    """A chain by hand: weight decay, then heavy ball in the time √η."""
    return optax.chain(
        optax.add_decayed_weights(WD), optax.trace(decay=1 - 2 * h), optax.scale(-(h**2))
    )


WORKED = {
    "adabelief": lambda: Optax(adabelief, 0.005),
    "lion": lambda: Optax(lion, 0.005),
    "nadam": lambda: Optax(nadam, 0.0025),
    "ademamix": lambda: Optax(ademamix, 0.005),
    "decayed ball": lambda: Optax(decayed_ball, 0.005, scale={"trace": -1}),
}


@cache
def worked(name):
    """Made when it is first asked for, because to make it compiles its family."""
    return WORKED[name]()


@pytest.mark.parametrize("name", WORKED)
def test_the_map_is_the_librarys_own_update(name, library_path):
    optimizer = worked(name)
    y = optimizer.init(x0, grad)
    for k, x in enumerate(library_path(optimizer.optax(), grad, x0, 10)):
        y = optimizer.step(k * optimizer.h, y, grad)
        np.testing.assert_allclose(y.x, x, rtol=4e-15)


# The README prints that the error of AdaBelief is O(h), and O(h²) against its modified flow.


@pytest.mark.parametrize("name", ["lion", "nadam", "ademamix", "decayed ball"])
def test_the_global_error_against_the_derived_flow_is_of_order_h(name):
    """The flow is solved by scipy here; below `analysis.order` measures the modified flow."""
    from scipy.integrate import solve_ivp

    optimizer = worked(name)
    y, times = optimizer.init(x0, grad), np.arange(51) * optimizer.h

    def field(t, flat):
        return np.concatenate(flow(optimizer, t, type(y)(*np.split(flat, len(y)))))

    solution = solve_ivp(
        field, (0, times[-1]), np.concatenate(y), "DOP853", times, rtol=1e-9, atol=1e-12
    )
    # Both maps take 400 steps, so that they are compiled once.
    paths = [iterate(optimizer.refine(n), smooth, 400).x[: 50 * n + 1 : n] for n in (4, 8)]
    coarse, fine = (np.linalg.norm(path - solution.y[:2].T, axis=1).max() for path in paths)
    assert optimizer.regularity.order == 1 and np.log2(coarse / fine) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("name", ["lion", "decayed ball"])
def test_the_global_error_against_the_modified_flow_is_of_order_h_squared(name):
    measured = analysis.order(Modified(worked(name)), smooth, refinements=4)
    assert measured.expected == 2
    assert measured.pairwise[-1] == pytest.approx(2, abs=0.05)


def test_the_first_steps_of_nadam_cost_its_modified_flow_the_second_order():
    """Under a constant gradient its kth step is longer than that of Adam by 1/(k (k+1))."""
    optimizer, h = worked("nadam"), 1e-6
    y, steps = optimizer.with_time_step(h).init(x0, grad), []
    for k in range(4):
        after = optimizer.with_time_step(h).step(k * h, y, lambda x: jnp.ones_like(x))
        steps.append(float((y.x - after.x)[0]) / h)
        y = after
    np.testing.assert_allclose(steps, [1 + 1 / (k * (k + 1)) for k in range(1, 5)], rtol=1e-4)
    assert optimizer.regularity.initial_layer and Modified(optimizer).regularity.order == 1
    assert not any(worked(name).regularity.initial_layer for name in WORKED if name != "nadam")


@pytest.mark.parametrize(
    ("family", "scale"),
    [
        (lambda h: optax.rmsprop(h, decay=1 - h / 0.1), {}),
        (
            lambda h: optax.adagrad(jnp.sqrt(h), initial_accumulator_value=0.0),
            {"sum_of_squares": -1},
        ),
    ],
    ids=["rmsprop from 0", "adagrad from 0"],
)
def test_the_half_order_of_a_start_from_zero_is_detected(family, scale):
    optimizer = Optax(family, 0.01, scale=scale)
    assert optimizer.regularity.order == 0.5 and optimizer.regularity.initial_layer


# The flow


def somewhere(optimizer, seed=0):
    keys = jax.random.split(jax.random.key(seed), 8)
    y = optimizer.init(jax.random.normal(keys[0], (2,)), grad)
    return type(y)(y.x, *(0.5 + jax.random.uniform(k, (2,)) for k in keys[1 : len(y)]))


@eqx.filter_jit
def _flow(optimizer, t, y):
    return optimizer.vector_field(t, y, grad)


@eqx.filter_jit
def _limit_error(optimizer, t, y):
    return optimizer.limit_error(t, y, grad)


def flow(optimizer, t, y):
    return _flow(optimizer, np.asarray(t, float), y)


CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def test_flow_of_adabelief():
    """τ₁ m′ = g - m, τ₂ v′ = (g - m)² - v, x′ = -m̂/(√v̂ + ε)."""
    optimizer, t = worked("adabelief"), 0.3
    x, m, v = y = somewhere(optimizer)
    m_hat, v_hat = m / -np.expm1(-t / T1), v / -np.expm1(-t / T2)
    equations = (
        -m_hat / (np.sqrt(v_hat) + 1e-16),
        (grad(x) - m) / T1,
        ((grad(x) - m) ** 2 - v) / T2,
    )
    for derived, expected in zip(flow(optimizer, t, y), equations, strict=True):
        np.testing.assert_allclose(derived, expected, **CLOSE)


def test_flow_of_smoothed_lion():
    """x′ = -tanh(B (b₁ m + (1-b₁) g)), τ m′ = g - m; differentiated at h = 0, to the last bit."""
    optimizer = worked("lion")
    x, m = y = somewhere(optimizer)
    dx, dm = flow(optimizer, 0.3, y)
    np.testing.assert_allclose(dx, -np.tanh(B * (0.9 * m + 0.1 * grad(x))), rtol=1e-14)
    np.testing.assert_allclose(dm, (grad(x) - m) / T1, rtol=1e-14)
    assert optimizer.limit.method == "differentiated at h = 0"


def test_nadam_follows_the_flow_of_adam():
    optimizer, adam = worked("nadam"), Adam(0.0025, b1=1 - 0.0025 / T1, b2=1 - 0.0025 / T2)
    y = somewhere(optimizer)
    declared = flow(adam, 0.3, adam.init(x0, grad)._make(y))
    for derived, expected in zip(flow(optimizer, 0.3, y), declared, strict=True):
        np.testing.assert_allclose(derived, expected, **CLOSE)


def test_flow_of_ademamix():
    """x′ = -(m̂₁ + α m₂)/(√v̂ + ε): the slow mean is not corrected."""
    optimizer, t = worked("ademamix"), 0.3
    x, m1, m2, v = y = somewhere(optimizer)
    slope = (m1 / -np.expm1(-t / T1) + 5 * m2) / (np.sqrt(v / -np.expm1(-t / T2)) + 1e-8)
    derived = flow(optimizer, t, y)
    np.testing.assert_allclose(derived.x, -slope, **CLOSE)
    np.testing.assert_allclose(derived.m2, (grad(x) - m2) / T3, **CLOSE)


def test_flow_of_a_chain_with_a_trace_that_grows_like_1_over_h():
    """With q = h trace: x′ = -q, q′ = g + wd x - 2 q."""
    x, q = y = somewhere(worked("decayed ball"))
    derived = flow(worked("decayed ball"), 0.3, y)
    np.testing.assert_allclose(derived.x, -q, **CLOSE)
    np.testing.assert_allclose(derived.trace, grad(x) + WD * x - 2 * q, **CLOSE)


@pytest.mark.parametrize(
    ("optimizer", "family"),
    [
        (SGD(0.01), lambda h: optax.sgd(h)),
        (
            RMSprop(0.01, initial_scale=1.0),
            lambda h: optax.rmsprop(h, decay=1 - h / 0.1, initial_scale=1.0),
        ),
        (Adam(0.01), lambda h: optax.adam(h, b1=1 - h / 0.1, b2=1 - h / 10)),
        (
            Adam(0.01),
            lambda h: optax.inject_hyperparams(optax.adam)(h, b1=1 - h / 0.1, b2=1 - h / 10),
        ),
    ],
    ids=["sgd", "rmsprop", "adam", "adam, injected"],
)
def test_the_derived_flow_is_the_one_that_the_optimizer_declares(optimizer, family):
    twin = Optax(family, 0.01)
    assert len(twin.fields) == len(optimizer.init(x0, grad))
    for t in (0.0, 0.02, 0.5):
        y = somewhere(optimizer) if t else optimizer.init(x0, grad)
        y_twin = twin.init(x0, grad)._make(y)
        derived, declared = flow(twin, t, y_twin), flow(optimizer, t, y)
        error = _limit_error(twin, np.asarray(t), y_twin)
        for a, b, e in zip(derived, declared, error, strict=True):
            assert (np.abs(a - b) <= np.maximum(e, 1e-10)).all()
        assert max(float(e.max()) for e in error) < 1e-4


def test_adagrad_conserves_the_loss_and_twice_the_roots_of_its_sums():
    """In the time k η², with s = η² S: x′ = -g/√s, s′ = g², so f + 2 Σ√s is conserved."""
    optimizer = Optax(
        lambda h: optax.adagrad(jnp.sqrt(h), initial_accumulator_value=0.04 / h),
        0.01,
        scale={"sum_of_squares": -1},
    )
    y = somewhere(optimizer)
    np.testing.assert_allclose(flow(optimizer, 0.3, y).sum_of_squares, grad(y.x) ** 2, **CLOSE)
    _, rate = jax.jvp(
        lambda y: f(y.x) + 2 * jnp.sqrt(y.sum_of_squares).sum(), (y,), (flow(optimizer, 0.3, y),)
    )
    assert abs(rate) < 1e-8


def test_a_schedule_is_read_in_time_and_by_the_modified_flow_half_a_step_late():
    """x′ = -e(t) g, and to the next order -(e - h e′/2) g - (h/2) e² H g."""
    optimizer, h, t = Optax(lambda h: optax.sgd(lambda k: h * jnp.exp(-2 * k * h)), 0.01), 0.01, 0.4
    y, e = somewhere(optimizer), np.exp(-2 * t)
    g, H = grad(y.x), hessian(y.x)
    np.testing.assert_allclose(flow(optimizer, t, y).x, -e * g, **CLOSE)
    late = -(e + h * e) * g - h / 2 * e**2 * H @ g
    np.testing.assert_allclose(flow(Modified(optimizer), t, y).x, late, rtol=1e-8)


def test_masks_see_the_pytree():
    def family(h):
        return optax.chain(optax.masked(optax.scale(3.0), {"w": True, "b": False}), optax.sgd(h))

    start = {"b": np.array([1.0]), "w": np.array([[2.0, -1.0]])}
    problem = Problem(
        lambda x: (x["w"] ** 2).sum() / 2 + (x["b"] ** 2).sum() / 2, start, name="masked"
    )
    optimizer = Optax(family, 0.1, like=start)
    end = iterate(optimizer, problem, 1).x
    np.testing.assert_allclose(end["w"][1], 0.7 * start["w"], rtol=1e-15)
    np.testing.assert_allclose(end["b"][1], 0.9 * start["b"], rtol=1e-15)
    words = "made for positions of 3 numbers, got 2; pass the problem's own start as `like`"
    with pytest.raises(InvalidValue, match=words):
        iterate(optimizer, smooth, 1)
    final = integrate(optimizer, problem, 1).x
    np.testing.assert_allclose(final["w"][1], np.exp(-0.3) * start["w"], rtol=1e-9)


# Leaves of the start


def orthogonalized(matrix):
    """One step of the Newton-Schulz iteration of Muon, in numpy."""
    x = matrix / np.linalg.norm(matrix)
    square = x @ x.T
    return 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x


def muon(h):
    return contrib.muon(h, beta=1 - h / T1, ns_steps=1)


bowl_of_matrices = Problem(
    lambda x: (x**2).sum() / 2, np.array([[3.0, 0.0], [4.0, 5.0]]), name="bowl of matrices"
)


def test_muon_sees_a_matrix_without_being_told():
    """x′ = -NS(m̂), τ m′ = X - m, where AdamW, which vectors get, divides each entry by its size."""
    optimizer = Optax(muon, 0.002)
    fitted, start = optimizer.for_leaves(bowl_of_matrices.start()), bowl_of_matrices.x0
    first = iterate(optimizer, bowl_of_matrices, 1).x[1] - start
    np.testing.assert_allclose(first, -0.002 * orthogonalized(start), rtol=1e-6)
    m, t = start + np.eye(2), 0.3
    y = fitted.init(jnp.ravel(start), lambda x: x)._replace(mu=m)
    dx, dm = flow_on_matrices(fitted, t, y)
    mean = m / -np.expm1(-t / T1)
    np.testing.assert_allclose(dx.reshape(2, 2), -orthogonalized(mean), rtol=1e-6)
    np.testing.assert_allclose(dm, (start - m) / T1, rtol=1e-8)
    assert optimizer.fields == ("x", "mu", "nu") and fitted.fields == ("x", "mu")


@eqx.filter_jit
def flow_on_matrices(optimizer, t, y):
    return optimizer.vector_field(t, y, lambda x: x)


def test_the_limit_is_measured_once_for_all_runs_and_refinements():
    optimizer = Optax(muon, 0.002)
    start = bowl_of_matrices.start()
    fitted = optimizer.for_leaves(start)
    assert fitted.derivation is optimizer.refine(2).for_leaves(2 * start).derivation
    assert "limit" not in vars(fitted.derivation)  # the map needs none


def test_labels_that_a_function_gives_see_the_pytree():
    def family(h):
        kinds = {"slow": optax.sgd(h), "fast": optax.sgd(10 * h)}
        return optax.partition(
            kinds, lambda x: jax.tree.map(lambda leaf: "fast" if leaf.ndim > 1 else "slow", x)
        )

    start = {"b": np.array([1.0]), "w": np.array([[2.0, -1.0]])}
    problem = Problem(lambda x: (x["w"] ** 2).sum() / 2 + (x["b"] ** 2).sum() / 2, start, name="p")
    end = iterate(Optax(family, 0.01), problem, 1).x
    np.testing.assert_allclose(end["w"][1], 0.9 * start["w"], rtol=1e-15)
    np.testing.assert_allclose(end["b"][1], 0.99 * start["b"], rtol=1e-15)


# Updates that ask for the loss, and flags


def opaque_sam(h):
    ascent = optax.chain(contrib.normalize(), optax.sgd(0.05))
    return contrib.sam(optax.sgd(h), ascent, opaque_mode=True)


SEARCH = {"backtracking": optax.scale_by_backtracking_linesearch(15)}
WITH_LOSS = {
    "lbfgs": lambda h: optax.lbfgs(10 * h, memory_size=3, linesearch=None),
    "lbfgs, line search": lambda h: optax.lbfgs(memory_size=3),
    "backtracking": lambda h: optax.chain(optax.sgd(h), SEARCH["backtracking"]),
    "polyak": lambda h: optax.polyak_sgd(f_min=-3.0),
    "momo": contrib.momo,
    "sam": opaque_sam,
    "optimistic": optax.optimistic_gradient_descent,  # a flag marks its first step
}


@pytest.mark.parametrize("family", WITH_LOSS.values(), ids=WITH_LOSS)
def test_the_map_gives_the_library_the_loss_and_its_gradient(family):
    transform = optax.with_extra_args_support(family(0.01))

    @jax.jit
    def step(x, state):
        value, g = jax.value_and_grad(f)(x)
        extra = {"value": value, "grad": g, "value_fn": f}
        if family is opaque_sam:
            extra = {"grad_fn": lambda x, i: grad(x)}
        updates, state = transform.update(g, state, x, **extra)
        return optax.apply_updates(x, updates), state

    x, state, expected = x0, transform.init(x0), []
    for _ in range(6):
        x, state = step(x, state)
        expected.append(x)
    np.testing.assert_allclose(
        iterate(Optax(family, 0.01), smooth, 6).x[1:], np.stack(expected), rtol=1e-12
    )


def test_a_capped_polyak_step_has_the_gradient_flow_where_its_cap_holds():
    optimizer = Optax(optax.polyak_sgd, 0.01)
    y = optimizer.init(x0, grad)
    dx = jax.jit(lambda y: optimizer.vector_field(0.1, y, loss_gradient))(y).x
    np.testing.assert_allclose(dx, -grad(x0), rtol=1e-12)


def test_a_changed_gradient_has_no_loss_to_give():
    optimizer = WithGradient(Optax(optax.polyak_sgd, 0.01), lambda g: 2 * g)
    with pytest.raises(
        InvalidValue, match="polyak_sgd asks for the loss, which this gradient does"
    ):
        iterate(optimizer, smooth, 1)


# The contract of every optimizer


def test_refining_leaves_the_flow_alone_and_compiles_nothing_anew():
    traced = []

    def counting(x):
        traced.append(x)
        return f(x)

    problem, optimizer = Problem(counting, [-1.5, 1.0], name="counting"), worked("lion")
    iterate(optimizer, problem, 5)
    before = len(traced)
    for n in (2, 4):
        iterate(optimizer.refine(n), problem, 5)
    assert len(traced) == before
    assert repr(optimizer.refine(2)) == "Optax(lion, h=0.0025)"


def test_optimizers_are_made_and_batched_inside_vmap():
    def last(h):
        return iterate(Optax(lambda h: optax.sgd(h), h), smooth, 3).x[-1]

    batch = eqx.filter_vmap(last)(jnp.array([0.01, 0.02]))
    np.testing.assert_allclose(batch[1], iterate(SGD(0.02), smooth, 3).x[-1], rtol=1e-14)


def test_the_dtype_is_that_of_the_start():
    run = iterate(worked("adabelief"), smooth, 3, x0=np.array([-1.5, 1.0], np.float32))
    assert {leaf.dtype for leaf in jax.tree.leaves(run.y)} == {np.dtype(np.float32)}


def test_a_run_comes_back_from_disk_with_its_memories(tmp_path):
    run = iterate(worked("adabelief"), smooth, 3)
    run.save(tmp_path / "run.npz")
    again = Trajectory.load(tmp_path / "run.npz")
    assert again.y._fields == ("x", "mu", "nu")
    np.testing.assert_array_equal(again.y.nu, run.y.nu)


def test_nonsmooth_operations_are_named_and_modified_flows_warn_of_them():
    optimizer = Optax(lambda h: optax.chain(optax.clip(1.0), optax.sign_sgd(h)), 0.01)
    assert optimizer.regularity.nonsmooth == ("max", "min", "sign")
    np.testing.assert_allclose(flow(optimizer, 0.0, optimizer.init(x0, grad)).x, -np.sign(grad(x0)))
    with pytest.warns(
        UserWarning, match=r"has corners or branches \(max, min, sign\); where a path crosses one"
    ):
        Modified(optimizer)
    assert all(not worked(name).regularity.nonsmooth for name in WORKED)
    scaled_by_largest = optax.stateless(
        lambda g, x: jax.tree.map(lambda g: g * jnp.exp(jnp.max(g) / 10), g)
    )
    assert Optax(
        lambda h: optax.chain(scaled_by_largest, optax.scale(-h)), 0.01
    ).regularity.nonsmooth == ("reduce_max",)


# Families without a flow, and what is no family


NOT_IN_COUNTS = "does not converge as h → 0; write schedules in the time"
MAP_ONLY = "use dynopt.iterate, which runs its map all the same"
WITHOUT_FLOW = {
    "fixed decays": (
        optax.adam,
        r"adam has no flow: the state leaves `\[0\].mu` and `\[0\].nu` forget as much in each step "
        "however short the step is; make their decay 1 - h/tau, or wrap the optimizer in "
        "dynopt.Memoryless",
    ),
    "adadelta": (
        lambda h: optax.adadelta(),
        r"`\[1\].e_g` and `\[1\].e_x` forget as much.*the position moves by a step that does not "
        f"shrink like h; {MAP_ONLY}",
    ),
    "trace": (
        lambda h: optax.sgd(h**2, momentum=1 - 2 * h),
        r"the state leaf `\[0\].trace` grows without bound as h → 0; declare its power of h, "
        r"scale=\{'trace': -1\}",
    ),
    "root": (
        lambda h: optax.sgd(jnp.sqrt(h)),
        "the position moves by a step that does not shrink like h; multiply the updates as in "
        r"optax.chain\(family\(h\), optax.scale\(h\*\*0.5\)\)",
    ),
    "logarithm": (
        lambda h: optax.sgd(h * jnp.log(h) ** 2),
        f"the velocity of the position does not converge as h → 0; {MAP_ONLY}",
    ),
    "line in counts": (
        lambda h: optax.sgd(optax.linear_schedule(h, 0.0, 10**4)),
        NOT_IN_COUNTS + r" k\*h, not in the count k",
    ),
    "short line in counts": (lambda h: optax.sgd(optax.linear_schedule(h, 0, 10)), NOT_IN_COUNTS),
    "cosine in counts": (
        lambda h: optax.sgd(optax.cosine_decay_schedule(h, 10**6)),
        NOT_IN_COUNTS,
    ),
    "tent in counts": (
        lambda h: optax.sgd(lambda k: h * jnp.where(k < 5, k / 5, jnp.maximum(0, 2 - k / 5))),
        NOT_IN_COUNTS,
    ),
    "adamax": (
        lambda h: optax.adamax(h, b1=1 - h / 0.1, b2=1 - h),
        r"`\[0\].nu` jumps in the first step, however short it is, so no smooth flow starts there; "
        f"{MAP_ONLY}",
    ),
}


@pytest.mark.parametrize(("family", "words"), WITHOUT_FLOW.values(), ids=WITHOUT_FLOW)
def test_where_there_is_no_limit_the_leaf_and_the_cause_are_named(family, words):
    optimizer = Optax(family, 0.01)
    assert iterate(optimizer, smooth, 2).status == 0  # the map exists all the same
    derived = [optimizer] if optimizer.regularity.nonsmooth else [optimizer, Modified(optimizer)]
    for without_flow in derived:
        with pytest.raises(InvalidValue, match=words):
            without_flow.vector_field(0.1, optimizer.init(x0, grad), grad)


# What is advised works


def by_memoryless(family):
    return Memoryless(Optax(family, 0.01))


ADVISED = {
    "sums": (
        optax.adagrad,
        r"multiply the updates as in optax.chain\(family\(h\), optax.scale\(h\*\*-0.5\)\) and "
        r"declare its power of h, scale=\{'sum_of_squares': -1\}\.$",
        lambda family: Optax(
            lambda h: optax.chain(family(h), optax.scale(h**-0.5)),
            0.01,
            scale={"sum_of_squares": -1},
        ),
    ),
    "trace of steps": (
        lambda h: optax.rmsprop(h, momentum=0.9),
        r"shrink like h; wrap the optimizer in dynopt.Memoryless\.$",
        by_memoryless,
    ),
    "last gradient": (
        lambda h: optax.optimistic_gradient_descent(h),
        r"previous_gradient` forgets .* is; wrap the optimizer in dynopt.Memoryless\.$",
        by_memoryless,
    ),
    "schedule and slow decay": (
        lambda h: optax.adam(optax.linear_schedule(h, 0.0, 10**4), b1=1 - h / 0.1, b2=0.9999),
        r"nu` forgets .* is; make its decay 1 - h/tau and write schedules in the time k\*h, not in "
        r"the count k, as dynopt.Schedule does\.$",
        lambda family: Optax(
            lambda h: optax.adam(lambda k: h * (1 - k * h / 100), b1=1 - h / 0.1, b2=1 - h / 100),
            0.01,
        ),
    ),
    "uncapped": (
        lambda h: optax.polyak_sgd(f_min=-3.0),
        r"multiply the updates as in optax.chain\(family\(h\), optax.scale\(h\)\)\.$",
        lambda family: Optax(lambda h: optax.chain(family(h), optax.scale(h)), 0.01),
    ),
}


@pytest.mark.parametrize(("family", "words", "advised"), ADVISED.values(), ids=ADVISED)
def test_what_is_advised_has_a_flow(family, words, advised):
    assert re.search(words, Optax(family, 0.01).fault)
    optimizer = advised(family)
    y = optimizer.init(x0, grad)
    assert np.isfinite(jax.jit(lambda y: optimizer.vector_field(0.1, y, loss_gradient))(y).x).all()


WITHOUT_ADVICE = {
    "position that leaps": (
        lambda h: optax.chain(optax.sgd(h), optax.keep_params_nonnegative()),
        "the position jumps in the first step, however short it is, so no smooth flow starts there",
    ),
    "whole steps": (
        lambda h: optax.lbfgs(h, memory_size=1, linesearch=None),
        "this family has no flow, because it cannot be evaluated between two of its steps",
    ),
    "no schedule": (
        lambda h: optax.chain(
            optax.scale_by_schedule(lambda k: 1.0 + 0 * k), optax.scale(-h * jnp.log(h) ** 2)
        ),
        "the velocity of the position does not converge as h → 0",
    ),
}


@pytest.mark.parametrize(("family", "words"), WITHOUT_ADVICE.values(), ids=WITHOUT_ADVICE)
def test_where_nothing_was_seen_to_work_only_the_cause_is_named(family, words):
    fault = Optax(lambda h: family(h), 0.01).fault
    assert words in fault and fault.endswith(f"; {MAP_ONLY}.")
    assert not re.search("schedule|tau|Memoryless|scale", fault)


def heavy_ball(h):
    return optax.sgd(h, momentum=0.9)


REFUSED = {
    "a number": (
        0.1,
        {},
        InvalidType,
        r"`family` must be a function of h, got 0.1; write lambda h: optax.sgd\(h\)",
    ),
    "no transformation": (
        lambda h: h,
        {},
        InvalidType,
        r"`family\(h\)` must be an optax.GradientTransformation, got 0.01",
    ),
    "needs the batch": (
        lambda h: optax.GradientTransformationExtraArgs(
            lambda x: (), lambda g, s, x, *, batch, **extra: (g, s)
        ),
        {},
        InvalidType,
        "cannot be updated by the gradient, the state, the parameters and the loss .*'batch'",
    ),
    "lookahead": (
        lambda h: optax.lookahead(optax.sgd(h), 5, 0.5),
        {},
        InvalidType,
        "optax.lookahead moves two positions, and a problem has one; use its fast optimizer alone",
    ),
    "mask": (
        lambda h: optax.masked(optax.sgd(h), {"w": True, "b": False}),
        {},
        InvalidType,
        "cannot be initialised at such a position .*pass the problem's own start as `like`",
    ),
    "no argument": (
        lambda: optax.sgd(0.1),
        {},
        InvalidType,
        "`family` must take one number, h, but it takes other arguments; write lambda h",
    ),
    "list of leaves": (
        heavy_ball,
        {"scale": ["trace"]},
        InvalidType,
        r"`scale` must map leaves to powers of h, got \['trace'\]",
    ),
    "no such leaf": (optax.sgd, {"scale": {"trase": -1}}, UnknownName, "no state leaf 'trase'"),
    "misspelt leaf": (
        heavy_ball,
        {"scale": {"trase": -1}},
        UnknownName,
        "no state leaf 'trase'; did you mean trace",
    ),
    "text": (
        heavy_ball,
        {"scale": {"trace": "-1"}},
        InvalidType,
        r"`scale\['trace'\]` must be a number, got the text '-1'",
    ),
    "noise": (
        lambda h: optax.noisy_sgd(h, key=0),
        {},
        InvalidValue,
        "`.*key` is a random key, and a random update follows no differential equation",
    ),
    "several steps": (
        lambda h: optax.MultiSteps(optax.sgd(h), 3).gradient_transformation(),
        {},
        InvalidType,
        "moves in every k-th update only; wrap the optimizer inside it, "
        r"dynopt.Accumulated\(dynopt.Optax\(family, h\), k\)",
    ),
    "other counts": (
        lambda h: optax.chain(optax.apply_every(3), optax.sgd(h)),
        {},
        InvalidValue,
        "is no real number and does not count steps, so it is no function of the time",
    ),
    "branch": (
        lambda h: optax.sgd(optax.exponential_decay(h, 1 / h, 0.5)),
        {},
        InvalidType,
        "this family branches on the traced h; use jax.numpy",
    ),
    "numpy": (
        lambda h: optax.sgd(np.sqrt(h)),
        {},
        InvalidType,
        "this family uses numpy on the traced h; use jax.numpy",
    ),
    "h": (optax.sgd, {"h": 0.0}, InvalidValue, "`h` is 0: nothing would move"),
}


@pytest.mark.usefixtures("as_users_see_it")
@pytest.mark.parametrize(("family", "options", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_family_is_refused(family, options, error, words):
    with pytest.raises(error, match=words):
        Optax(family, **{"h": 0.01, **options})


def test_momentum_and_the_scaled_trace_of_optax_agree():
    twin = Optax(lambda h: optax.sgd(h**2, momentum=1 - 2 * h), 0.01, scale={"trace": -1})
    expected = iterate(Momentum(0.0001, 0.98), smooth, 20).x
    np.testing.assert_allclose(iterate(twin, smooth, 20).x, expected, rtol=1e-13)


def optax_factories():
    """The functions of optax that make a transformation of a learning rate, or of nothing."""
    for name, factory in [*vars(optax).items(), *vars(contrib).items()]:
        if not inspect.isfunction(factory) or name.startswith("_"):
            continue
        signature = inspect.signature(factory)
        needed = [p.name for p in signature.parameters.values() if p.default is p.empty]
        if "GradientTransformation" not in str(signature.return_annotation):
            continue
        if needed == ["learning_rate"]:
            yield factory
        elif not needed and "learning_rate" not in signature.parameters:
            yield lambda h, factory=factory: optax.chain(factory(), optax.scale(-h))


@pytest.mark.filterwarnings("ignore:Specifying a key will be required")
def test_every_factory_of_optax_is_an_optimizer_or_refused_in_words_of_dynopt():
    refused, families = 0, list(optax_factories())
    assert len(families) > 40
    for family in families:
        try:
            assert Optax(family, 0.01).fields[0] == "x"
        except DynoptError as error:
            refused += 1
            assert str(error).endswith(".")
    assert refused < 10
