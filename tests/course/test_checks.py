"""A check accepts the right answer and no other, and its error says what would help."""

import math
import re

import jax.numpy as jnp
import numpy as np
import pytest

from dynopt.course import check
from dynopt.errors import DynoptError, InvalidType, InvalidValue, UnknownName

MY_SEAL = check.seal("mine", 0.5, relative=0.02)


@pytest.mark.parametrize("value", [1e-12, -3e-4, 0.5, -1.0, 2.71, 1e9])
@pytest.mark.parametrize("tolerance", [1e-3, 0.02, 1 / 3])
@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_a_seal_accepts_numbers_within_its_tolerance_and_no_others(value, tolerance, kind, capsys):
    width = tolerance * (abs(value) if kind == "relative" else 1)
    seal = check.seal("x", value, **{kind: tolerance})
    for fraction in (-0.98, -0.5, 0, 0.5, 0.98):
        check.close("x", value + fraction * width, seal=seal)
    for fraction in (-1.02, 1.02, -5, 5):
        with pytest.raises(check.WrongAnswer):
            check.close("x", value + fraction * width, seal=seal)
    assert capsys.readouterr().out.count("✓ x") == 5


def test_a_seal_depends_on_signs_length_order_and_exercise():
    seal = check.seal("x", [2.0, -3.0], relative=0.01)
    check.close("x", np.array([[2.0], [-3.0]]), seal=seal)
    for wrong in (
        [-2.0, -3.0],
        [-3.0, 2.0],
        [2.0],
        [2.0, -3.0, 0.0],
        [math.nan, -3.0],
        [math.inf, -3.0],
        [0.0, -3.0],
    ):
        with pytest.raises(check.WrongAnswer):
            check.close("x", wrong, seal=seal)
    with pytest.raises(check.WrongAnswer):
        check.close("y", [2.0, -3.0], seal=seal)


@pytest.mark.parametrize("value", [0.5, -0.5, 2.0, -2.0])
def test_a_seal_accepts_no_number_of_the_other_sign(value):
    seal = check.seal("x", value, relative=0.01)
    for other in -np.sign(value) * np.geomspace(1e-3, 1e3, 20_000):
        assert not check.seals.matches(seal, "x", [other])


def test_a_seal_does_not_show_the_answer():
    """A seal is a phase and a hash, and very different answers may share the phase."""
    digest = "[0-9a-f]{16}"
    assert re.fullmatch(rf"relative 0.02 \d{{5}}:{digest}", check.seal("x", 2.71828, relative=0.02))
    assert re.fullmatch(
        rf"absolute 0.1 \d{{5}}:{digest} \d{{5}}:{digest}", check.seal("x", [1, 2], absolute=0.1)
    )
    phases = {
        check.seal("x", 2.0 * (1.02 / 0.98) ** n, relative=0.02).split(":")[0]
        for n in range(-50, 50)
    }
    assert len(phases) <= 2  # one, or two neighbours by rounding


def test_a_slope_is_fitted_to_the_logarithms(capsys):
    h = np.array([0.1, 0.05, 0.025])
    seal = check.seal("x", 2.0, absolute=0.1)
    check.slope("x", h, 3 * h**2.05, seal=seal)
    assert capsys.readouterr().out == "✓ x: a slope of 2.05\n"
    with pytest.raises(check.WrongAnswer, match="x: a slope of 1 is not the right answer. Think."):
        check.slope("x", h, h, seal=seal, hint="Think.")
    with pytest.raises(
        InvalidValue,
        match="needs at least three different time steps `h` and as many errors, got 2 different "
        "time steps and 2 errors; pass more",
    ):
        check.slope("x", h[:2], h[:2], seal=seal)
    with pytest.raises(InvalidValue, match="got 1 different time steps and 3 errors"):
        check.slope("x", [0.1] * 3, h, seal=seal)
    for steps, errors in (
        (h, [1.0, 0.1, 0.0]),
        (h, [1.0, 0.1, math.nan]),
        ([math.inf, 0.1, 0.01], h),
    ):
        with pytest.raises(
            InvalidValue, match="some `h` or `error` is not positive and finite; leave those out"
        ):
            check.slope("x", steps, errors, seal=seal)


