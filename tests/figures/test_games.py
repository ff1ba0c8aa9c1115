"""Pictures of games: they name what they show, and nothing in them reads a field as a gradient."""

import jax.numpy as jnp
import matplotlib.text
import numpy as np
import pytest

from dynopt import SGD, Game, Held, Momentum, Problem, analysis, course, figures, iterate, problems
from dynopt.errors import ProblemError
from dynopt.figures.drawing.captions import contour_sentence, coordinate_names, height_of


def held(x, fixed):
    return x[0] * fixed[1] - fixed[0] * x[1] + 0.2 * x[0] ** 2


def of_u(x):
    return jnp.vdot(x["u"], x["v"]) + (x["u"] ** 2).sum() * x["theta"]


def of_v(x):
    return -jnp.vdot(x["u"], x["v"])


def of_theta(x):
    return (x["theta"] - x["u"][0]) ** 2


BILINEAR = problems.bilinear()
HELD = Problem(Held(held), [1.0, 0.5])
THREE = Game(
    {"v": of_v, "u": of_u, "theta": of_theta},
    {"v": [0.3, -0.2], "u": [1.0, 0.5], "theta": 0.4},
    name="three players",
)
RUN = analysis.compare(SGD(0.1), BILINEAR, 20)


def texts(picture):
    return [artist.get_text() for artist in picture.findobj(matplotlib.text.Text)]


def one_text(picture, start):
    return next(text for text in texts(picture) if text.startswith(start))


def test_axes_have_the_names_of_leaves_in_the_order_of_the_coordinates():
    assert coordinate_names(BILINEAR) == ["a", "b"]
    assert coordinate_names(THREE) == ["θ", "u₁", "u₂", "v₁", "v₂"]  # the keys are sorted
    assert coordinate_names(HELD) == ["x₁", "x₂"]
    (ax,) = figures.paths.draw(RUN).axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("position a", "position b")


def test_the_figure_of_losses_shows_the_norm_of_a_field_and_no_lyapunov_function():
    picture = figures.loss.draw(RUN)
    (ax,) = picture.axes
    assert ax.get_ylabel().split() == ["norm", "of", "the", "field", "|g|"]
    end = 1.25 * 1.01**10
    assert f"at |g|\xa0=\xa0{end:.2g} against 1.2" in picture.get_suptitle()
    assert not any("lyapunov" in str(line.get_gid()) for line in ax.lines)
    assert "the norm of the field, |g|, on bilinear" in picture.alt
    for text in texts(picture):
        assert "loss" not in text and "f*" not in text and "rises" not in text


def test_what_a_game_shows_and_what_a_held_loss_is_have_their_own_names():
    def radius(x):
        return jnp.hypot(x["a"], x["b"])

    game = Game({"a": lambda x: x["a"] * x["b"], "b": lambda x: x["b"]}, BILINEAR.x0, shown=radius)
    assert height_of(game).label == height_of(game).noun == "radius"
    assert height_of(HELD).symbol == "ℓ(x,\xa0x)" and "held" in height_of(HELD).label
    assert height_of(problems.booth()).label == "loss above minimum  f\xa0−\xa0f*"


def test_contours_of_a_game_are_those_of_the_norm_and_the_caption_says_so():
    caption = one_text(figures.paths.draw(RUN), "On bilinear")
    assert "The contours are those of |g|." in caption.replace("\n", " ")
    assert "over contours of |g| on bilinear" in figures.paths.describe(RUN)
    booth = analysis.compare(SGD(0.01), problems.booth(), 2)
    assert "contours are" not in one_text(figures.paths.draw(booth), "On booth")


def test_a_plane_of_one_path_goes_along_the_field_at_the_start():
    """The second direction of a path that is a point is the field, and not the gradient of |g|."""
    at_rest = analysis.compare(SGD(0.1), THREE, 0)
    picture = figures.paths.draw(at_rest)
    assert picture.axes[0].get_xlabel() == "field at the start"


def test_a_race_of_games_is_run_over_the_norm():
    picture = figures.race.draw(RUN, "one rate")
    assert picture.axes[0].get_ylabel() == "norm of the field  |g|"
    assert "|g|\xa0=\xa01.4 after 20 steps" in one_text(picture, "With one rate")


def test_the_equations_above_a_column_follow_the_field():
    shown = texts(figures.overview.draw(RUN, []))
    assert "x′\xa0=\xa0-g(x)" in shown and not any("∇f" in text for text in shown)


def test_steps_on_a_game_turn_from_its_field():
    result = analysis.inside(Momentum(0.1), BILINEAR, 1, 2)
    assert "from −g" in figures.inside.describe(result)
    assert not any(
        "∇f" in text or text == "gradient" for text in texts(figures.inside.draw(result))
    )


def test_the_plane_of_stability_names_what_runs_reach():
    optimizer = Momentum(0.1)
    field = analysis.sensitivity(
        optimizer, BILINEAR, 5, "momentum", learning_rates=[0.1, 0.2], values=[0.0, 0.5]
    )
    assert "smallest |g| 1." in repr(field) and np.isnan(field.curvature)
    theory = analysis.stability(optimizer, "momentum")
    assert "shows the norm of the field, |g|, of Momentum" in figures.stability.describe(
        theory, field
    )


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: analysis.lyapunov(SGD(0.1), BILINEAR, 5),
        lambda: analysis.sharpness(BILINEAR),
        lambda: analysis.basins(SGD(0.1), BILINEAR, 5),
        lambda: analysis.rescaling(SGD(0.1), BILINEAR, 5, 2.0),
        lambda: analysis.suggested_rates(BILINEAR, {"sgd": SGD}, 5),
        lambda: course.bound.draw(RUN, lambda t: 1 / t),
    ],
)
def test_what_needs_a_loss_refuses_a_game_in_one_sentence(attempt):
    words = "needs a loss that is descended, but the field of bilinear .* game; use analysis.spectr"
    with pytest.raises(ProblemError, match=words):
        attempt()


def test_the_bias_of_simultaneous_descent_climbs_the_norm_of_the_field():
    """x′ = -g + (h/2) Dg g, and Dgᵀ = -Dg: the term is +(h/4) of the gradient of |g|²."""
    bias = analysis.implicit_bias(SGD(0.1), BILINEAR)
    np.testing.assert_allclose(float(bias.strength), -0.05, rtol=1e-12)


def test_the_twin_of_an_optimizer_is_checked_on_the_field():
    report = analysis.check_optimizer(SGD(0.1), BILINEAR)
    assert "twin" in repr(report) and "keeps the contract" in repr(report)


def test_a_run_that_starts_where_a_game_is_not_finite_says_so_of_the_norm():
    game = Game.from_field(lambda x: jnp.log(x), [-1.0], name="log")
    with pytest.raises(
        ProblemError, match=r"where its \|g\| is nan and the norm of its field nan; "
    ):
        iterate(SGD(0.1), game, 1)


def test_a_game_that_shows_a_function_called_f_is_not_read_as_a_loss():
    def f(x):
        return x["a"] ** 2 + x["b"] ** 2

    losses = {"a": lambda x: x["a"] * x["b"], "b": lambda x: -x["a"] * x["b"]}
    game = Game(losses, {"a": 1.0, "b": 0.5}, shown=f)
    assert game.owns_field and height_of(game).noun == "f"
    assert contour_sentence(game) == ["The contours are those of f."]
