"""A sweep is many runs of `iterate`: none depends on the others, on chunks, on memory, or on how many there are."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from losses import fitting, mixture, polynomial

from dynopt import (
    SGD,
    Adam,
    Layerwise,
    Momentum,
    Problem,
    Status,
    WithGradient,
    iterate,
    problems,
    sweep,
)
from dynopt.errors import EnvironmentProblem, InvalidType, InvalidValue
from dynopt.optimizers import catalogue
from dynopt.runs import chunks, lanes

well = problems.himmelblau()
starts = np.random.default_rng(0).uniform(-5, 5, (37, 2))
rates = np.geomspace(1e-4, 0.1, 37)
optimizers = eqx.filter_vmap(Momentum)(jnp.asarray(rates))
ULPS = 4 * np.finfo(float).eps


def alone(i, **options):
    return iterate(Momentum(rates[i]), well, 60, x0=starts[i], throw=False, **options)


def near(found, expected, growth=1.0):
    np.testing.assert_allclose(found, expected, rtol=growth * ULPS, atol=growth * ULPS)


def alike(found, expected):
    """The same ends for the same members; how far those run that diverge is round-off, enlarged without bound."""
    np.testing.assert_array_equal(found.result, expected.result)
    np.testing.assert_array_equal(found.first_bad_step, expected.first_bad_step)
    fine = found.result == Status.ok
    assert fine.any()
    for mine, theirs in [(found.x, expected.x), (found.loss, expected.loss)]:
        np.testing.assert_allclose(mine[fine], theirs[fine], rtol=1e-12, atol=1e-13)


# --- each run is that of iterate


@pytest.mark.parametrize("keep", ["last", "loss", 20])
def test_each_run_is_that_of_iterate(keep):
    found = sweep(optimizers, well, 60, x0=starts, keep=keep)
    assert {Status.ok, Status.diverged} == set(map(Status, found.result.tolist()))
    for i in (0, 11, 20, 30, 36):
        run = alone(i, save_every={"last": 60, "loss": 1, 20: 20}[keep])
        kept = slice(None) if keep == 20 else -1
        assert (found.result[i], found.first_bad_step[i]) == (
            run.result,
            run.stats["first_bad_step"],
        )
        if run.status == Status.ok:
            near(found.x[i], run.x[kept], 100)
            near(found.grad_norm[i], run.grad_norm[kept], 1000)
            near(found.loss[i], run.loss[-1] if keep == "last" else run.loss, 1000)
            near(found.t[i], run.t[-1] if keep == "last" else run.t)


@pytest.mark.parametrize("name", catalogue)
def test_every_page_can_be_swept(name):
    optimizer = catalogue[name](0.01)
    problem = fitting(optimizer, mixture("bent", [1.0, -1.0]))
    x0 = np.stack([problem.x0, 2 * problem.x0, -problem.x0])
    found = sweep(optimizer, problem, 10, x0=x0)
    assert found.shape == (3,) and (found.result == Status.ok).all()
    near(found.x[1], iterate(optimizer, problem, 10, x0=x0[1], save_every=10).x[-1], 100)


def test_pages_and_starts_are_broadcast_against_each_other():
    grid = eqx.filter_vmap(eqx.filter_vmap(Momentum, in_axes=(None, 0)), in_axes=(0, None))
    grid = grid(jnp.array([0.001, 0.01]), jnp.array([0.0, 0.5, 0.9]))
    found = sweep(grid, well, 8, x0=starts[:5, None, None], keep=4)
    assert (
        found.shape == (5, 2, 3) and found.x.shape == (5, 2, 3, 3, 2) and found.t.shape == (2, 3, 3)
    )
    run = iterate(Momentum(0.01, 0.9), well, 8, x0=starts[4], save_every=4)
    near(found.x[4, 1, 2], run.x, 10)
    near(found.t[1, 2], run.t)


def test_one_run_is_a_batch_without_axes():
    found = sweep(Momentum(0.001), well, 8)
    assert found.shape == found.loss.shape == found.t.shape == () and found.x.shape == (2,)
    near(found.x, iterate(Momentum(0.001), well, 8).x[-1], 10)
    assert repr(found) == "Sweep(Momentum on himmelblau, 1 run of 8 steps: 1 ok)"


def test_no_steps_are_a_look_at_the_start():
    found = sweep(SGD(0.1), well, 0, x0=starts[:2])
    near(found.x, starts[:2])
    near(found.loss, jax.vmap(well.loss)(starts[:2]))
    assert (found.result == Status.ok).all() and (found.t == 0).all()


def test_positions_are_trees_in_their_own_dtype():
    tree = {"w": np.ones((2, 3), np.float32), "b": np.zeros(2, np.float32)}
    net = Problem(lambda p: (p["w"] ** 2).sum() + jnp.cos(p["b"]).sum(), tree, name="net")
    many = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf + 1]), tree)
    optimizer = eqx.filter_vmap(lambda factor: Layerwise(SGD(0.1), {"w": factor}))(
        jnp.array([1.0, 0.5])
    )
    found = sweep(optimizer, net, 3, x0=many, keep=3)
    run = iterate(
        Layerwise(SGD(0.1), {"w": 0.5}),
        net,
        3,
        x0=jax.tree.map(lambda leaf: leaf[1], many),
        save_every=3,
    )
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), found.x) == {
        "w": ((2, 2, 2, 3), np.float32), "b": ((2, 2, 2), np.float32)
    }  # fmt: skip
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-6), found.x, run.x)


def test_seeds_are_keys_on_pages():
    class Noise(eqx.Module):
        key: jax.Array

        def __call__(self, g, x, k):
            return g + jax.random.normal(jax.random.fold_in(self.key, k), g.shape)

    def page(key):
        return WithGradient(SGD(0.01), Noise(key), mean=lambda g: g)

    keys = jax.random.split(jax.random.key(0), 5)
    found = sweep(eqx.filter_vmap(page)(keys), well, 4)
    near(found.x[3], iterate(page(keys[3]), well, 4).x[-1], 100)
    assert len(np.unique(found.loss)) == 5
    near(found.x[:2], sweep(eqx.filter_vmap(page)(keys[:2]), well, 4).x, 10)


# --- failures are results


def test_a_diverged_member_changes_no_other():
    wild = np.arange(37) % 3 == 0
    calm = np.full(37, 0.001)
    found = sweep(eqx.filter_vmap(SGD)(jnp.where(wild, 10.0, calm)), well, 60, x0=starts)
    assert (found.result[wild] == Status.diverged).all() and (
        found.result[~wild] == Status.ok
    ).all()
    all_calm = sweep(eqx.filter_vmap(SGD)(jnp.asarray(calm)), well, 60, x0=starts)
    np.testing.assert_array_equal(found.x[~wild], all_calm.x[~wild])


def test_every_status_is_that_of_iterate():
    root = Problem(lambda x: jnp.sum(jnp.sqrt(x)), [1.0], name="root")
    for rate, x0 in [(0.4, 1.0), (1e-30, 1.0), (0.4, 1e-3), (0.1, 100.0)]:
        found = sweep(SGD(rate), root, 10, x0=[x0])
        run = iterate(SGD(rate), root, 10, x0=[x0], throw=False, save_every=10)
        assert (found.result, found.first_bad_step) == (run.result, run.stats["first_bad_step"])
    nowhere = sweep(SGD(0.1), root, 10, x0=[[-1.0], [1.0]])
    assert nowhere.result[0] == Status.nonfinite and nowhere.first_bad_step[0] == 0
    at_rest = sweep(SGD(0.1), polynomial("bowl", [0.0, 0.0]), 10)
    assert at_rest.result == Status.ok


def test_a_run_that_is_back_before_a_look_has_not_diverged():
    """A slope of -1e20 throws the run out; from there one step of rate 1 leads to 0, where it rests."""
    sling = Problem(
        lambda x: jnp.where(jnp.abs(x - 1) < 0.5, -1e20 * x, x**2 / 2).sum(), [1.0], name="sling"
    )
    assert f"after every {lanes.STRIDE} steps" in (sweep.__doc__ or "")
    back = sweep(SGD(1.0), sling, 10)
    assert back.result == Status.ok and back.x == 0
    assert iterate(SGD(1.0), sling, 10, throw=False).status == Status.diverged


# --- how it is done does not show


def test_a_run_does_not_depend_on_how_many_there_are():
    many = sweep(optimizers, well, 60, x0=starts, keep=20)
    few = sweep(jax.tree.map(lambda leaf: leaf[5:8], optimizers), well, 60, x0=starts[5:8], keep=20)
    near(few.x, many.x[5:8], 100)


@pytest.mark.parametrize("keep", ["last", "loss", 20])
def test_chunks_do_not_show(keep, monkeypatch):
    whole = sweep(optimizers, well, 60, x0=starts, keep=keep)
    monkeypatch.setattr(chunks, "WORK", 1)
    monkeypatch.setattr(chunks, "PATIENCE", 1e-9)  # one run at a time, one step at a time
    alike(sweep(optimizers, well, 60, x0=starts, keep=keep), whole)


def test_memory_is_bounded_by_smaller_chunks():
    def runs_at_once(memory):
        work = chunks.Work(
            None, SGD(0.1), well.loss, np.zeros((10**6, 2)), 1, (10**6,), np.zeros(2), 9, 9, False
        )
        return chunks.Chunks(work, chunks.lanes.meshed(jax.devices()[:1]), memory)

    for memory in (2**12, 2**16, 2**20, 2**30):
        made = runs_at_once(memory)
        a_run = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(made.member))
        assert made.size * made.workers * a_run <= memory
    assert runs_at_once(2**12).size < runs_at_once(2**20).size < 10**6
    scarce = sweep(optimizers, well, 60, x0=starts, memory=2**12)
    alike(scarce, sweep(optimizers, well, 60, x0=starts))
    with pytest.raises(
        InvalidValue, match=r"`memory` is 10 bytes, and a run takes \d+ while it lasts; allow for"
    ):
        sweep(optimizers, well, 60, x0=starts, memory=10)


def test_a_chunk_that_does_not_fit_is_halved(monkeypatch):
    whole, run, sizes = sweep(optimizers, well, 60, x0=starts), chunks.lanes.run, []

    def crowded(mesh, members, *rest):
        sizes.append(members.fault.size)
        if members.fault.size > most:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        return run(mesh, members, *rest)

    monkeypatch.setattr(chunks.lanes, "run", crowded)
    most = 4
    alike(sweep(optimizers, well, 60, x0=starts), whole)
    assert max(sizes) > 4 and min(sizes) == 4
    most = 0
    with pytest.raises(
        EnvironmentProblem, match="memory ran out with 1 runs at a time; use fewer coordinates"
    ):
        sweep(optimizers, well, 60, x0=starts, devices=1)


def test_what_is_finished_before_an_interrupt_is_kept(monkeypatch):
    whole, run, calls = sweep(optimizers, well, 60, x0=starts), chunks.lanes.run, []
    monkeypatch.setattr(chunks, "WORK", 200)  # some runs at a time
    monkeypatch.setattr(chunks.os, "sched_getaffinity", lambda _: {0}, raising=False)

    def interrupted(*given):
        calls.append(1)
        if len(calls) > 8:
            raise KeyboardInterrupt
        return run(*given)

    monkeypatch.setattr(chunks.lanes, "run", interrupted)
    with pytest.warns(UserWarning, match=r"stopped by you after \d+ of 37 runs; the rest is NaN\."):
        found = sweep(optimizers, well, 60, x0=starts)
    done = found.result != Status.interrupted
    assert 0 < done.sum() < 37
    np.testing.assert_array_equal(found.result[done], whole.result[done])
    assert np.isnan(found.x[~done]).all() and "interrupted" in repr(found)


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
    monkeypatch.setattr(chunks, "WORK", 1000)
    sweep(optimizers, well, 60, x0=starts)
    assert counted == [0]


def test_values_never_recompile():
    traced = []

    def counted(x):
        traced.append(1)
        return jnp.sum(x**2)

    bowl = Problem(counted, [1.0, 2.0], name="bowl")
    compiled = chunks.lanes.run._cached._cache_size
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
    near(mapped[1], ends(2 * rate), 10)
    curves = jax.jit(lambda x0: sweep(optimizers, well, 60, x0=x0, keep="loss"))(starts)
    alike(curves, sweep(optimizers, well, 60, x0=starts, keep="loss"))


def test_a_loss_may_close_over_what_is_differentiated():
    def end(scale):
        return sweep(SGD(0.1), Problem(lambda x: scale * (x**2).sum() / 2, [3.0]), 4).x[0]

    assert float(jax.grad(end)(1.0)) == pytest.approx(-3 * 4 * 0.1 * 0.9**3)


def test_devices_may_be_an_array_of_them():
    alike(
        sweep(optimizers, well, 60, x0=starts, devices=np.array(jax.devices())),
        sweep(optimizers, well, 60, x0=starts),
    )


# --- refusals


@pytest.mark.parametrize(
    "kind, options, says",
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
            '`keep` is \'all\'; pass "last", "loss", or every how many steps',
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
            r"99 devices were asked for, and JAX sees 1 \(cpu\); pass devices=1",
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
def test_bad_input_is_refused(as_users_see_it, kind, options, says):
    with pytest.raises(kind, match=says):
        sweep(SGD(0.1), well, **({"steps": 60, "x0": starts} | options))


def test_as_many_pages_as_starts(as_users_see_it):
    with pytest.raises(
        InvalidValue, match=r"pages of shape \(37,\) and `x0` starts of shape \(5,\), which do not"
    ):
        sweep(optimizers, well, 10, x0=starts[:5])


def test_a_page_that_holds_many_is_for_sweeps_alone():
    with pytest.raises(
        InvalidType, match="`optimizer` holds 37 pages in one; run them all with dynopt.sweep"
    ):
        iterate(optimizers, well, 10)


@pytest.mark.parametrize(
    "make, values, says",
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
def test_what_a_constructor_could_not_see_is_refused(make, values, says):
    with pytest.raises(InvalidValue, match=says):
        sweep(eqx.filter_vmap(make)(jnp.array(values)), well, 10)


def test_round_off_in_times_is_no_bad_hyperparameter():
    found = sweep(eqx.filter_vmap(Momentum)(jnp.geomspace(1e-4, 1e-3, 7), jnp.zeros(7)), well, 5)
    assert (found.result == Status.ok).all()


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