def test_a_bound_must_hold_at_every_index(capsys):
    check.below("x", [1.0, 2.0], [1.0, 3.0], hint="No.")
    check.below("x", [1.0, 2.0], 2.0, hint="No.")
    assert capsys.readouterr().out == "✓ x: 2 below\n" * 2
    tight = check.seal("x", 0.8, relative=0.01)
    check.below("x", [0.0, 1.0, 2.0], [0.0, 2.0, 2.5], seal=tight)
    assert capsys.readouterr().out == "✓ x: a largest ratio of 0.8 to the bound\n"
    with pytest.raises(
        check.WrongAnswer,
        match="x: a largest ratio of 0.4 to the bound is not the right answer. No.",
    ):
        check.below("x", [0.0, 1.0, 2.0], [0.0, 4.0, 5.0], seal=tight, hint="No.")
    with pytest.raises(check.WrongAnswer, match="x: at index 1, 4 is not below 3. No."):
        check.below("x", [1.0, 4.0], [1.0, 3.0], hint="No.")
    with pytest.raises(
        check.WrongAnswer,
        match="at index 0, 4 is not below 1. Are the two in this order, the smaller",
    ):
        check.below("x", [4.0, 4.0], [1.0, 3.0], hint="No.")
    with pytest.raises(check.WrongAnswer, match="x: 4 is not below 3. Are the two"):
        check.below("x", 4.0, 3.0, hint="No.")
    with pytest.raises(check.WrongAnswer, match="x: nan is not below 1. No."):
        check.below("x", [math.nan], 1.0, hint="No.")
    with pytest.raises(InvalidValue, match="there are no numbers to compare"):
        check.below("x", [], 1.0, hint="No.")
    with pytest.raises(
        InvalidValue, match="there are 2 numbers and 3 bounds; pass as many bounds as numbers"
    ):
        check.below("x", [1.0, 2.0], [1.0, 2.0, 3.0], hint="No.")


def test_a_transformation_must_change_f(capsys):
    rotation = np.array([[0.6, -0.8], [0.8, 0.6]])
    check.not_invariant("x", lambda x: x, lambda x: rotation @ x, [3.0, 4.0], hint="No.")
    check.not_invariant("x", lambda x: x, lambda x: 2 * x, np.array([3.0, 4.0]), hint="No.")
    assert capsys.readouterr().out == "✓ x: relative change 1.1\n✓ x: relative change 1\n"
    for unchanged in (lambda x: rotation @ x, lambda x: -np.asarray(x)):
        with pytest.raises(check.WrongAnswer, match="x: f does not change under the tr.*n. No."):
            check.not_invariant("x", np.linalg.norm, unchanged, [3.0, 4.0], hint="No.")
    check.not_invariant("x", lambda x: x, lambda x: x * (1 + 1.1e-6), 1.0, hint="No.")
    with pytest.raises(check.WrongAnswer, match="x: f does not change"):
        check.not_invariant("x", lambda x: x, lambda x: x * (1 + 0.9e-6), 1.0, hint="No.")
    with pytest.raises(check.WrongAnswer, match="x: f returns a number that is not finite. No."):
        check.not_invariant("x", lambda x: math.nan * x, lambda x: x, 1.0, hint="No.")
    with pytest.raises(InvalidValue, match="f returns 2 numbers at first and 1 after the transfo"):
        check.not_invariant("x", lambda x: x, lambda x: x[:1], np.array([3.0, 4.0]), hint="No.")


def test_what_is_no_function_is_refused(as_users_see_it):
    with pytest.raises(InvalidType, match="`transform` must be a function, got 2; pass lambda x"):
        check.not_invariant("x", lambda x: x, 2, 1.0, hint="No.")
    with pytest.raises(InvalidType, match="`f` must be a function, got 3; pass lambda x"):
        check.not_invariant("x", 3, lambda x: x, 1.0, hint="No.")


