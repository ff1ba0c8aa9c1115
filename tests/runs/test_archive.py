"""What `save` writes, `load` reads: arrays to the bit, the rest as far as a file can hold it."""

import json
import os

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from losses import polynomial

from dynopt import (
    SGD,
    AbstractOptimizer,
    Accumulated,
    Adam,
    Averaged,
    Layerwise,
    Memoryless,
    Modified,
    Momentum,
    Optax,
    Problem,
    Schedule,
    Trajectory,
    grid,
    integrate,
    iterate,
    problems,
)
from dynopt.errors import CorruptFile, OutputError
from dynopt.optimizers import catalogue
from dynopt.runs.setup import Unrestored

bowl = polynomial("bowl", [1.0, -1.0])
tree = {"w": np.array([[1.0, 2.0], [3.0, 4.0]]), "b": (np.array(0.5),)}
network = Problem(
    lambda p: jnp.sum(p["w"] ** 2) + jnp.sum(jnp.cos(p["b"][0])), tree, name="network"
)


def reloaded(run, folder):
    run.save(folder / "run.npz")
    return Trajectory.load(folder / "run.npz")


@pytest.mark.parametrize("run", [iterate, integrate])
def test_save_and_load_are_exact(run, tmp_path):
    saved = run(Adam(0.1), network, 5)
    again = reloaded(saved, tmp_path)
    assert jax.tree.structure(again.x) == jax.tree.structure(saved.x)
    assert type(again.y) is type(saved.y)
    jax.tree.map(np.testing.assert_array_equal, (again.x, again.y), (saved.x, saved.y))
    assert repr(again) == repr(saved) and again.stats.keys() == saved.stats.keys()
    for name in ("t", "loss", "grad_norm"):
        np.testing.assert_array_equal(getattr(again, name), getattr(saved, name))


def test_saving_twice_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        iterate(Adam(0.1), problems.quadratic([1.0, 4.0]), 10).save(tmp_path / f"{name}.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_every_dtype_is_saved(dtype, tmp_path):
    saved = iterate(SGD(0.1), bowl, 3, x0=jnp.ones(2, dtype))
    again = reloaded(saved, tmp_path)
    assert again.y.x.dtype == again.loss.dtype == again.x.dtype == jnp.dtype(dtype)
    np.testing.assert_array_equal(again.y.x, saved.y.x)


# --- optimizers and problems come back


def with_optimizer(optimizer):
    """A run of another optimizer as the one that it holds: what is restored depends on no array."""
    run = iterate(SGD(0.1), problems.booth(), 1)
    return eqx.tree_at(lambda run: run.setup[0], run, type(run.setup[0])(optimizer))


@pytest.mark.parametrize("name", catalogue)
def test_every_optimizer_of_the_catalogue_comes_back_to_the_bit(name, tmp_path):
    for learning_rate in (0.01, 0.0123456789012345):
        optimizer = catalogue[name](learning_rate)
        again = reloaded(with_optimizer(optimizer), tmp_path).optimizer
        assert repr(again) == repr(optimizer) and eqx.tree_equal(again, optimizer)


@pytest.mark.parametrize(
    "optimizer",
    [
        Layerwise(SGD(0.1), {"w": 4.0}),
        Averaged(Momentum(0.1), 2.0),
        Accumulated(Adam(0.1, b2=0.99), 4),
        Averaged(Layerwise(SGD(0.1), {"w": 2.0}), 3.0),
        Modified(SGD(0.1), order=3),
        Modified(Momentum(0.1)),
        Adam(0.52, b1=0.58),  # 1 - h/tau1 is b1 to one ulp only
        Modified(Memoryless(Adam(0.01))),
        SGD(jnp.array(0.1)),
    ],
    ids=repr,
)
def test_wrappers_and_derived_optimizers_come_back_to_the_bit(optimizer, tmp_path):
    again = reloaded(with_optimizer(optimizer), tmp_path).optimizer
    assert repr(again) == repr(optimizer) and eqx.tree_equal(again, optimizer)


def test_a_batch_of_optimizers_comes_back(tmp_path):
    rates = jnp.array([0.1, 0.2])
    saved = eqx.filter_vmap(lambda rate: iterate(Adam(rate), bowl, 3))(rates)
    again = reloaded(saved, tmp_path).optimizer
    assert eqx.tree_equal(again, saved.optimizer, grid(Adam, learning_rate=rates))


@pytest.mark.parametrize("name", problems.catalogue)
def test_every_problem_of_the_catalogue_comes_back(name, tmp_path):
    problem = problems.catalogue[name]()
    again = reloaded(iterate(SGD(1e-3), problem, 1, throw=False), tmp_path).problem
    assert repr(again) == repr(problem) and eqx.tree_equal(again, problem)


@pytest.mark.parametrize(
    "problem",
    [
        problems.quadratic([1.0, -4.0, 9.0]),
        problems.quadratic((1.0, 4.0), rotation=0.5),
        problems.rosenbrock(5),
        problems.deep_linear(depth=3),
        problems.logistic_regression((np.eye(4), [0, 1, 1, 0]), penalty=0.1),
    ],
    ids=repr,
)
def test_what_a_problem_was_made_of_comes_back(problem, tmp_path):
    again = reloaded(iterate(SGD(1e-3), problem, 1), tmp_path).problem
    assert eqx.tree_equal(again, problem)


class Mine(SGD):
    """An optimizer that no file knows."""


@pytest.mark.parametrize(
    "optimizer",
    [
        Mine(0.1),
        Schedule(SGD(0.1), optax.cosine_decay_schedule(1.0, 100)),
        Optax(lambda h: optax.sgd(h), 0.1),
    ],
    ids=repr,
)
def test_what_a_file_cannot_hold_comes_back_as_its_text(optimizer, tmp_path):
    again = reloaded(iterate(optimizer, network, 3), tmp_path)
    assert again.optimizer == Unrestored(repr(optimizer))
    assert again.problem == Unrestored("network")
    assert (repr(again.optimizer), repr(again.problem)) == (repr(optimizer), "network")
    with pytest.raises(AttributeError):
        again.problem.text = "other"


def test_a_catalogue_name_does_not_make_a_loss_that_of_the_catalogue(tmp_path):
    impostor = Problem(lambda x: jnp.sum(x**2), [1.0, 1.0], name="booth")
    assert reloaded(iterate(SGD(0.1), impostor, 1), tmp_path).problem == Unrestored("booth")


# --- refusals


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"x" * 500],
    ids=["cut", "empty", "other"],
)
def test_a_damaged_file_is_refused_and_left_alone(damage, tmp_path):
    path = tmp_path / "run.npz"
    iterate(Adam(0.1), bowl, 10).save(path)
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(
        CorruptFile, match=r"run.npz' is not a whole trajectory \(\w+\); run again and save it anew"
    ):
        Trajectory.load(path)
    assert path.read_bytes() == before


