"""A sweep is many runs of `iterate`. None depends on the others, on chunks or on memory."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from losses import mixture, polynomial, shaped_for

from dynopt import (
    SGD,
    Accumulated,
    Adam,
    Averaged,
    Layerwise,
    Momentum,
    Optax,
    Problem,
    Status,
    WithGradient,
    grid,
    iterate,
    problems,
    sweep,
)
from dynopt.errors import EnvironmentProblem, InvalidType, InvalidValue, UnknownName
from dynopt.optimizers import catalogue
from dynopt.runs import calls, chunks, lanes

well = problems.himmelblau()
starts = np.random.default_rng(0).uniform(-5, 5, (37, 2))
rates = np.geomspace(1e-4, 0.1, 37)
optimizers = grid(Momentum, learning_rate=rates)
ULPS = 4 * np.finfo(float).eps


def single_run(i, **options):
    return iterate(Momentum(rates[i]), well, 60, x0=starts[i], throw=False, **options)


def assert_near(actual, expected, growth=1.0):
    np.testing.assert_allclose(actual, expected, rtol=growth * ULPS, atol=growth * ULPS)


def assert_same_ends(actual, expected):
    """The same statuses, and the same positions and losses of the runs that are ok.

    Where a run that diverges ends is round-off, enlarged without bound.
    """
    np.testing.assert_array_equal(actual.result, expected.result)
    np.testing.assert_array_equal(actual.first_bad_step, expected.first_bad_step)
    ok = actual.result == Status.ok
    assert ok.any()
    for a, b in [(actual.x, expected.x), (actual.loss, expected.loss)]:
        np.testing.assert_allclose(a[ok], b[ok], rtol=1e-12, atol=1e-13)


# --- each run is that of iterate


@pytest.mark.parametrize("keep", ["last", "loss", 20])
def test_each_run_is_that_of_iterate(keep):
    swept = sweep(optimizers, well, 60, x0=starts, keep=keep)
    assert {Status.ok, Status.diverged} == set(map(Status, swept.result.tolist()))
    for i in (0, 11, 20, 30, 36):
        run = single_run(i, save_every={"last": 60, "loss": 1, 20: 20}[keep])
        kept = slice(None) if keep == 20 else -1
        assert (swept.result[i], swept.first_bad_step[i]) == (
            run.result,
            run.stats["first_bad_step"],
        )
        if run.status == Status.ok:
            assert_near(swept.x[i], run.x[kept], 100)
            assert_near(swept.grad_norm[i], run.grad_norm[kept], 1000)
            assert_near(swept.loss[i], run.loss[-1] if keep == "last" else run.loss, 1000)
            assert_near(swept.t[i], run.t[-1] if keep == "last" else run.t)


@pytest.mark.parametrize("name", catalogue)
def test_every_optimizer_can_be_swept(name):
    optimizer = catalogue[name](0.01)
    problem = shaped_for(optimizer, mixture("bent", [1.0, -1.0]))
    x0 = np.stack([problem.x0, 2 * problem.x0, -problem.x0])
    swept = sweep(optimizer, problem, 10, x0=x0)
    assert swept.shape == (3,) and (swept.result == Status.ok).all()
    assert_near(swept.x[1], iterate(optimizer, problem, 10, x0=x0[1], save_every=10).x[-1], 100)


def test_optimizers_and_starts_are_broadcast_against_each_other():
    batch = grid(Momentum, learning_rate=[0.001, 0.01], momentum=[0.0, 0.5, 0.9])
    swept = sweep(batch, well, 8, x0=starts[:5, None, None], keep=4)
    assert swept.shape == (5, 2, 3)
    assert swept.x.shape == (5, 2, 3, 3, 2) and swept.t.shape == (2, 3, 3)
    run = iterate(Momentum(0.01, 0.9), well, 8, x0=starts[4], save_every=4)
    assert_near(swept.x[4, 1, 2], run.x, 10)
    assert_near(swept.t[1, 2], run.t)


def test_one_run_is_a_batch_without_axes():
    swept = sweep(Momentum(0.001), well, 8)
    assert swept.shape == swept.loss.shape == swept.t.shape == () and swept.x.shape == (2,)
    assert_near(swept.x, iterate(Momentum(0.001), well, 8).x[-1], 10)
    assert repr(swept) == "Sweep(Momentum on himmelblau, 1 run of 8 steps: 1 ok)"


def test_no_steps_give_the_starts_and_their_losses():
    swept = sweep(SGD(0.1), well, 0, x0=starts[:2])
    assert_near(swept.x, starts[:2])
    assert_near(swept.loss, jax.vmap(well.loss)(starts[:2]))
    assert (swept.result == Status.ok).all() and (swept.t == 0).all()


def test_positions_are_trees_in_their_own_dtype():
    tree = {"w": np.ones((2, 3), np.float32), "b": np.zeros(2, np.float32)}
    net = Problem(lambda p: (p["w"] ** 2).sum() + jnp.cos(p["b"]).sum(), tree, name="net")
    many = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf + 1]), tree)
    optimizer = grid(lambda factor: Layerwise(SGD(0.1), {"w": factor}), factor=[1.0, 0.5])
    swept = sweep(optimizer, net, 3, x0=many, keep=3)
    run = iterate(
        Layerwise(SGD(0.1), {"w": 0.5}),
        net,
        3,
        x0=jax.tree.map(lambda leaf: leaf[1], many),
        save_every=3,
    )
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), swept.x) == {
        "w": ((2, 2, 2, 3), np.float32), "b": ((2, 2, 2), np.float32)
    }  # fmt: skip
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-6), swept.x, run.x)


def test_a_batch_of_random_keys_is_a_batch_of_optimizers():
    class Noise(eqx.Module):
        key: jax.Array

        def __call__(self, g, x, k):
            return g + jax.random.normal(jax.random.fold_in(self.key, k), g.shape)

    def noisy(key):
        return WithGradient(SGD(0.01), Noise(key), mean=lambda g: g)

    keys = jax.random.split(jax.random.key(0), 5)
    swept = sweep(eqx.filter_vmap(noisy)(keys), well, 4)
    assert_near(swept.x[3], iterate(noisy(keys[3]), well, 4).x[-1], 100)
    assert len(np.unique(swept.loss)) == 5
    assert_near(swept.x[:2], sweep(eqx.filter_vmap(noisy)(keys[:2]), well, 4).x, 10)


# --- failures are results


def test_a_diverged_run_changes_no_other():
    unstable = np.arange(37) % 3 == 0
    small = np.full(37, 0.001)
    swept = sweep(grid(SGD, learning_rate=np.where(unstable, 10.0, small)), well, 60, x0=starts)
    assert (swept.result[unstable] == Status.diverged).all()
    assert (swept.result[~unstable] == Status.ok).all()
    all_stable = sweep(grid(SGD, learning_rate=small), well, 60, x0=starts)
    np.testing.assert_array_equal(swept.x[~unstable], all_stable.x[~unstable])


def test_every_status_is_that_of_iterate():
    root = Problem(lambda x: jnp.sum(jnp.sqrt(x)), [1.0], name="root")
    for rate, x0 in [(0.4, 1.0), (1e-30, 1.0), (0.4, 1e-3), (0.1, 100.0)]:
        swept = sweep(SGD(rate), root, 10, x0=[x0])
        run = iterate(SGD(rate), root, 10, x0=[x0], throw=False, save_every=10)
        assert (swept.result, swept.first_bad_step) == (run.result, run.stats["first_bad_step"])
    nowhere = sweep(SGD(0.1), root, 10, x0=[[-1.0], [1.0]])
    assert nowhere.result[0] == Status.nonfinite and nowhere.first_bad_step[0] == 0
    at_rest = sweep(SGD(0.1), polynomial("bowl", [0.0, 0.0]), 10)
    assert at_rest.result == Status.ok


def bowl(x):
    return jnp.sum(x**2) / 2


def median(x):
    return bowl(x) + jnp.sort(jnp.append(x, 0.0))[1]


def weighed_by_an_inverse(x):
    return bowl(x) + jnp.linalg.solve(jnp.eye(2) + jnp.outer(x, x), x)[0]


@pytest.mark.parametrize(
    "loss, dim, has_program",
    [(bowl, 2, True), (bowl, 300, False), (median, 2, False), (weighed_by_an_inverse, 2, False)],
)
def test_a_few_coordinates_take_steps_by_a_program_of_scalars(loss, dim, has_program, monkeypatch):
    programs, evaluate = [], lanes.evaluate

    def counted(program, *arguments, **options):
        programs.append(program)
        return evaluate(program, *arguments, **options)

    monkeypatch.setattr(lanes, "evaluate", counted)
    problem = Problem(loss, np.linspace(1, 2, dim), name="counted")
    swept = sweep(SGD(0.1), problem, 5)
    assert bool(programs) == has_program
    assert_near(swept.x, iterate(SGD(0.1), problem, 5, save_every=5).x[-1], 100)


def test_a_run_that_is_back_before_a_check_has_not_diverged():
    """A slope of -1e20 throws the run out; one step of rate 1 leads from there to 0."""
    sling = Problem(
        lambda x: jnp.where(jnp.abs(x - 1) < 0.5, -1e20 * x, x**2 / 2).sum(), [1.0], name="sling"
    )
    assert f"after every {lanes.STRIDE} steps" in (sweep.__doc__ or "")
    back = sweep(SGD(1.0), sling, 10)
    assert back.result == Status.ok and back.x == 0
    assert iterate(SGD(1.0), sling, 10, throw=False).status == Status.diverged


# --- chunks, memory and interrupts do not change the result


def test_a_run_does_not_depend_on_how_many_there_are():
    many = sweep(optimizers, well, 60, x0=starts, keep=20)
    few = sweep(jax.tree.map(lambda leaf: leaf[5:8], optimizers), well, 60, x0=starts[5:8], keep=20)
    assert_near(few.x, many.x[5:8], 100)


@pytest.mark.parametrize("keep", ["last", "loss", 20])
def test_chunks_do_not_change_the_result(keep, monkeypatch):
    expected = sweep(optimizers, well, 60, x0=starts, keep=keep)
    monkeypatch.setattr(chunks, "FIRST_CALL_FLOPS", 1)
    # one run at a time, one step at a time
    monkeypatch.setattr(calls, "TARGET_SECONDS_PER_CALL", 1e-9)
    assert_same_ends(sweep(optimizers, well, 60, x0=starts, keep=keep), expected)


def chunks_of_a_million_runs(memory):
    starts = np.zeros((10**6, 2))
    task = chunks.SweepTask(
        None, SGD(0.1), well.loss, starts, 1, (10**6,), np.zeros(2), 9, 9, False
    )
    return chunks.Chunks(task, lanes.make_mesh(jax.devices()[:1]), memory)


def test_memory_is_bounded_by_smaller_chunks():
    for memory in (2**12, 2**16, 2**20, 2**30):
        plan = chunks_of_a_million_runs(memory)
        shapes = jax.tree.leaves(plan.run_shapes)
        bytes_per_run = sum(leaf.size * leaf.dtype.itemsize for leaf in shapes)
        assert plan.size * plan.workers * bytes_per_run <= memory
    small, large = (chunks_of_a_million_runs(memory).size for memory in (2**12, 2**20))
    assert small < large < 10**6
    scarce = sweep(optimizers, well, 60, x0=starts, memory=2**12)
    assert_same_ends(scarce, sweep(optimizers, well, 60, x0=starts))
    with pytest.raises(
        InvalidValue, match=r"`memory` is 10 bytes, and a run takes \d+ while it lasts; allow for"
    ):
        sweep(optimizers, well, 60, x0=starts, memory=10)


def test_a_chunk_that_does_not_fit_is_halved(monkeypatch):
    expected, run, sizes = sweep(optimizers, well, 60, x0=starts), lanes.run, []

    def run_in_little_memory(mesh, runs, *arguments):
        sizes.append(runs.failure.size)
        if runs.failure.size > most:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return run(mesh, runs, *arguments)

    monkeypatch.setattr(lanes, "run", run_in_little_memory)
    most = 4
    assert_same_ends(sweep(optimizers, well, 60, x0=starts), expected)
    assert max(sizes) > 4 and min(sizes) == 4
    most = 0
    with pytest.raises(
        EnvironmentProblem, match="memory ran out with 1 runs at a time; use fewer coordinates"
    ):
        sweep(optimizers, well, 60, x0=starts, devices=1)


def test_what_is_finished_before_an_interrupt_is_kept(monkeypatch):
    expected, run, begun = sweep(optimizers, well, 60, x0=starts), lanes.run, []
    monkeypatch.setattr(chunks, "FIRST_CALL_FLOPS", 200)  # some runs at a time
    monkeypatch.setattr(chunks.os, "sched_getaffinity", lambda _: {0}, raising=False)

    def interrupted(mesh, runs, optimizer, loss, plan, keep_points):
        begun.extend([plan] * int(plan.k == 0))
        if len(begun) > 4:  # two threads have then finished three chunks at least
            raise KeyboardInterrupt
        return run(mesh, runs, optimizer, loss, plan, keep_points)

    monkeypatch.setattr(lanes, "run", interrupted)
    with pytest.warns(
        UserWarning, match=r"you stopped the sweep after \d+ of 37 runs; the others are NaN\."
    ):
        swept = sweep(optimizers, well, 60, x0=starts)
    done = swept.result != Status.interrupted
    assert 0 < done.sum() < 37
    np.testing.assert_array_equal(swept.result[done], expected.result[done])
    assert np.isnan(swept.x[~done]).all() and "interrupted" in repr(swept)


def test_the_bar_counts_every_step_of_every_run(monkeypatch):
    counted = []

    class Bar:
        def __init__(self, *, total, **_):
            counted.append(total)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def update(self, number):
            counted[0] -= number

    monkeypatch.setattr("tqdm.tqdm", Bar)
    monkeypatch.setattr(chunks, "FIRST_CALL_FLOPS", 1000)
    sweep(optimizers, well, 60, x0=starts)
    assert counted == [0]


def test_values_never_recompile():
    traced = []

    def counted(x):
        traced.append(1)
        return jnp.sum(x**2)

    bowl = Problem(counted, [1.0, 2.0], name="bowl")
    compiled = lanes.run._cached._cache_size
    sweep(SGD(0.1), bowl, 10, x0=starts)
    before = compiled(), len(traced)
    for rate in np.linspace(0.01, 0.2, 50):
        sweep(SGD(rate), bowl, 10 + int(100 * rate), x0=rate * starts)
    assert (compiled(), len(traced)) == before


# --- transformations


def test_a_sweep_can_be_differentiated_mapped_and_compiled():
    def ends(rate, x0=starts[:3]):
        return sweep(SGD(rate), well, 5, x0=x0).loss.sum()

    rate, step = 1e-3, 1e-7
    slope = jax.jit(jax.grad(ends))(rate)
    difference = float(ends(rate + step) - ends(rate - step)) / (2 * step)
    assert float(slope) == pytest.approx(difference, rel=1e-5)
    mapped = jax.vmap(ends)(jnp.array([rate, 2 * rate]))
    assert_near(mapped[1], ends(2 * rate), 10)
    curves = jax.jit(lambda x0: sweep(optimizers, well, 60, x0=x0, keep="loss"))(starts)
    assert_same_ends(curves, sweep(optimizers, well, 60, x0=starts, keep="loss"))


def test_a_loss_may_close_over_what_is_differentiated():
    def end(scale):
        return sweep(SGD(0.1), Problem(lambda x: scale * (x**2).sum() / 2, [3.0]), 4).x[0]

    assert float(jax.grad(end)(1.0)) == pytest.approx(-3 * 4 * 0.1 * 0.9**3)


def test_devices_may_be_an_array_of_them():
    assert_same_ends(
        sweep(optimizers, well, 60, x0=starts, devices=np.array(jax.devices())),
        sweep(optimizers, well, 60, x0=starts),
    )


# --- refusals


@pytest.mark.parametrize(
    "error, options, words",
    [
        (
            InvalidValue,
            {"x0": np.zeros((3, 3))},
            r"`x0` has shape \(3, 3\) but himmelblau wants \(\.\.\., 2\), axes of",
        ),
        (InvalidValue, {"x0": np.zeros((0, 2))}, "`x0` is empty"),
        (InvalidValue, {"x0": np.full((3, 2), np.nan)}, "pass finite numbers"),
        (
            InvalidValue,
            {"keep": 7},
            "`keep` is 7, which does not divide the 60 `steps`; use a divisor",
        ),
        (
            InvalidValue,
            {"keep": "all"},
            '`keep` is \'all\'; pass "last", "loss", or the number of steps',
        ),
        (
            InvalidValue,
            {"steps": 2**31},
            "`steps` must be a whole number of at most 1000000000, got 2147483648",
        ),
        (
            InvalidValue,
            {"steps": 10**8, "keep": "loss"},
            r"would take \d+ GiB, more than 4; keep less of each run",
        ),
        (
            EnvironmentProblem,
            {"devices": 99},
            r"99 devices were asked for, and JAX has 1 \(cpu\); pass devices=1, or set XLA_FLAGS=",
        ),
        (InvalidType, {"devices": "gpu"}, "`devices` must be a number or JAX's devices, got 'gpu'"),
        (InvalidType, {"devices": []}, r"`devices` must be a number or JAX's devices, got \[\]"),
        (
            InvalidValue,
            {"devices": 2 * jax.devices()},
            "`devices` names a device twice, in .*; pass each once",
        ),
    ],
)
def test_bad_input_is_refused(as_users_see_it, error, options, words):
    with pytest.raises(error, match=words):
        sweep(SGD(0.1), well, **({"steps": 60, "x0": starts} | options))


def test_optimizers_and_starts_must_broadcast(as_users_see_it):
    with pytest.raises(
        InvalidValue,
        match=r"is a batch of shape \(37,\) and `x0` holds starts of shape \(5,\), which do not",
    ):
        sweep(optimizers, well, 10, x0=starts[:5])


def test_a_batch_of_optimizers_is_for_sweeps_alone():
    with pytest.raises(
        InvalidType, match="`optimizer` is a batch of 37 optimizers; run them all with dynopt.sweep"
    ):
        iterate(optimizers, well, 10)


@pytest.mark.parametrize(
    "make, values, words",
    [
        (SGD, [0.1, -0.2], "`learning_rate` is -0.2, which climbs the loss"),
        (SGD, [0.1, np.nan], "`learning_rate` must be finite, got nan"),
        (lambda b1: Adam(0.1, b1), [0.0, 1.2], r"`b1` is 1.2, which is outside \[0, 1\)"),
        (
            lambda b1: Layerwise(Adam(0.1, b1), {"a": 2.0}),
            [0.5, 1.2],
            r"`b1` is 1.2, which is outside \[0, 1\)",
        ),
    ],
)
def test_what_a_constructor_could_not_know_is_refused(make, values, words):
    with pytest.raises(InvalidValue, match=words):
        sweep(eqx.filter_vmap(make)(jnp.array(values)), well, 10)


def test_round_off_in_times_is_no_bad_hyperparameter():
    batch = eqx.filter_vmap(Momentum)(jnp.geomspace(1e-4, 1e-3, 7), jnp.zeros(7))
    swept = sweep(batch, well, 5)
    assert (swept.result == Status.ok).all()


def test_leaves_must_have_the_same_batch():
    tree = Problem(
        lambda p: (p["a"] ** 2).sum() + p["b"] ** 2, {"a": np.ones(2), "b": 1.0}, name="tree"
    )
    with pytest.raises(
        InvalidValue, match=r"`x0\['b'\]` has shape \(3,\) but tree wants \(4\), axes of the batch"
    ):
        sweep(SGD(0.1), tree, 5, x0={"a": np.ones((4, 2)), "b": np.ones(3)})
    with pytest.raises(InvalidValue, match="but tree wants PyTreeDef"):
        sweep(SGD(0.1), tree, 5, x0=np.ones(3))


# --- grids


def test_a_grid_has_the_axes_of_its_keywords_in_their_order():
    rates, momenta = [0.001, 0.01], np.array([0.0, 0.5, 0.9])
    batch = grid(Momentum, learning_rate=rates, momentum=momenta)
    assert batch.h.shape == (2, 3)
    assert_near(batch.learning_rate, np.broadcast_to(np.array(rates)[:, None], (2, 3)))
    assert_near(batch.momentum, np.broadcast_to(momenta, (2, 3)))
    assert grid(Momentum, momentum=momenta, learning_rate=rates).h.shape == (3, 2)
    swept = sweep(batch, well, 8)
    for i, j in np.ndindex(2, 3):
        assert_near(swept.x[i, j], iterate(Momentum(rates[i], momenta[j]), well, 8).x[-1], 100)


def test_what_is_no_list_is_the_same_in_the_whole_grid():
    batch = grid(Adam, learning_rate=range(1, 4), b1=0.5, eps=jnp.array(1e-3))
    assert_near(batch.b1, np.full(3, 0.5))
    assert_near(batch.eps, np.full(3, 1e-3))
    assert repr(grid(Adam, learning_rate=0.1, b1=0.5)) == repr(Adam(0.1, 0.5))


def test_a_grid_of_wrappers_is_made_by_a_function_or_under_filter_vmap():
    made = grid(lambda rate, tau: Averaged(SGD(rate), tau), rate=[0.01, 0.02], tau=[1.0, 2.0, 3.0])
    assert made.tau.shape == made.h.shape == (2, 3)
    wrapped = eqx.filter_vmap(lambda inner: Averaged(inner, 2.0))(
        grid(SGD, learning_rate=[0.01, 0.02])
    )
    one, other = sweep(made, well, 8), sweep(wrapped, well, 8)
    assert one.shape == (2, 3) and other.shape == (2,)
    assert_near(one.x[:, 1], other.x)
    assert_near(one.x[1, 1], iterate(Averaged(SGD(0.02), 2.0), well, 8).x[-1], 100)


def test_a_grid_compiles_once():
    traces = []

    def loss(x):
        traces.append(1)
        return jnp.sum(x**2)

    bowl = Problem(loss, [1.0, 2.0], name="bowl")
    sweep(grid(Momentum, learning_rate=[0.1, 0.2], momentum=[0.0, 0.5, 0.9]), bowl, 10)
    first = lanes.run._cached._cache_size(), len(traces)
    sweep(grid(Momentum, learning_rate=[0.3, 0.05], momentum=[0.1, 0.2, 0.3]), bowl, 10)
    assert (lanes.run._cached._cache_size(), len(traces)) == first


@pytest.mark.parametrize(
    "error, arguments, words",
    [
        (
            UnknownName,
            {"learning_rat": [0.1, 0.2]},
            "no option of Momentum 'learning_rat'; did you mean learning_rate",
        ),
        (InvalidType, {"learning_rate": lambda k: 0.1}, "must be a number, got a schedule; pass a"),
        (InvalidType, {"learning_rate": ["a", "b"]}, "`learning_rate` must hold real numbers"),
        (InvalidValue, {"learning_rate": [0.1, -0.2]}, "`learning_rate` is -0.2, which climbs the"),
        (InvalidValue, {"learning_rate": [0.1, np.nan]}, "`learning_rate` is nan at coordinate 1"),
        (InvalidValue, {"learning_rate": []}, r"`learning_rate` has shape \(0,\); pass one number"),
        (
            InvalidValue,
            {"learning_rate": np.ones((2, 2))},
            r"`learning_rate` has shape \(2, 2\); pass one number, or a list of numbers for an ",
        ),
    ],
)
def test_a_grid_refuses_what_its_optimizer_refuses(as_users_see_it, error, arguments, words):
    with pytest.raises(error, match=words):
        grid(Momentum, momentum=[0.0, 0.9], **arguments)


def test_a_grid_refuses_a_combination_that_no_single_value_shows(as_users_see_it):
    with pytest.raises(InvalidValue, match="the time step `h` = 2 is longer than the memory time"):
        grid(lambda rate, tau: Averaged(SGD(rate), tau), rate=[0.5, 2.0, 1.0], tau=[3.0, 1.0])


def test_a_grid_can_be_differentiated():
    def end(rates):
        return sweep(grid(SGD, learning_rate=rates), polynomial("bowl", [1.0, 0.0]), 1).loss.sum()

    np.testing.assert_allclose(jax.grad(end)(jnp.array([0.1, 0.2])), [-0.9, -0.8])


def test_a_grid_is_made_of_a_class(as_users_see_it):
    with pytest.raises(
        InvalidType, match=r"such as dynopt.Momentum, .* got Momentum\(learning_rate=0.1, mom"
    ):
        grid(Momentum(0.1), momentum=[0.0, 0.9])


@pytest.mark.parametrize(
    "function, words",
    [
        (lambda rate: SGD(rate) if rate < 1 else Momentum(rate), "branches on a hyperparameter"),
        (lambda rate: SGD(float(rate)), "turns a hyperparameter into a Python number, but a grid"),
        (lambda rate: Accumulated(SGD(0.1), rate), "`k` must be a known whole number, got a trace"),
        (lambda rate: None, "`optimizer` must return an optimizer of dynopt, got None; return"),
    ],
)
def test_a_grid_says_what_its_function_must_do(as_users_see_it, function, words):
    with pytest.raises(InvalidType, match=words):
        grid(function, rate=[1.0, 2.0])


def test_a_grid_takes_no_batch_among_its_hyperparameters(as_users_see_it):
    rates = grid(SGD, learning_rate=[0.01, 0.02])
    with pytest.raises(InvalidType, match="`optimizer` is a batch of optimizers, got SGD.*lambda"):
        grid(lambda optimizer, tau: Averaged(optimizer, tau), optimizer=rates, tau=[1.0, 2.0])


def test_a_grid_takes_a_list_of_traced_numbers():
    def rates(rate):
        return grid(SGD, learning_rate=[rate, 2 * rate]).h

    np.testing.assert_allclose(jax.jit(rates)(0.1), [0.1, 0.2])


def test_a_grid_may_hold_optimizers_of_optax():
    def family(h):
        return optax.chain(optax.trace(0.5), optax.scale(-h))

    swept = sweep(grid(Optax, family=family, h=[0.001, 0.002]), well, 20)
    for i, h in enumerate((0.001, 0.002)):
        assert_near(swept.x[i], iterate(Optax(family, h), well, 20).x[-1], 100)