def test_an_answer_that_still_has_dots_is_unanswered():
    with pytest.raises(
        check.Unanswered, match="01-a waits for your answer: put it in place of the dots."
    ):
        check.close("01-a", ...)
    with pytest.raises(check.Unanswered):
        check.close("01-a", [1.0, ...])
    with pytest.raises(check.Unanswered):
        check.close("13-b", [[..., ...], [..., ...]])
    for f, transform in ((lambda x: ..., lambda x: x), (lambda x: x, lambda x: ...)):
        with pytest.raises(check.Unanswered, match="x waits for your answer"):
            check.not_invariant("x", f, transform, 1.0, hint="No.")


def test_a_notebook_shows_the_sentence_of_an_error_and_no_traceback():
    assert check.WrongAnswer("01-a: 3 is not right.")._render_traceback_() == [
        "✗ 01-a: 3 is not right."
    ]
    assert check.Unanswered("01-a waits.")._render_traceback_() == ["○ 01-a waits."]
    assert check.NoAnswer("01-a: no.")._render_traceback_() == ["✗ 01-a: no."]
    assert issubclass(check.NoAnswer, InvalidType)
    assert issubclass(check.WrongAnswer, DynoptError) and issubclass(
        check.WrongAnswer, AssertionError
    )


def test_mistyped_names_and_other_checks_are_refused():
    with pytest.raises(UnknownName, match="no exercise '01-d'; did you mean 01-"):
        check.close("01-d", 1.0)
    with pytest.raises(UnknownName, match="no exercise 'seventeen'. Known: 00-a"):
        check.close("seventeen", 1.0)
    with pytest.raises(InvalidValue, match="01-a is not for check.slope; call check.close instead"):
        check.slope("01-a", [1, 2, 3], [1, 2, 3])


def test_rows_of_a_matrix_may_be_given_one_by_one(capsys):
    seal = check.seal("x", [1.0, 2.0, 3.0, 4.0], relative=0.01)
    check.close("x", [np.array([1.0, 2.0]), jnp.array([3.0, 4.0])], seal=seal)
    assert capsys.readouterr().out == "✓ x: (1, 2, 3, 4)\n"


def test_a_check_without_a_valid_seal_is_refused():
    for ask in (
        check.close,
        lambda name, answer, **o: check.slope(name, answer, answer, **o),
    ):
        with pytest.raises(
            InvalidValue,
            match="a hint alone does not tell the right answer; also pass seal=check.seal",
        ):
            ask("mine", 0.5, hint="No.")
        with pytest.raises(InvalidValue, match="'nonsense' is no seal; make one by check.seal"):
            ask("mine", 0.5, seal="nonsense")
    with pytest.raises(InvalidValue, match="'relative 0.02 12345:090fcc' is no seal"):
        check.close("mine", 0.5, seal="relative 0.02 12345:090fcc")


@pytest.mark.parametrize(
    "wrong", ["0.5", None, object(), {1.0}, [[1.0], [1.0, 2.0]], 1 + 2j, ["1", "2"]]
)
def test_what_is_no_number_is_refused(wrong):
    with pytest.raises(
        check.NoAnswer,
        match="mine: `answer` must be a number, or a row of them, got .*; pass 0.5, for example",
    ):
        check.close("mine", wrong, seal=MY_SEAL)


@pytest.mark.parametrize(
    "value, options",
    [
        (1.0, {}),
        (1.0, {"relative": 0.1, "absolute": 0.1}),
        (1.0, {"relative": 1.0}),
        (1.0, {"absolute": 0.0}),
        (0.0, {"relative": 0.1}),
        (math.nan, {"absolute": 0.1}),
        (1.0, {"relative": 1e-20}),
        ([], {"absolute": 0.1}),
    ],
)
def test_what_cannot_be_sealed_is_refused(value, options):
    with pytest.raises(InvalidValue, match="; pass "):
        check.seal("x", value, **options)


def test_only_numbers_can_be_sealed():
    with pytest.raises(check.NoAnswer, match="x: `answer` must be a number, or a row of them"):
        check.seal("x", "B", absolute=0.1)
