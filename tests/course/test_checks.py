"""A check lets the right answer pass, no other, and says of a wrong one what would help."""

import math
import re

import jax.numpy as jnp
import numpy as np
import pytest

from dynopt.course import check
from dynopt.errors import DynoptError, InvalidType, InvalidValue, UnknownName

MINE = check.seal("mine", 0.5, relative=0.02)


@pytest.mark.parametrize("value", [1e-12, -3e-4, 0.5, -1.0, 2.71, 1e9])
@pytest.mark.parametrize("tolerance", [1e-3, 0.02, 1 / 3])
@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_a_seal_opens_within_its_tolerance_and_only_there(value, tolerance, kind, capsys):
    width = tolerance * (abs(value) if kind == "relative" else 1)
    seal = check.seal("x", value, **{kind: tolerance})
    for share in (-0.98, -0.5, 0, 0.5, 0.98):
        check.close("x", value + share * width, seal=seal)
    for share in (-1.02, 1.02, -5, 5):
        with pytest.raises(check.WrongAnswer):
            check.close("x", value + share * width, seal=seal)
    assert capsys.readouterr().out.count("✓ x") == 5


def test_a_seal_knows_sign_number_order_and_exercise():
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
def test_no_number_of_the_other_sign_opens_a_seal(value):
    seal = check.seal("x", value, relative=0.01)
    for other in -np.sign(value) * np.geomspace(1e-3, 1e3, 20_000):
        assert not check.seals.opens(seal, "x", [other])


def test_no_answer_stands_in_plain_sight():
    """A seal is a phase and a hash, and answers far apart may share the phase."""
    stamp = "[0-9a-f]{16}"
    assert re.fullmatch(rf"relative 0.02 \d{{5}}:{stamp}", check.seal("x", 2.71828, relative=0.02))
    assert re.fullmatch(
        rf"absolute 0.1 \d{{5}}:{stamp} \d{{5}}:{stamp}", check.seal("x", [1, 2], absolute=0.1)
    )
    assert re.fullmatch(rf"choice {stamp}", check.seal("x", "B"))
    phases = {
        check.seal("x", 2.0 * (1.02 / 0.98) ** n, relative=0.02).split(":")[0]
        for n in range(-50, 50)
    }
    assert len(phases) <= 2  # one, and one step of rounding beside it


def test_a_slope_is_fitted_to_the_logarithms(capsys):
    h = np.array([0.1, 0.05, 0.025])
    seal = check.seal("x", 2.0, absolute=0.1)
    check.slope("x", h, 3 * h**2.05, seal=seal)
    assert capsys.readouterr().out == "✓ x: a slope of 2.05\n"
    with pytest.raises(check.WrongAnswer, match="x: a slope of 1 is not it. Look again."):
        check.slope("x", h, h, seal=seal, hint="Look again.")
    with pytest.raises(
        InvalidValue,
        match="needs three different steps h and as many errors, got 2 different and 2",
    ):
        check.slope("x", h[:2], h[:2], seal=seal)
    with pytest.raises(InvalidValue, match="got 1 different and 3"):
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


def test_a_choice_is_a_word_whatever_its_case(capsys):
    seal = check.seal("x", "B")
    check.choice("x", " b ", seal=seal)
    with pytest.raises(check.WrongAnswer, match='x: "A" is not it'):
        check.choice("x", "A", seal=seal)
    with pytest.raises(
        check.NoAnswer, match="x: `answer` must be text, got 2; pass one of the letters"
    ):
        check.choice("x", 2, seal=seal)


def test_a_bound_holds_everywhere(capsys):
    check.below("x", [1.0, 2.0], [1.0, 3.0], hint="No.")
    check.below("x", [1.0, 2.0], 2.0, hint="No.")
    assert capsys.readouterr().out == "✓ x: 2 below\n" * 2
    tight = check.seal("x", 0.8, relative=0.01)
    check.below("x", [0.0, 1.0, 2.0], [0.0, 2.0, 2.5], seal=tight)
    assert capsys.readouterr().out == "✓ x: up to 0.8 of the bound\n"
    with pytest.raises(check.WrongAnswer, match="x: up to 0.4 of the bound is not it. No."):
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
        InvalidValue, match="2 numbers stand beside 3; pass as many, or one bound for all"
    ):
        check.below("x", [1.0, 2.0], [1.0, 2.0, 3.0], hint="No.")


