"""The picture of retrieval: its claim, its numbers, and what it refuses."""

import jax.numpy as jnp
import numpy as np
import pytest
from scenes import make_retrieval

from dynopt import SGD, figures
from dynopt.analysis import Retrieval
from dynopt.errors import InvalidValue

ENDS = {"softmax": 0.6, "am": 0.93, "triplet_1_fixed": 0.304}


def artists(picture):
    (ax,) = picture.axes
    return {text.get_gid(): text for text in ax.texts if text.get_gid()}


def test_the_claim_names_the_best_and_the_worst_and_their_marks_carry_the_numbers():
    picture = figures.retrieval.draw([make_retrieval(name, end) for name, end in ENDS.items()])
    claim = " ".join(picture.axes[0].get_title().split())
    assert claim == (
        "With am, the nearest neighbour after 100 steps is right for 93 % of the sentences of "
        "unseen intents, with triplet 1 fixed for 30 %"
    )
    numbers = {k: t for k, t in artists(picture).items() if k.startswith("number")}
    assert [text.get_text() for text in numbers.values()] == ["93\xa0%", "30\xa0%"]
    assert all(text.get_fontweight() == "bold" for text in numbers.values())
    assert {f"label {name.replace('_', ' ')}" for name in ENDS} <= artists(picture).keys()


def test_the_dots_are_the_accuracies_at_the_saved_steps():
    result = make_retrieval("am", 0.9)
    (ax,) = figures.retrieval.draw(result).axes
    (dots,) = [line for line in ax.lines if str(line.get_gid()).startswith("map")]
    np.testing.assert_allclose(dots.get_xydata(), np.stack([result.steps, result.open], 1))


def test_results_of_one_problem_are_named_by_their_optimizers():
    results = [make_retrieval("am", 0.9), make_retrieval("am", 0.5, optimizer=SGD(0.1))]
    assert (
        "Adam from 10\xa0% to 90\xa0%; SGD from 10\xa0% to 50\xa0%"
        in figures.retrieval.describe(results)
    )


def test_points_after_a_failure_are_left_out_and_a_run_without_others_is_named():
    result = make_retrieval("am", jnp.nan)
    assert "no finite encodings" in figures.retrieval.describe(result)
    figures.retrieval.draw([result, make_retrieval("arc", 0.5)])
    picture = figures.retrieval.draw(result)
    assert any(text.get_text() == "no finite encodings" for text in picture.axes[0].texts)


def test_a_result_at_a_position_is_refused():
    result = make_retrieval("am", 0.9)
    at_position = Retrieval(result.closed[0], result.open[0], None, None, result.problem)
    with pytest.raises(InvalidValue, match="at a position; pass analysis.retrieval"):
        figures.retrieval.draw(at_position)


def test_it_draws_into_given_axes():
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert (
        figures.retrieval.draw([make_retrieval("am", 0.9), make_retrieval("arc", 0.8)], ax=ax) is ax
    )
    assert "for 90\xa0% of" in ax.get_title()
