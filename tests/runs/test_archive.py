"""What `save` writes, `load` reads: arrays to the bit, the rest as far as a file can hold it."""

import io
import json
import os
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

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
    files,
    grid,
    integrate,
    iterate,
    problems,
)
from dynopt.errors import CorruptFile, InvalidType, InvalidValue, OutputError
from dynopt.optimizers import catalogue
from dynopt.runs.restore import describe, restore
from dynopt.runs.setup import Unrestored

ROOT = Path(__file__).parents[2]
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


def through_json(optimizer):
    """What is made again from the JSON and the arrays that stand for an optimizer in a file."""
    arrays = {}
    text = json.dumps(describe(optimizer, "", "optimizer", arrays))
    arrays = {name: jnp.asarray(array) for name, array in arrays.items()}
    return restore(json.loads(text), AbstractOptimizer, arrays)


@pytest.mark.parametrize("name", catalogue)
def test_every_optimizer_of_the_catalogue_comes_back_to_the_bit(name):
    for learning_rate in (0.01, 0.0123456789012345):
        optimizer = catalogue[name](learning_rate)
        again = through_json(optimizer)
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
def test_wrappers_and_derived_optimizers_come_back_to_the_bit(optimizer):
    again = through_json(optimizer)
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
        problems.bilinear(2.0),
        problems.dirac_gan("r1", gamma=0.3),
        problems.spectral_shrinkage(strength=0.5, smooth=None),
        problems.digits_network("ridge", 0.1, width=4, examples=20),
        problems.sentence_similarity("triplet", negatives=2),
        problems.entity_linking("entities", "all", mentions=200),
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
        ({"loss": np.zeros(2)}, r"is not a whole trajectory \(`loss` has the shape \(2,\)\)"),
        ({"position": np.zeros(3)}, r"whole trajectory \(its positions have another form\)"),
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


# --- the schema: a file that was tampered with is refused, or means the same

WRONG = {
    "longer": lambda a: np.concatenate([np.atleast_1d(a)] * 2),
    "another axis": lambda a: np.asarray(a)[..., None],
    "empty": lambda a: np.ravel(a)[:0],
    "half precision": lambda a: np.asarray(a, "float16"),
    "complex": lambda a: np.asarray(a, complex),
    "text": lambda a: np.asarray(a, str),
    "negative": lambda a: -1 - np.abs(a),
    "infinite": lambda a: np.asarray(a, float) + np.inf,
    "of the other sign": lambda a: -a,
}
WRONG_JSON = (None, 3, "x", [], {}, {"SGD": {}})


def is_refused_or_means_the_same(path, original):
    """Values of x and f do not count: no file says whether they are right."""
    try:
        again = Trajectory.load(path)
    except CorruptFile as error:
        assert "run.npz' is " in str(error) and str(error).isprintable()
        return True
    assert repr(again).count("Trajectory(") == 1 and str(again.status) and again.failure() is None
    assert again.x.shape == original.x.shape
    for name in ("t", "grad_norm", "result"):
        np.testing.assert_array_equal(getattr(again, name), getattr(original, name))
    return False


@pytest.mark.parametrize("run", [iterate, integrate])
def test_no_array_of_another_shape_type_or_sign_passes_for_that_of_a_run(run, tmp_path):
    path = tmp_path / "run.npz"
    original = run(Momentum(0.01), problems.booth(), 3)
    original.save(path)
    saved = dict(np.load(path))
    of_maps = {"t", "loss", "grad_norm", "result", "y.x", "y.p", "position", "header"}
    for member in sorted(saved.keys() - (of_maps if run is integrate else {"header"})):
        np.savez(path, **{name: array for name, array in saved.items() if name != member})
        assert is_refused_or_means_the_same(path, original)
        for name, wrong in WRONG.items():
            with np.errstate(all="ignore"):
                np.savez(path, **saved | {member: wrong(saved[member])})
            refused = is_refused_or_means_the_same(path, original)
            may_pass = {
                "position": {"negative", "infinite", "of the other sign"},
                "y.x": {"negative", "of the other sign"},
                "y.p": {"negative", "infinite", "of the other sign"},
                "loss": {"negative", "of the other sign"},
                "result": {"of the other sign"},  # 0 has none
                "stats.rtol": {"infinite", "half precision"},
                "stats.atol": {"infinite", "half precision"},
            }
            assert refused or name in may_pass.get(member, ()), (member, name)


