"""For every exercise of the course the right answer passes, and typical wrong answers get the hint that helps."""

import numpy as np
import pytest
from reseal import sealed_value
from solving import answered, ask, solutions

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
def test_the_right_answer_passes_and_is_the_middle_of_what_does(name, capsys):
    own, exercise = solution(name), check.exercises(name.partition("-")[0])[name]
    right = own.right()
    ask(name, *right)
    assert capsys.readouterr().out.startswith(f"✓ {name}: ")
    if exercise.seal:
        value = np.ravel(np.asarray(sealed_value(exercise.check, right), float))
        for share, opens in ((-0.8, True), (0.8, True), (-1.2, False), (1.2, False)):
            width = own.relative * abs(value) if own.relative else own.absolute
            moved = list(value + share * width)
            assert check.seals.opens(exercise.seal, name, moved) is opens, (
                f"at {share} of the tolerance"
            )


@pytest.mark.parametrize("name", EXERCISES)
def test_three_wrong_answers_fail_with_the_right_hint(name):
    own, exercise = solution(name), check.exercises(name.partition("-")[0])[name]
    assert len(own.wrong) >= 3
    for wrong, hint in own.wrong:
        with pytest.raises(check.WrongAnswer) as told:
            ask(name, *answered(wrong))
        assert hint in str(told.value)
    known = [exercise.hint, *(hint for _, hint in exercise.mistakes)]
    assert len(set(known)) == len(known) and all(hint.endswith((".", "?")) for hint in known)


@pytest.mark.parametrize("name", EXERCISES)
def test_an_answer_far_off_gets_the_hint_of_the_exercise(name):
    exercise = check.exercises(name.partition("-")[0])[name]
    if exercise.seal:
        numbers = exercise.seal.count(":")
        with pytest.raises(check.WrongAnswer) as told:
            exercise.settle("That", [12345.678] * numbers)
        assert str(told.value) == f"{name}: That is not it. {exercise.hint}"
