"""In every exercise the right answer passes, and typical wrong answers get the hint that helps."""

import numpy as np
import pytest
from reseal import sealed_value
from solving import as_answer, ask, solutions

from dynopt.course import check

EXERCISES = [name for chapter in check.chapters() for name in check.exercises(chapter)]


def solution(name):
    return solutions(name.partition("-")[0])[name]


@pytest.mark.parametrize("chapter", check.chapters())
def test_every_exercise_has_a_solution(chapter):
    letters = "a" if chapter == "00" else "abc"
    assert (
        list(solutions(chapter))
        == list(check.exercises(chapter))
        == [f"{chapter}-{letter}" for letter in letters]
    )


@pytest.mark.parametrize("name", EXERCISES)
def test_the_right_answer_is_the_middle_of_the_numbers_that_pass(name, capsys):
    known, exercise = solution(name), check.exercises(name.partition("-")[0])[name]
    right = known.right()
    ask(name, *right)
    assert capsys.readouterr().out.startswith(f"✓ {name}: ")
    if exercise.seal:
        value = np.ravel(np.asarray(sealed_value(exercise.check, right), float))
        width = known.relative * abs(value) if known.relative else known.absolute
        for fraction, passes in ((-0.8, True), (0.8, True), (-1.2, False), (1.2, False)):
            shifted = list(value + fraction * width)
            assert check.seals.matches(exercise.seal, name, shifted) is passes, (
                f"at {fraction} of the tolerance"
            )


@pytest.mark.parametrize("name", EXERCISES)
def test_three_wrong_answers_fail_with_the_right_hint(name):
    known, exercise = solution(name), check.exercises(name.partition("-")[0])[name]
    assert len(known.wrong) >= 3
    for wrong, hint in known.wrong:
        with pytest.raises(check.WrongAnswer) as raised:
            ask(name, *as_answer(wrong))
        assert hint in str(raised.value)
    hints = [exercise.hint, *(hint for _, hint in exercise.mistakes)]
    assert len(set(hints)) == len(hints) and all(hint.endswith((".", "?")) for hint in hints)


@pytest.mark.parametrize("name", EXERCISES)
def test_an_answer_far_off_gets_the_hint_of_the_exercise(name):
    exercise = check.exercises(name.partition("-")[0])[name]
    if exercise.seal:
        numbers = exercise.seal.count(":")
        with pytest.raises(check.WrongAnswer) as raised:
            exercise.compare_with_seal("That", [12345.678] * numbers)
        assert str(raised.value) == f"{name}: That is not the right answer. {exercise.hint}"
