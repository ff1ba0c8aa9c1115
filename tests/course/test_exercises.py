"""In every exercise the right answer passes, and typical wrong answers get the hint that helps."""

import math
import re
from functools import cache

import numpy as np
import pytest
from solving import as_answer, ask, numbers, prediction, solution, solutions

from dynopt.course import check
from dynopt.errors import InvalidType, InvalidValue

EXERCISES = [name for chapter in check.chapters() for name in check.exercises(chapter)]
SEALED = [name for name in EXERCISES if check.exercises(name.partition("-")[0])[name].seal]
LESSONS = [chapter for chapter in check.chapters() if chapter != "00"]
EXAMPLE = 43.21  # the number that a check names to those who give none


@cache
def right_answer(name):
    return solution(name).right()


def exercise(name):
    return check.exercises(name.partition("-")[0])[name]


@pytest.mark.parametrize("chapter", check.chapters())
def test_every_exercise_has_a_solution(chapter):
    letters = "a" if chapter == "00" else "abc"
    assert (
        list(solutions(chapter))
        == list(check.exercises(chapter))
        == [f"{chapter}-{letter}" for letter in letters]
    )


@pytest.mark.parametrize("name", EXERCISES)
def test_the_right_answer_in_the_cell_of_the_notebook_passes(name, capsys):
    ask(name, *right_answer(name))
    assert capsys.readouterr().out.startswith(f"✓ {name}: ")


@pytest.mark.parametrize("name", SEALED)
def test_numbers_pass_on_both_sides_of_the_exact_one_up_to_the_tolerance(name):
    """The exact number is a closed form, or computed without dynopt, and each is tried alone."""
    known, seal = solution(name), exercise(name).seal
    exact = np.ravel(np.asarray(known.sealed, float))
    width = known.relative * np.abs(exact) if known.relative else known.absolute
    for one in np.eye(len(exact)):
        for fraction, passes in ((-0.99, True), (0.99, True), (-1.01, False), (1.01, False)):
            shifted = list(exact + fraction * width * one)
            assert check.seals.matches(seal, name, shifted) is passes, (
                f"at {fraction} of the tolerance"
            )


CLOSED_FORMS = {
    "00-a": 9,
    "01-c": -0.18393972,
    "02-b": 1.25e-5,
    "03-a": 0.55278640,
    "03-b": 0.11111111,
    "04-b": 0.33333333,
    "05-a": 20,
    "05-b": 6,
    "07-a": 1e-5,
    "07-b": 10,
    "08-a": 2,
    "09-a": 0.11111111,
    "13-a": -11,
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_a_closed_form_is_sealed_at_its_centre(name):
    seal, center = exercise(name).seal, CLOSED_FORMS[name]
    kind, tolerance, *_ = seal.split()
    width = float(tolerance) * (abs(center) if kind == "relative" else 1)
    for fraction, passes in ((-0.99, True), (0.99, True), (-1.01, False), (1.01, False)):
        assert check.seals.matches(seal, name, [center + fraction * width]) is passes


@pytest.mark.parametrize("name", EXERCISES)
def test_three_wrong_answers_fail_with_the_right_hint(name):
    known, entry = solution(name), exercise(name)
    assert len(known.wrong) >= 3
    for wrong, hint in known.wrong:
        with pytest.raises(check.WrongAnswer) as raised:
            ask(name, *as_answer(wrong))
        assert hint in str(raised.value)
    hints = [entry.hint, *(hint for _, hint in entry.mistakes)]
    assert len(set(hints)) == len(hints) and all(hint.endswith((".", "?")) for hint in hints)


@pytest.mark.parametrize("name", SEALED)
def test_an_answer_far_off_gets_the_hint_of_the_exercise(name):
    entry = exercise(name)
    with pytest.raises(check.WrongAnswer) as raised:
        entry.compare_with_seal("That", [12345.678] * entry.seal.count(":"))
    said = str(raised.value)
    assert said.startswith(f"{name}: That is not the right answer, asked within ")
    assert said.endswith(f". {entry.hint}")


MADE_UP = (
    0.0,
    0.5,
    1.0,
    3.0,
    -1.0,
    100.0,
    math.nan,
    [1.0, 2.0],
    [0.1, 0.05, 0.025],
    [[1.0] * 2] * 2,
)


@pytest.mark.parametrize("name", EXERCISES)
def test_made_up_answers_are_refused(name):
    """Constants, rows of numbers, and functions that compute nothing."""
    *given, _ = right_answer(name)  # what the notebook has measured, if the check takes it
    powers = [lambda h, p=p: h**p for p in (1, 2, 3)] if exercise(name).check == "slope" else []
    functions = [lambda *_, value=value: value for value in MADE_UP[:6]]
    for made_up in (*MADE_UP, *functions, *powers):
        if np.array_equal(made_up, solution(name).exact):
            continue  # the right number
        with pytest.raises((check.WrongAnswer, InvalidType, InvalidValue)) as raised:
            ask(name, *given, made_up)
        assert not isinstance(raised.value, check.Unanswered)


@pytest.mark.parametrize("name", EXERCISES)
def test_dots_wait_for_an_answer(name):
    *given, last = right_answer(name)
    with pytest.raises(check.Unanswered):
        ask(name, *given, ...)
    if callable(last) and exercise(name).check != "below":
        with pytest.raises(check.Unanswered):
            ask(name, *given, lambda *_: ...)


@pytest.mark.parametrize(
    "name, answer, says",
    [
        ("01-c", -0.18, "-0.18 is close: within 6 %, asked within 2 %"),
        ("03-b", 0.11, "0.11 is close: within 1.5 %, asked within 0.5 %"),
        ("04-c", -0.02, "-0.02 is close: within 9 %, asked within 3 %"),
        ("05-b", 6.2, "6.2 is close: within 6 %, asked within 2 %"),
        ("05-b", 5.8, "5.8 is close: within 6 %, asked within 2 %"),
        ("00-a", 10, "10 is close: within 1.2, asked within 0.4"),
    ],
)
def test_a_near_miss_is_called_close(name, answer, says):
    with pytest.raises(check.WrongAnswer, match=re.escape(f"{name}: {says}. Give more digits.")):
        ask(name, answer)


def test_the_number_that_a_check_names_answers_no_exercise():
    for name in SEALED:
        rows = [
            solution(name).sealed,
            *(numbers(name, *as_answer(w)) for w, _ in solution(name).wrong),
        ]
        assert not np.isclose(np.hstack([np.ravel(row) for row in rows]), EXAMPLE, rtol=0.1).any()


@pytest.mark.parametrize("chapter", LESSONS)
@pytest.mark.parametrize("guess", ["A", "B", "C", "b ", ..., "D", None, 3, ["A"]])
def test_a_prediction_is_answered_whatever_it_is(chapter, guess, capsys):
    right = prediction(chapter)
    check.prediction(chapter, guess)
    said = " ".join(capsys.readouterr().out.split())
    letter = str(guess).strip().upper()
    if letter == right:
        assert said.startswith(f"✓ You said {right}, and it is {right}. ")
    elif letter in ("A", "B", "C"):
        assert said.startswith(f"You said {letter}; it is {right}. {letter} is tempting, since ")
    else:
        refused = "" if guess is ... else f"{guess!r} is none of A, B and C. "
        refused = refused.replace("['A']", "the type list")
        assert said.startswith(f"{refused}It is {right}. ")
    assert said.endswith(".")
