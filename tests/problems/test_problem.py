"""A problem accepts any differentiable loss and start, and refuses others in one sentence."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.core import Tracer

from dynopt import SGD, Layerwise, Optax, Trajectory, WithGradient, iterate, sweep
from dynopt.errors import DynoptError, InvalidType, InvalidValue, ProblemError
from dynopt.problems import Problem, rosenbrock


def bowl(x):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(x))


class Weights(NamedTuple):
    w: object
    b: object


# what is accepted


@pytest.mark.parametrize(
    "x0, shape",
    [
        ([1.0, 2.0], (2,)),
        ((1, 2, 3), (3,)),
        (3.0, ()),
        (np.float32(3), ()),
        ([[1, 2], [3, 4]], (2, 2)),
        (np.ones((2, 3)), (2, 3)),
        (jnp.ones(4), (4,)),
        ([np.float64(1.0), 2], (2,)),
    ],
)
def test_numbers_in_any_container_are_one_array(x0, shape):
    problem = Problem(bowl, x0)
    assert problem.start().shape == shape and problem.dim == np.prod(shape, dtype=int)
    assert problem.start().dtype == (jnp.float32 if type(x0) is np.float32 else jnp.float64)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_the_start_keeps_its_float_dtype(dtype):
    assert Problem(bowl, jnp.ones(2, dtype)).start().dtype == dtype
    assert Problem(bowl, [0.0, 0.0]).start(jnp.ones(2, dtype)).dtype == dtype


@pytest.mark.parametrize(
    "x0",
    [np.array([1, 2]), np.array([1, 2], np.uint8), jnp.array([1, 2]), np.ones(2, np.longdouble)],
)
def test_whole_and_long_numbers_become_doubles(x0):
    assert Problem(bowl, x0).start().dtype == jnp.float64


def test_without_x64_a_double_start_is_single_and_says_so():
    with jax.enable_x64(False):
        assert Problem(bowl, np.ones(2)).start().dtype == jnp.float32


@pytest.mark.parametrize(
    "x0",
    [
        {"w": np.ones((2, 2)), "b": np.zeros(3)},
        Weights(np.ones(4), 3.0),
        Weights(1.0, 2.0),
        [np.ones(2), np.ones((1, 5))],
        {"layers": [np.ones(3), {"scale": 2}], "shift": (1.5, 2.5)},
        {"w": np.ones(2), "frozen": None},
    ],
)
def test_a_tree_keeps_its_structure(x0):
    problem = Problem(bowl, x0)
    assert jax.tree.structure(problem.start()) == jax.tree.structure(x0)
    assert problem.dim == sum(np.size(leaf) for leaf in jax.tree.leaves(x0))
    assert all(
        isinstance(leaf, jax.Array) and leaf.dtype == jnp.float64
        for leaf in jax.tree.leaves(problem.start())
    )
    np.testing.assert_allclose(problem.loss(problem.start()), problem.loss(problem.start(x0)))


def test_a_list_of_numbers_in_a_tree_is_one_array_and_numbers_take_the_dtype_of_the_arrays():
    start = Problem(bowl, {"w": np.ones(2, np.float32), "a": [[1, 2]], "b": (0.5, [3])}).start()
    assert start["a"].tolist() == [[1, 2]] and [leaf.tolist() for leaf in start["b"]] == [0.5, [3]]
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(start))
    assert Problem(bowl, {"w": [1, 2]}).start()["w"].dtype == jnp.float64


def test_a_masked_array_without_masked_entries_is_an_array():
    assert Problem(bowl, np.ma.array([1.0, 2.0], mask=[False, False])).start().tolist() == [1, 2]


# whole numbers beside floats are constants


def permuted(p):
    """f = Σ i w[perm[i]]²/2 + count Σ mask w, whose gradient is i w at perm[i], plus the mask."""
    weighted = jnp.array([1.0, 2.0, 3.0]) @ p["w"][p["perm"]] ** 2 / 2
    return weighted + p["count"] * jnp.sum(jnp.where(p["mask"], p["w"], 0))


CONSTANTS = {
    "perm": np.array([2, 0, 1]),
    "mask": np.array([True, False, True]),
    "count": jnp.array(3, jnp.uint8),
}
START = CONSTANTS | {"w": np.array([1.0, 2.0, 3.0])}
PERMUTED = Problem(permuted, START)
AFTER_A_STEP = [1 - 0.1 * (2 * 1 + 3), 2 - 0.1 * 3 * 2, 3 - 0.1 * (1 * 3 + 3)]


def test_whole_numbers_beside_floats_are_constants_and_no_coordinates():
    assert PERMUTED.dim == 3
    gradient = jax.grad(PERMUTED.loss)(PERMUTED.start())
    np.testing.assert_allclose(gradient["w"], [5, 6, 6])
    assert gradient["perm"] is None and PERMUTED.start()["mask"] is None
    at_start = 1 * 3**2 / 2 + 2 * 1**2 / 2 + 3 * 2**2 / 2 + 3 * (1 + 3)
    assert PERMUTED.loss(PERMUTED.start()) == PERMUTED.loss(jax.tree.map(jnp.asarray, START))
    assert PERMUTED.loss(PERMUTED.start()) == at_start


@pytest.mark.parametrize("x0", [None, START, START | dict.fromkeys(CONSTANTS)])
def test_runs_move_the_floats_and_give_the_constants_back(x0):
    run, many = iterate(SGD(0.1), PERMUTED, 1, x0=x0), sweep(SGD(0.1), PERMUTED, 1, x0=x0)
    for x in (jax.tree.map(lambda leaf: leaf[-1], run.x), many.x):
        np.testing.assert_allclose(x["w"], AFTER_A_STEP, rtol=1e-14)
        for name, constant in CONSTANTS.items():
            np.testing.assert_array_equal(x[name], constant)
            assert x[name].dtype == constant.dtype
    np.testing.assert_allclose(jax.vmap(PERMUTED.loss)(run.x), run.loss)


def test_a_file_keeps_the_floats_alone(tmp_path):
    run = iterate(SGD(0.1), PERMUTED, 1)
    run.save(tmp_path / "run.npz")
    x = Trajectory.load(tmp_path / "run.npz").x
    np.testing.assert_array_equal(x["w"], run.x["w"])
    assert x["perm"] is None


def test_every_saved_position_is_a_start_again():
    x = iterate(SGD(0.1), PERMUTED, 2).x
    ends = sweep(SGD(0.1), PERMUTED, 1, x0=x).x
    np.testing.assert_allclose(ends["w"][:2], x["w"][1:], rtol=1e-14)


@pytest.mark.parametrize(
    "optimizer",
    [
        Layerwise(SGD(0.1), {"w": 1.0}),
        WithGradient(SGD(0.1), lambda g: jax.tree.map(lambda leaf: leaf, g)),
        Optax(optax.sgd, 0.1),
    ],
)
def test_wrappers_know_the_floats_alone(optimizer):
    run = iterate(optimizer, PERMUTED, 1)
    np.testing.assert_allclose(run.x["w"][-1], AFTER_A_STEP, rtol=1e-14)


def test_derivatives_with_respect_to_a_start_are_those_of_its_floats():
    """x₁ = x - 0.1 ∇f, and the loss is quadratic: its derivative is (1 - 0.1 i) ∇f(x₁)."""
    start = jax.tree.map(jnp.asarray, START)

    def outcome(x0):
        return iterate(SGD(0.1), PERMUTED, 1, x0=x0).loss[-1]

    curvatures = np.array([2.0, 3.0, 1.0])
    expected = (1 - 0.1 * curvatures) * (curvatures * AFTER_A_STEP + np.array([3, 0, 3]))
    for gradient in (
        jax.grad(outcome, allow_int=True)(start),
        jax.grad(outcome)(start | dict.fromkeys(CONSTANTS)),
    ):
        np.testing.assert_allclose(gradient["w"], expected, rtol=1e-13)


def test_constants_cannot_differ_from_run_to_run():
    with pytest.raises(
        InvalidValue, match=r"`x0\['perm'\]` differs from that of permuted, .* None"
    ):
        PERMUTED.start(START | {"perm": [0, 1, 2]})
    assert PERMUTED.start(START | {"perm": [2, 0, 1]})["perm"] is None
    with pytest.raises(InvalidValue, match=r"`x0\['perm'\]` is traced, .* put None in their place"):
        jax.vmap(lambda perm: PERMUTED.start(START | {"perm": perm})["w"])(jnp.array([[2, 0, 1]]))


def test_a_start_of_whole_numbers_alone_is_one_of_floats():
    assert Problem(bowl, np.array([1, 2])).start().dtype == jnp.float64
    assert PERMUTED.start({**START, "w": np.array([1, 2, 3])})["w"].dtype == jnp.float64


# what else is accepted


def test_a_stationary_or_enormous_start_is_legal():
    assert Problem(bowl, [0.0, 0.0]).dim == 2
    assert Problem(bowl, [1e30, -1e300]).start()[1] == -1e300


def test_the_numbers_are_copied_on_entry_and_frozen():
    x0, best, other = np.array([1.0, 2.0]), np.array([0.0, 0.0]), np.array([3.0, 4.0])
    problem = Problem(bowl, x0, minimizers=best)
    start = problem.start(other)
    x0[:], best[:], other[:] = 9, 9, 9
    assert problem.start().tolist() == [1.0, 2.0] and start.tolist() == [3.0, 4.0]
    assert problem.minimizers is not None and problem.minimizers.tolist() == [[0.0, 0.0]]
    with pytest.raises(ValueError, match="read-only"):
        problem.x0[0] = 5
    assert best.tolist() == [9, 9]


def test_the_name_is_that_of_the_loss_unless_given():
    class Bowl(eqx.Module):
        def __call__(self, x):
            return bowl(x)

    def _private(x):
        return bowl(x)

    names = [Problem(loss, [1.0]).name for loss in (bowl, Bowl(), _private, lambda x: bowl(x))]
    assert names == ["bowl", "Bowl", "private", "lambda"]
    assert repr(Problem(bowl, {"a": np.ones(3)}, name="dish")) == "Problem(dish, dim=3)"


def test_one_minimizer_may_be_given_flat_and_a_window_as_lists():
    problem = Problem(bowl, [1.0, 2.0], minimizers=[0, 0], minimum=0, window=[[-1, 1], [-2, 2]])
    assert problem.minimizers is not None and problem.minimizers.shape == (1, 2)
    assert problem.window == ((-1.0, 1.0), (-2.0, 2.0)) and isinstance(problem.minimum, float)


def test_a_problem_may_be_made_and_started_inside_a_transformation():
    def slope(scale, x):
        problem = Problem(lambda z: scale * bowl(z), x)  # the loss captures a tracer
        return jax.grad(problem.loss)(problem.start(2 * x))

    scales, starts = jnp.array([1.0, 3.0]), jnp.arange(4.0).reshape(2, 2)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(slope))(scales, starts), 4 * scales[:, None] * starts
    )
    whole = jax.jit(lambda n: Problem(bowl, n).start())(jnp.array([1, 2]))
    assert whole.dtype == jnp.float64


def test_many_starts_go_through_vmap():
    starts = eqx.filter_vmap(rosenbrock().start)(jnp.ones((5, 2)))
    assert starts.shape == (5, 2)


def test_the_loss_is_traced_twice_and_never_run():
    is_traced = []

    def loss(x):
        is_traced.append(isinstance(x, Tracer))
        return bowl(x)

    Problem(loss, [1.0, 2.0])
    assert is_traced == [True, True]


# starts that are refused


@pytest.mark.parametrize(
    "x0, kind, words",
    [
        ([], InvalidValue, "`x0` is empty; pass at least one number"),
        (np.zeros((0, 2)), InvalidValue, "`x0` is empty"),
        ({}, InvalidValue, "`x0` is empty"),
        ({"a": np.ones(2), "b": np.ones(0)}, InvalidValue, "`x0` is empty"),
        ([1.0, np.nan], InvalidValue, "`x0` is nan at coordinate 1; pass finite numbers"),
        ([np.inf, 1.0], InvalidValue, "`x0` is inf at coordinate 0"),
        (-np.inf, InvalidValue, "`x0` is -inf; pass finite numbers"),
        (np.array([[1, 2], [3, np.nan]]), InvalidValue, r"`x0` is nan at coordinate \(1, 1\)"),
        (
            {"a": np.ones(2), "b": np.array([1, np.nan])},
            InvalidValue,
            r"`x0\['b'\]` is nan at coordinate 1",
        ),
        (jnp.array([1, jnp.nan], jnp.bfloat16), InvalidValue, "`x0` is nan at coordinate 1"),
        ("1, 2", InvalidType, "`x0` must be numbers, got '1, 2'"),
        (True, InvalidType, "`x0` must hold real numbers, got bool in True"),
        ([True, False], InvalidType, "`x0` must hold real numbers, got bool"),
        (["1", "2"], InvalidType, "`x0` must hold real numbers, got <U1"),
        ([1.0, None], InvalidType, "`x0` must hold real numbers, got object"),
        ([1.0, "a"], InvalidType, "`x0` must hold real numbers"),
        (np.array([1.0, None]), InvalidType, "`x0` must hold real numbers, got object"),
        ([1 + 2j, 0], InvalidType, "`x0` must hold real numbers, got complex128"),
        (jnp.array([1j]), InvalidType, "`x0` must hold real numbers, got complex128"),
        (
            np.array(["2020-01-01"], "datetime64[D]"),
            InvalidType,
            "`x0` must hold real numbers, got datetime64",
        ),
        ([[1.0, 2.0], [3.0]], InvalidType, "`x0` must be one array of numbers"),
        ({1.0, 2.0}, InvalidType, "`x0` must hold real numbers, got object"),
        (
            {"f": bowl},
            InvalidType,
            r"`x0\['f'\]` must hold real numbers, got a function, .*eqx.partition",
        ),
        (
            jax.random.key(0),
            InvalidType,
            "`x0` must be one array of numbers|`x0` must hold real numbers",
        ),
        ([10**400, 1], InvalidType, "`x0` must hold real numbers, got object"),
        ({"a": [[1.0, 2.0], [3.0]]}, InvalidType, r"`x0\['a'\]` must be one array of numbers"),
        ({"a": np.array([1j])}, InvalidType, r"`x0\['a'\]` must hold real numbers, got complex128"),
        ({"a": True, "b": 1.0}, InvalidType, r"`x0\['a'\]` must hold real numbers, got bool"),
        (
            {"w": jnp.ones(1, jnp.bfloat16), "b": jnp.ones(1, jnp.float32)},
            InvalidValue,
            r"`x0\['b'\]` is in float32 and `x0\['w'\]` in bfloat16, but .*; convert all leaves",
        ),
        ({"w": np.ones(1, np.float32), "b": 1e300}, InvalidValue, r"`x0\['b'\]` is inf"),
        (
            np.ma.array([1.0, 2.0], mask=[False, True]),
            InvalidValue,
            r"`x0` has masked entries; .*`.filled\(0.0\)`",
        ),
    ],
)
def test_a_start_that_is_no_position_is_refused(x0, kind, words):
    with pytest.raises(kind, match=words):
        Problem(bowl, x0)
    with pytest.raises(kind, match=words):
        Problem(bowl, [1.0, 2.0]).start(x0)


def test_a_start_without_floats_is_refused():
    with pytest.raises(InvalidValue, match="`x0` holds no floats, .* are constants; pass floats"):
        Problem(bowl, {"perm": np.array([1, 0])})


def test_a_problem_without_a_start_is_refused():
    with pytest.raises(
        InvalidType, match=r"`x0` must be numbers, got None; pass for example \[1.0, 2.0\]"
    ):
        Problem(bowl, None)


@pytest.mark.parametrize(
    "x0, words",
    [
        ([1.0], r"`x0` has shape \(1,\) but rosenbrock wants \(2,\); pass a start of that shape\."),
        ([1.0, 2.0, 3.0], r"`x0` has shape \(3,\) but rosenbrock wants \(2,\)"),
        (1.0, r"`x0` has shape \(\) but rosenbrock wants \(2,\)"),
        (
            np.ones((7, 2)),
            r"`x0` has shape \(7, 2\) .*that shape, and for many starts use dynopt.sweep\.",
        ),
        ([[1.0, 2.0]], r"`x0` has shape \(1, 2\) .* use dynopt.sweep"),
        (
            {"x": 1.0, "y": 2.0},
            r"`x0` is PyTreeDef\({'x': \*, 'y': \*}\) but rosenbrock wants PyTreeDef\(\*\)",
        ),
        (
            [jnp.array(1.0), jnp.array(2.0)],
            r"`x0` is PyTreeDef\(\[\*, \*\]\) but rosenbrock wants PyTreeDef\(\*\)",
        ),
    ],
)
def test_a_start_that_does_not_fit_is_refused(x0, words):
    with pytest.raises(InvalidValue, match=words):
        rosenbrock().start(x0)


def test_a_tree_that_does_not_fit_is_refused_by_its_leaf():
    problem = Problem(bowl, {"w": np.ones((2, 3)), "b": 0.0}, name="net")
    with pytest.raises(
        InvalidValue, match=r"`x0\['w'\]` has shape \(3, 2\) but net wants \(2, 3\)"
    ):
        problem.start({"w": np.ones((3, 2)), "b": 1.0})
    with pytest.raises(InvalidValue, match="`x0` is .*'weights'.* but net wants"):
        problem.start({"weights": np.ones((2, 3)), "b": 1.0})


# losses that are refused


def uses_numpy(x):
    return np.sin(x).sum()


def branches(x):
    return x[0] if x[0] > 0 else x[1]


def masked(x):
    return x[x > 0].sum()


class Dense(eqx.Module):
    weight: jax.Array

    def __call__(self, x):
        return float(self.weight @ x)


@pytest.mark.parametrize(
    "loss, words",
    [
        (
            lambda x: x,
            r"the loss of lambda must return one number, returned shape \(2,\); sum it or take its "
            "mean",
        ),
        (lambda x: x[:1], r"must return one number, returned shape \(1,\); sum it"),
        (lambda x: None, "must return one number, returned None; return a jax scalar"),
        (lambda x: "low", "must return one number, returned 'low'"),
        (lambda x: (x.sum(), x), r"must return one number, returned \("),
        (lambda x: {"value": x.sum()}, "must return one number, returned {'value'"),
        (lambda x: 1, "must return a real number, returned int"),
        (lambda x: (x > 0).sum(), "must return a real number, returned int64; multiply by 1.0"),
        (lambda x: (x > 0).all(), "must return a real number, returned bool"),
        (lambda x: x.sum() * 1j, "must return a real number, returned complex128; .* take .real"),
        (
            uses_numpy,
            r"the loss of uses_numpy uses numpy on a traced value on line \d+ of test_problem.py; "
            "use jax.numpy",
        ),
        (
            branches,
            r"branches on a traced value on line \d+ of test_problem.py; use jax.numpy.where for "
            "`if`",
        ),
        (
            masked,
            r"selects entries by a traced mask on line \d+ of test_problem.py; use jax.numpy.where",
        ),
        (
            lambda x: float(x[0]),
            "turns a traced value into a Python number .*; use jax.numpy, which keeps it",
        ),
        (lambda x: x[0].item(), "turns a traced value into a Python number"),
        (lambda x: x[0] * len(range(x[1].astype(int))), "counts or indexes by a traced value"),
        (
            Dense(jnp.ones(2)),
            r"the loss of Dense turns a traced value into a Python number on line \d+ of "
            "test_problem.py",
        ),
        (lambda: 0.0, "must take one argument, the position: it is called as f"),
        (lambda x, y: x * y, "must take one argument"),
        (lambda *, x: x.sum(), "must take one argument"),
    ],
)
def test_a_loss_that_cannot_be_minimised_is_refused(loss, words):
    with pytest.raises(ProblemError, match=words):
        Problem(loss, [1.0, 2.0])


def test_the_line_at_fault_is_named():
    def outer(x):
        return 2 * uses_numpy(x)

    with pytest.raises(ProblemError) as caught:
        Problem(outer, [1.0])
    line = uses_numpy.__code__.co_firstlineno + 1
    assert f"on line {line} of test_problem.py" in str(caught.value)
    assert isinstance(caught.value.__cause__, jax.errors.TracerArrayConversionError)


@pytest.mark.parametrize(
    "error",
    [KeyError("weight"), RuntimeError("my own words"), TypeError("mine too"), IndexError(3)],
)
def test_what_the_loss_itself_raises_is_kept_with_a_note(error):
    def broken(x):
        raise error

    with pytest.raises(type(error)) as caught:
        Problem(broken, [1.0])
    assert caught.value is error and not isinstance(caught.value, DynoptError)
    assert "while evaluating the loss of broken" in caught.value.__notes__


# other arguments


@pytest.mark.parametrize(
    "options, kind, words",
    [
        ({"name": 3}, InvalidType, "`name` must be text, got 3"),
        ({"source": None}, InvalidType, "`source` must be text, got None"),
        ({"minimum": "0"}, InvalidType, "`minimum` must be a number"),
        ({"minimum": np.nan}, InvalidValue, "`minimum` must be finite"),
        (
            {"minimizers": [1.0, 2.0, 3.0]},
            InvalidValue,
            r"`minimizers` have shape \(3,\); pass \(number, 2\)",
        ),
        ({"minimizers": [[np.inf, 0.0]]}, InvalidValue, "`minimizers` is inf at coordinate"),
        ({"minimizers": [[1.0, 0.0]] * 2}, InvalidValue, "`minimizers` holds one point twice"),
        ({"minimizers": "origin"}, InvalidType, "`minimizers` must hold real numbers"),
        ({"window": 3}, InvalidValue, "`window` is 3; pass"),
        (
            {"window": (-1, 1)},
            InvalidValue,
            r"pass \(\(x_low, x_high\), \(y_low, y_high\)\) with low < high",
        ),
        ({"window": ((1, -1), (-1, 1))}, InvalidValue, "with low < high"),
        ({"window": ((-1, 1), (0, 0))}, InvalidValue, "with low < high"),
        ({"window": ((-1, 1), (-1, np.inf))}, InvalidValue, "`window` is inf"),
        ({"window": ((-1, 1), (-1,))}, InvalidType, "`window` must be one array of numbers"),
        ({"window": "wide"}, InvalidType, "`window` must hold real numbers"),
    ],
)
def test_other_arguments_of_a_wrong_kind_are_refused(options, kind, words):
    with pytest.raises(kind, match=words):
        Problem(bowl, [1.0, 2.0], **options)


@pytest.mark.parametrize("loss", [3, "x**2", None])
def test_a_loss_that_is_no_function_is_refused(loss):
    with pytest.raises(InvalidType, match="`loss` must be a function of the position"):
        Problem(loss, [1.0, 2.0])


def test_every_refusal_is_one_sentence_and_a_dynopt_error():
    attempts = [
        lambda: Problem(bowl, [1.0, np.nan]),
        lambda: Problem(lambda x: x, [1.0, 2.0]),
        lambda: rosenbrock().start([1.0]),
        lambda: rosenbrock(1),
        lambda: Problem(uses_numpy, [1.0]),
    ]
    for attempt in attempts:
        with pytest.raises(DynoptError) as caught:
            attempt()
        words = str(caught.value)
        assert "\n" not in words and ". " not in words and "; " in words


def test_a_model_is_told_to_be_partitioned_and_its_arrays_are_a_start():
    model = eqx.nn.MLP(1, "scalar", 2, 1, key=jax.random.key(0))
    with pytest.raises(InvalidType, match=r"got a function, .* = eqx.partition\(model, eqx.is_arr"):
        Problem(lambda model: model(jnp.ones(1)) ** 2, model)
    arrays, rest = eqx.partition(model, eqx.is_array)
    partitioned = Problem(lambda arrays: eqx.combine(arrays, rest)(jnp.ones(1)) ** 2, arrays)
    assert partitioned.dim == 7
    assert float(partitioned.loss(partitioned.start())) == float(model(jnp.ones(1)) ** 2)