def test_invariance_is_of_what_f_gives(capsys):
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    check.invariant("x", np.linalg.norm, lambda x: turn @ x, [3.0, 4.0], hint="No.")
    check.not_invariant("x", lambda x: x, lambda x: turn @ x, [3.0, 4.0], hint="No.")
    assert capsys.readouterr().out.startswith("✓ x: unchanged\n✓ x: changes by")
    with pytest.raises(check.WrongAnswer, match="x: f changes by 1 of its size"):
        check.invariant("x", np.linalg.norm, lambda x: 2 * x, np.array([3.0, 4.0]), hint="No.")
    with pytest.raises(check.WrongAnswer, match="x: f does not change"):
        check.not_invariant("x", np.linalg.norm, lambda x: -x, np.array([3.0, 4.0]), hint="No.")
    check.invariant("x", lambda x: x, lambda x: x * (1 + 0.9e-6), 1.0, hint="No.")
    check.not_invariant("x", lambda x: x, lambda x: x * (1 + 1.1e-6), 1.0, hint="No.")
    for same in (check.invariant, check.not_invariant):
        with pytest.raises(check.WrongAnswer, match="x: f gives a number that is not finite. No."):
            same("x", lambda x: math.nan * x, lambda x: x, 1.0, hint="No.")
    with pytest.raises(InvalidValue, match="f gives 2 numbers and then 1"):
        check.invariant("x", lambda x: x, lambda x: x[:1], np.array([3.0, 4.0]), hint="No.")


def test_what_is_no_function_is_refused(as_users_see_it):
    with pytest.raises(InvalidType, match="`transform` must be a function, got 2; pass lambda x"):
        check.invariant("x", lambda x: x, 2, 1.0, hint="No.")
    with pytest.raises(InvalidType, match="`f` must be a function, got 3; pass lambda x"):
        check.not_invariant("x", 3, lambda x: x, 1.0, hint="No.")


def test_dots_are_no_answer_yet():
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
            check.invariant("x", f, transform, 1.0, hint="No.")


def test_a_notebook_shows_the_sentence_alone():
    assert check.WrongAnswer("01-a: 3 is not it.")._render_traceback_() == ["✗ 01-a: 3 is not it."]
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
    with pytest.raises(InvalidValue, match=r"01-a is not for check.slope; call check.close"):
        check.slope("01-a", [1, 2, 3], [1, 2, 3])


def test_rows_of_a_matrix_may_be_given_one_by_one(capsys):
    seal = check.seal("x", [1.0, 2.0, 3.0, 4.0], relative=0.01)
    check.close("x", [np.array([1.0, 2.0]), jnp.array([3.0, 4.0])], seal=seal)
    assert capsys.readouterr().out == "✓ x: (1, 2, 3, 4)\n"


def test_a_check_without_a_seal_or_with_what_is_none_is_refused():
    for ask in (
        check.close,
        check.choice,
        lambda name, answer, **o: check.slope(name, answer, answer, **o),
    ):
        with pytest.raises(
            InvalidValue, match="a hint alone tells no right answer; pass seal=check.seal"
        ):
            ask("mine", 0.5, hint="No.")
        with pytest.raises(InvalidValue, match="'nonsense' is no seal; make one by check.seal"):
            ask("mine", 0.5, seal="nonsense")
    with pytest.raises(InvalidValue, match="'relative 0.02 12345:090fcc' is no seal"):
        check.close("mine", 0.5, seal="relative 0.02 12345:090fcc")
    with pytest.raises(InvalidValue, match="the seal of mine is one of a word; make another"):
        check.close("mine", 0.5, seal=check.seal("mine", "B"))
    with pytest.raises(InvalidValue, match="the seal of mine is one of a number; make another"):
        check.choice("mine", "B", seal=MINE)


@pytest.mark.parametrize(
    "wrong", ["0.5", None, object(), {1.0}, [[1.0], [1.0, 2.0]], 1 + 2j, ["1", "2"]]
)
def test_what_is_no_number_is_refused(wrong):
    with pytest.raises(
        check.NoAnswer,
        match="mine: `answer` must be a number, or a row of them, got .*; pass 0.5, say",
    ):
        check.close("mine", wrong, seal=MINE)


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