def test_an_archive_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.arange(3))
    with pytest.raises(CorruptFile, match="other.npz"):
        Trajectory.load(tmp_path / "other.npz")


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        Trajectory.load(tmp_path / "nothing.npz")
    with pytest.raises(IsADirectoryError):
        Trajectory.load(tmp_path)


def change(path, header=(), **arrays):
    """Give the file at `path` another header or other arrays."""
    saved = dict(np.load(path))
    header = json.dumps(json.loads(str(saved["header"])) | dict(header))
    np.savez(path, **saved | arrays | {"header": header})


@pytest.mark.parametrize(
    "changes, words",
    [
        (
            {"header": {"format": 3}},
            r"is of format 3, and this dynopt reads 2; install a newer dynopt",
        ),
        (
            {"header": {"format": 1}},
            r"is of format 1, and this dynopt reads 2; run again and save it anew",
        ),
        (
            {"header": {"runs": {"booth.sgd.map": {}}}},
            r"holds all runs of a command.*read it with .*\['booth.sgd.map.x'\]",
        ),
        ({"loss": np.zeros(2)}, r"is not a whole trajectory \(ValueError\)"),
        ({"position": np.zeros(3)}, r"is not a whole trajectory \(ValueError\)"),
        ({"header": {"position": {"set": []}}}, r"is not a whole trajectory \(KeyError\)"),
    ],
)
def test_a_file_of_another_kind_says_which(changes, words, tmp_path):
    iterate(SGD(0.1), bowl, 3).save(tmp_path / "run.npz")
    change(tmp_path / "run.npz", **changes)
    with pytest.raises(CorruptFile, match=words):
        Trajectory.load(tmp_path / "run.npz")


@pytest.mark.parametrize(
    "parts",
    [{"SGD": {"learning_rate": -1.0}}, {"SGD": {"lr": 0.1}}, {"Popen": {"args": "id"}}, [], "SGD"],
)
def test_parts_that_make_no_optimizer_leave_the_text(parts, tmp_path):
    iterate(SGD(0.1), bowl, 3).save(tmp_path / "run.npz")
    change(tmp_path / "run.npz", header={"optimizer": {"text": "SGD(...)", "parts": parts}})
    again = Trajectory.load(tmp_path / "run.npz")
    assert again.optimizer == Unrestored("SGD(...)") and again.t.shape == (4,)


def test_a_link_is_followed_and_what_is_no_ordinary_file_is_left_alone(tmp_path):
    link, pipe, run = tmp_path / "link.npz", tmp_path / "pipe", iterate(SGD(0.1), bowl, 3)
    link.symlink_to(tmp_path / "run.npz")
    run.save(link)
    assert link.is_symlink() and Trajectory.load(tmp_path / "run.npz").t.shape == (4,)
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="pipe' is no ordinary file; choose another name"):
        run.save(pipe)
    assert pipe.is_fifo()


def test_a_stranger_whose_repr_fails_can_be_run_printed_and_saved(tmp_path):
    class Shy(SGD):
        def __repr__(self):
            raise RuntimeError("no text")

    run = iterate(Shy(0.1), bowl, 3)
    assert isinstance(run.optimizer, AbstractOptimizer)
    assert repr(run) == "Trajectory(map of Shy(...) on bowl, 4 points, float64, ok)"
    assert reloaded(run, tmp_path).optimizer == Unrestored("Shy(...)")