def test_no_header_of_another_form_passes_for_that_of_a_run(tmp_path):
    path, original = tmp_path / "run.npz", integrate(SGD(0.1), bowl, 3)
    original.save(path)
    header = json.loads(str(np.load(path)["header"]))
    for key in header:
        for wrong in WRONG_JSON:
            original.save(path)
            change(path, header={key: wrong})
            refused = is_refused_or_means_the_same(path, original)
            assert refused or key in ("optimizer", "problem", "dtypes"), (key, wrong)


def test_nothing_is_unpacked_that_is_larger_than_its_file(tmp_path):
    """217 MiB of zeros are 0.2 MiB when compressed; 10**15 numbers need a header only."""
    path, original = tmp_path / "run.npz", iterate(SGD(0.1), bowl, 3)
    original.save(path)
    saved = dict(np.load(path))
    np.savez_compressed(path, **saved | {"loss": np.zeros(217 * 2**17)})
    tracemalloc.start()
    with pytest.raises(CorruptFile, match="its arrays are compressed"):
        Trajectory.load(path)
    endless = npy_header((10**15,)) + bytes(8)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("loss.npy", endless)
    with pytest.raises(CorruptFile, match=r"`loss` has another size than its shape \(10+,\)"):
        Trajectory.load(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def npy_header(shape):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, dict(descr="<f8", fortran_order=False, shape=shape))
    return file.getvalue()


def test_no_pickle_is_read_and_no_pipe_waited_for(tmp_path):
    path = tmp_path / "run.npz"
    iterate(SGD(0.1), bowl, 3).save(path)
    np.savez(path, **dict(np.load(path)) | {"loss": np.array([print], object)})
    with pytest.raises(CorruptFile, match="`loss` holds objects of Python"):
        Trajectory.load(path)
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(CorruptFile, match="is no ordinary file; name one that `save` wrote"):
        Trajectory.load(tmp_path / "pipe.npz")


def test_float64_is_not_rounded_to_float32_in_silence(tmp_path):
    path = tmp_path / "run.npz"
    iterate(SGD(0.1), bowl, 3).save(path)
    with (
        jax.enable_x64(False),
        pytest.raises(InvalidValue, match=r"holds float64.*'jax_enable_x64', True\) before you"),
    ):
        Trajectory.load(path)
    iterate(SGD(0.1), bowl, 3, x0=np.ones(2, "float32")).save(path)
    with jax.enable_x64(False):
        assert Trajectory.load(path).loss.dtype == "float32"


@pytest.mark.parametrize(
    "path, error", [(3, InvalidType), (b"a", InvalidType), ("", InvalidValue), ("a\0", InvalidValue), ("\ud800", InvalidValue)]
)  # fmt: skip
def test_what_is_no_path_is_refused(path, error, as_users_see_it):
    run = iterate(SGD(0.1), bowl, 3)
    for use in (run.save, Trajectory.load):
        with pytest.raises(error, match="`path` .*; pass 'run.npz', say."):
            use(path)


def test_a_file_from_a_machine_of_other_byte_order_is_read(tmp_path):
    path, original = tmp_path / "run.npz", iterate(SGD(0.1), bowl, 3)
    original.save(path)
    saved = dict(np.load(path))
    np.savez(path, **{k: v.astype(v.dtype.newbyteorder(">")) for k, v in saved.items()})
    np.testing.assert_array_equal(Trajectory.load(path).x, original.x)


def test_the_next_to_write_removes_what_a_killed_process_left(tmp_path):
    code = (
        "import os, signal, sys; from dynopt import files\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write(sys.argv[1], b'half')"
    )
    subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.npz"], env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    (scrap,) = tmp_path.iterdir()
    of_the_living = scrap.with_name(f"{scrap.name.rpartition('-')[0]}-{os.getpid()}")
    of_the_living.touch()
    files.write(tmp_path / "b.npz", b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {of_the_living.name, "b.npz"}
