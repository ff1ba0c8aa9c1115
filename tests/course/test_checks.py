"""A check lets the right answer pass, no other, and says of a wrong one what would help."""

import math

import numpy as np
import pytest

from dynopt.course import check
from dynopt.errors import DynoptError, InvalidType, InvalidValue, UnknownName

MINE = check.seal("mine", 0.5, relative=0.02)


@pytest.mark.parametrize("value", [1e-12, -3e-4, 0.5, -1.0, 2.71, 1e9])
@pytest.mark.parametrize("tolerance", [1e-3, 0.02, 0.3])
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
    for wrong in ([-2.0, -3.0], [-3.0, 2.0], [2.0], [2.0, -3.0, 0.0], [math.nan, -3.0], [math.inf, -3.0], [0.0, -3.0]):
        with pytest.raises(check.WrongAnswer):
            check.close("x", wrong, seal=seal)
    with pytest.raises(check.WrongAnswer):
        check.close("y", [2.0, -3.0], seal=seal)


def test_no_answer_stands_in_plain_sight():
    """The digits of the answer are not in its seal, and answers far apart may share its phase."""
    assert "271" not in check.seal("x", 2.71828, relative=0.02)
    phases = {check.seal("x", 2.0 * (1.02 / 0.98) ** n, relative=0.02).split(":")[0] for n in range(-50, 50)}
    assert len(phases) <= 2  # one, and one step of rounding beside it


def test_a_slope_is_fitted_to_the_logarithms(capsys):
    h = np.array([0.1, 0.05, 0.025])
    seal = check.seal("x", 2.0, absolute=0.1)
    check.slope("x", h, 3 * h**2.05, seal=seal)
    assert capsys.readouterr().out == "✓ x: a slope of 2.05\n"
    with pytest.raises(check.WrongAnswer, match="x: a slope of 1 is not it. Look again."):
        check.slope("x", h, h, seal=seal, hint="Look again.")
    with pytest.raises(InvalidValue, match="a slope needs three steps h and as many errors, got 2 and 2"):
        check.slope("x", h[:2], h[:2], seal=seal)
    with pytest.raises(InvalidValue, match="some `h` or `error` is not positive; leave those out"):
        check.slope("x", h, [1.0, 0.1, 0.0], seal=seal)


def test_a_choice_is_a_word_whatever_its_case(capsys):
    seal = check.seal("x", "B")
    check.choice("x", " b ", seal=seal)
    with pytest.raises(check.WrongAnswer, match='x: "A" is not it'):
        check.choice("x", "A", seal=seal)
    with pytest.raises(InvalidType, match="`answer` must be text, got 2; pass one of the letters"):
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
    with pytest.raises(check.WrongAnswer, match="x: at number 1, 4 is not below 3. No."):
        check.below("x", [1.0, 4.0], [1.0, 3.0], hint="No.")
    with pytest.raises(
        check.WrongAnswer, match="at number 0, 4 is not below 1. Are the two in this order, the smaller"
    ):
        check.below("x", [4.0, 4.0], [1.0, 3.0], hint="No.")
    with pytest.raises(check.WrongAnswer, match="x: 4 is not below 3. Are the two"):
        check.below("x", 4.0, 3.0, hint="No.")
    with pytest.raises(check.WrongAnswer, match="x: nan is not below 1. No."):
        check.below("x", [math.nan], 1.0, hint="No.")
    with pytest.raises(InvalidValue, match="there are no numbers to compare"):
        check.below("x", [], 1.0, hint="No.")
    with pytest.raises(InvalidValue, match="2 numbers stand beside 3; pass as many, or one bound for all"):
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
    with pytest.raises(InvalidValue, match="f gives 2 numbers and then 1"):
        check.invariant("x", lambda x: x, lambda x: x[:1], np.array([3.0, 4.0]), hint="No.")


def test_dots_are_no_answer_yet():
    with pytest.raises(check.Unanswered, match="01-a waits for your answer: put it in place of the dots."):
        check.close("01-a", ...)
    with pytest.raises(check.Unanswered):
        check.close("01-a", [1.0, ...])
    for f, transform in ((lambda x: ..., lambda x: x), (lambda x: x, lambda x: ...)):
        with pytest.raises(check.Unanswered, match="x waits for your answer"):
            check.invariant("x", f, transform, 1.0, hint="No.")


def test_a_notebook_shows_the_sentence_alone():
    assert check.WrongAnswer("01-a: 3 is not it.")._render_traceback_() == ["✗ 01-a: 3 is not it."]
    assert check.Unanswered("01-a waits.")._render_traceback_() == ["○ 01-a waits."]
    assert issubclass(check.WrongAnswer, DynoptError) and issubclass(check.WrongAnswer, AssertionError)


def test_mistyped_names_and_other_checks_are_refused():
    with pytest.raises(UnknownName, match="no exercise '01-d'; did you mean 01-"):
        check.close("01-d", 1.0)
    with pytest.raises(UnknownName, match="no exercise 'seventeen'. Known: 00-a"):
        check.close("seventeen", 1.0)
    with pytest.raises(InvalidValue, match=r"01-a is not for check.slope; call check.close"):
        check.slope("01-a", [1, 2, 3], [1, 2, 3])


@pytest.mark.parametrize("wrong", ["0.5", None, object(), [[1.0], [1.0, 2.0]]])
def test_what_is_no_number_is_refused(wrong):
    with pytest.raises(InvalidType, match="`answer` must be"):
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
    ],
)
def test_what_cannot_be_sealed_is_refused(value, options):
    with pytest.raises(InvalidValue, match="; pass "):
        check.seal("x", value, **options)
