"""Paths in many coordinates: the plane, its variance, its residual, and its contours."""

import dataclasses
from io import BytesIO

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from overlaps import outside, overlapping
from scenes import artist, caption, gids, make_comparison, one_line, with_runs

from dynopt import SGD, Adam, Momentum, Problem
from dynopt.analysis import Comparison
from dynopt.errors import InvalidType, InvalidValue
from dynopt.figures import Picture, paths
from dynopt.figures.drawing import style
from dynopt.figures.drawing.ties import tied
from dynopt.figures.drawing.words import format_number, format_percent
from dynopt.figures.plane import contours
from dynopt.figures.plane.projection import _singular_vectors, plane_of
from dynopt.figures.plane.window import PLANE
from dynopt.problems import quadratic

OPTIMIZERS = (SGD(0.1), Momentum(0.02), Adam(0.1))
AXES = np.eye(5)


def tree_loss(x):
    return ((x["w"] @ jnp.arange(1.0, 4.0) + x["b"] - 1.0) ** 2).sum() + 0.1 * (x["w"] ** 2).sum()


@pytest.fixture(scope="module")
def five() -> list[Comparison]:
    return [make_comparison(optimizer, quadratic([1.0, 2, 3, 4, 5])) for optimizer in OPTIMIZERS]


@pytest.fixture(scope="module")
def tree() -> Comparison:
    start = {"w": np.array([[0.5, -1, 0.3], [1, 0.2, -0.4]]), "b": np.array([0.1, 2.0])}
    return make_comparison(Momentum(0.005), Problem(tree_loss, start, name="tree"))


@pytest.fixture(scope="module")
def picture(five) -> Picture:
    return paths.draw(five)


def points(comparisons) -> np.ndarray:
    return np.concatenate(
        [
            np.asarray(run.y.x)
            for comparison in comparisons
            for run in (comparison.map, comparison.flow)
        ]
    )


def pca(x) -> tuple[np.ndarray, np.ndarray]:
    """The two principal directions, and the share of the variance of each."""
    _, sizes, vectors = np.linalg.svd(x - x.mean(0), full_matrices=False)
    return vectors[:2], sizes[:2] ** 2 / (sizes**2).sum()


def magnification(comparison, comparisons) -> int:
    """How many times larger the distance of the map from its flow is drawn."""
    return tied(comparison, plane_of(comparisons) or PLANE).magnification


def data(picture, gid) -> np.ndarray:
    """The points of the artist with this gid, in whichever frame; of the first, if many have it."""
    ax = next(ax for ax in picture.axes if gid in gids(ax))
    return np.asarray(artist(ax, gid).get_xydata())


@pytest.mark.parametrize("kind", ["map", "flow"])
def test_paths_are_projected_on_their_principal_directions(five, kind, picture):
    x = points(five)
    basis, _ = pca(x)
    for comparison, key in zip(five, ("sgd", "momentum", "adam"), strict=True):
        map, flow, curve = (
            (np.asarray(run.y.x) - x.mean(0)) @ basis.T
            for run in (comparison.map, comparison.flow, comparison.curve)
        )
        expected = (
            curve if kind == "flow" else flow + magnification(comparison, five) * (map - flow)
        )
        drawn = data(picture, f"{kind} {key}")
        np.testing.assert_allclose(
            drawn * np.sign(drawn[0]), expected * np.sign(expected[0]), atol=1e-9
        )


def test_the_start_is_on_the_left_and_below(five, picture):
    assert (data(picture, "start") < 0).all()
    mirrored = [
        with_runs(comparison, lambda runs: (runs[0], jax.tree.map(jnp.negative, runs[1]), runs[2]))
        for comparison in five
    ]
    np.testing.assert_array_equal(data(paths.draw(mirrored), "start"), data(picture, "start"))


def test_the_explained_variance_is_that_of_numpy(five, picture):
    _, shares = pca(points(five))
    first, second, both = (
        format_percent(share).replace("\xa0", " ") for share in (*shares, shares.sum())
    )
    sentence = (
        "through the mean along the two principal directions, with "
        f"{first} + {second} = {both} of the variance of the paths"
    )
    assert f"The plane goes {sentence}." in caption(picture)
    assert sentence in picture.alt.replace("\xa0", " ")
    xlabel, ylabel = (
        one_line(label) for label in (picture.axes[0].get_xlabel(), picture.axes[0].get_ylabel())
    )
    assert xlabel == f"first principal direction, {first} of the variance"
    assert ylabel == f"second principal direction, {second} of the variance"


def test_the_largest_distance_from_the_plane_is_named(five, picture):
    x = points(five)
    basis, _ = pca(x)
    rest = (x - x.mean(0)) - (x - x.mean(0)) @ basis.T @ basis
    parts = np.split(np.linalg.norm(rest, axis=1), 3)
    distances = dict(zip(("SGD", "Momentum", "Adam"), parts, strict=True))
    farthest = max(distances, key=lambda name: distances[name].max())
    most = format_number(distances[farthest].max(), 2)
    assert f"The paths lie up to {most} ({farthest}) off it." in caption(picture)
    star = np.linalg.norm(x.mean(0) - basis.T @ (basis @ x.mean(0)))
    assert f"The minimizer lies {format_number(star, 2)} off it." in caption(picture)
    for name, distance in distances.items():
        part = picture.alt.split(f"the map of {name} ends at")[1].split(";")[0]
        assert f"lies up to {format_number(distance.max())} off it" in part


def test_contours_are_the_loss_of_lifted_points(five):
    plane, z = plane_of(five), np.array([[0.0, 0.0], [1.0, -2.0], [0.3, 0.4]])
    assert plane is not None
    lifted = plane.origin + z @ plane.basis
    np.testing.assert_allclose(
        contours.losses(five[0], z, plane),
        [float(five[0].problem.loss(jnp.asarray(x))) for x in lifted],
        rtol=1e-12,
    )
    np.testing.assert_allclose(plane.project(lifted), z, atol=1e-12)
    np.testing.assert_allclose(plane.distance(lifted), 0, atol=1e-12)


def test_the_losses_of_many_points_are_evaluated_in_batches(five, monkeypatch):
    plane, z = plane_of(five), np.random.default_rng(0).normal(size=(1000, 2))
    whole = contours.losses(five[0], z, plane)
    monkeypatch.setattr(contours, "BATCH", 35)
    np.testing.assert_allclose(contours.losses(five[0], z, plane), whole, rtol=1e-14)
    assert [contours.grid_points(n) for n in (3, 1000, 10_000, 100_000)] == [301, 301, 95, 61]


def test_the_largest_difference_of_the_contours_is_named(five, picture):
    plane = plane_of(five)
    assert plane is not None
    differences: dict[str, float] = {}
    for comparison in five:
        for run in (comparison.map, comparison.flow):
            below = contours.losses(comparison, plane.project(run.y.x), plane)
            largest, name = np.abs(np.asarray(run.loss) - below).max(), comparison.optimizer.name
            differences[name] = max(largest, differences.get(name, 0))
    most = max(differences, key=differences.__getitem__)
    by = f"by up to {format_number(differences[most], 2)} ({most})"
    assert (
        f"The contours are the loss in the plane, which differs from that on the paths {by}"
    ) in caption(picture)
    assert f"the contours differ from the losses on the paths {by}." in picture.alt
    last = contours.losses(five[0], plane.project(five[0].map.y.x[-1:]), plane)[0]
    loss = format_number(float(five[0].map.loss[-1]))
    assert (
        f"the map of SGD ends at a loss of {loss} over {format_number(last)} in the plane"
    ) in picture.alt


def test_dots_are_hollow_where_the_contours_are_wrong_by_more_than_one_level(five):
    picture, comparison = paths.draw(five, plane=AXES[:2], origin=np.zeros(5)), five[1]
    plane = plane_of(five, AXES[:2], np.zeros(5))
    assert plane is not None
    ax = picture.axes[1]
    levels = list(artist(ax, "contours").levels)
    loss = np.asarray(comparison.map.loss)
    below = contours.losses(comparison, plane.project(comparison.map.y.x), plane)
    wrong = np.abs(np.searchsorted(levels, loss) - np.searchsorted(levels, below)) > 1
    assert wrong.any() and not wrong.all()
    is_dot = np.isin(np.arange(len(wrong)), artist(ax, "map momentum").get_markevery())
    np.testing.assert_array_equal(
        data(picture, "off map momentum"), data(picture, "map momentum")[wrong & is_dot]
    )
    assert artist(ax, "off map momentum").get_markerfacecolor() == "#ffffff"
    assert "at hollow dots by more than one contour level." in caption(picture)


def test_a_given_plane_is_made_orthonormal_and_keeps_its_first_direction(five):
    u, v = 3 * AXES[0], AXES[0] + 2 * AXES[1]
    plane = plane_of(five, (u, v))
    assert plane is not None
    np.testing.assert_allclose(plane.basis, AXES[:2], atol=1e-15)
    np.testing.assert_allclose(plane.origin, points(five).mean(0))
    x = points(five) - points(five).mean(0)
    np.testing.assert_allclose(plane.shares, (x[:, :2] ** 2).sum(0) / (x**2).sum())
    assert plane.labels[0].startswith("first direction given, ")
    assert plane.labels[1].startswith("second direction, orthogonalised, ")
    random = np.random.default_rng(1).normal(size=(2, 5))
    plane = plane_of(five, jnp.asarray(random))
    assert plane is not None
    np.testing.assert_allclose(plane.basis @ plane.basis.T, np.eye(2), atol=1e-15)
    assert np.linalg.matrix_rank(np.concatenate([random, plane.basis]), tol=1e-9) == 2


def test_a_given_origin_is_where_the_axes_cross(five):
    picture = paths.draw(five, plane=(AXES[0], AXES[1]), origin=[0.0] * 5)
    np.testing.assert_array_equal(data(picture, "map sgd"), five[0].map.y.x[:, :2])
    assert "The plane goes through the given point along two given directions, with " in caption(
        picture
    )
    assert paths.describe(five, plane=(AXES[0], AXES[1]), origin=[0.0] * 5) == picture.alt


def test_a_plane_may_be_given_in_two_coordinates(comparisons):
    turned = np.array([[1.0, 1.0], [-1.0, 1.0]]) / 2**0.5
    picture = paths.draw(comparisons["bowl"][0], plane=turned, origin=[0.0, 0.0])
    np.testing.assert_allclose(
        data(picture, "flow sgd"), comparisons["bowl"][0].curve.y.x @ turned.T, atol=1e-14
    )
    sentences = "The paths lie in it. The contours are the loss in the plane, as on the paths."
    assert sentences in caption(picture)
    assert "off map sgd" not in gids(picture.axes[0]) and "lies" not in caption(picture)


def test_a_tree_is_projected_as_one_vector(tree):
    picture, x = paths.draw(tree), points([tree])
    basis, _ = pca(x)
    expected = (np.asarray(tree.map.y.x) - x.mean(0)) @ basis.T
    np.testing.assert_allclose(np.abs(data(picture, "map momentum")), np.abs(expected), atol=1e-9)
    u = {"w": np.array([[1.0, 0, 0], [0, 0, 0]]), "b": np.zeros(2)}
    v = {"w": np.zeros((2, 3)), "b": np.array([0.0, 1.0])}
    origin = jax.tree.map(np.zeros_like, u)
    as_tree, as_vector = (
        paths.draw(tree, plane=plane, origin=origin)
        for plane in ((u, v), (np.eye(8)[2], np.eye(8)[1]))
    )
    np.testing.assert_array_equal(data(as_tree, "map momentum"), data(as_vector, "map momentum"))
    np.testing.assert_array_equal(data(as_tree, "map momentum")[:, 0], tree.map.x["w"][:, 0, 0])


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        (
            {"plane": 3},
            InvalidType,
            "`plane` must be two directions, got int; pass a pair, each of the shape",
        ),
        ({"plane": AXES}, InvalidType, "`plane` must be two directions, got ndarray; pass a pair"),
        (
            {"plane": {"u": AXES[0], "v": AXES[1]}},
            InvalidType,
            "`plane` must be two directions, got dict; pass a pair",
        ),
        (
            {"plane": (AXES[0], AXES[1][:3])},
            InvalidValue,
            r"`plane\[1\]` has shape \(3,\) but quadratic has 5 coordin",
        ),
        (
            {"plane": (AXES[0], {"a": 1.0})},
            InvalidValue,
            r"`plane\[1\]` has another structure but quadratic has 5",
        ),
        ({"plane": (AXES[0], "up")}, InvalidType, r"`plane\[1\]` must hold real numbers"),
        (
            {"plane": (AXES[0] * np.nan, AXES[1])},
            InvalidValue,
            r"`plane\[0\]` is nan at coordinate 0; pass finite",
        ),
        (
            {"plane": (AXES[0], 0 * AXES[0])},
            InvalidValue,
            r"`plane\[1\]` is zero, which is no direction; pass another",
        ),
        (
            {"plane": (AXES[0], -2 * AXES[0])},
            InvalidValue,
            "of `plane` are parallel and span a line; pass two that",
        ),
        (
            {"origin": [0.0, 0.0]},
            InvalidValue,
            r"`origin` has shape \(2,\) but quadratic has 5 coordinates; pass it",
        ),
    ],
)
def test_what_spans_no_plane_is_refused(five, given, error, says):
    with pytest.raises(error, match=says):
        paths.draw(five, **given)


def test_an_origin_alone_chooses_nothing_in_two_coordinates(comparisons):
    with pytest.raises(
        InvalidValue, match="bowl has two coordinates and one plane; leave it out, or pass `plane`"
    ):
        paths.draw(comparisons["bowl"], origin=[0.0, 0.0])


def test_a_path_along_a_line_or_at_rest_still_has_a_plane():
    line = make_comparison(SGD(0.3), quadratic([1.0, 1.0, 1.0]))
    at_rest = make_comparison(
        SGD(0.3), Problem(quadratic([1.0, 2.0, 3.0]).loss, [0.0, 0.0, 0.0], name="rest")
    )
    no_steps = make_comparison(SGD(0.1), quadratic([1.0, 2.0, 3.0]), 0)
    bent = make_comparison(
        SGD(0.1),
        Problem(lambda x: x[0] + x[1] ** 2 * x[0] + 0 * x[2], [0.0, 0.0, 0.0], name="bent"),
    )
    for comparison in (line, at_rest, no_steps, bent):
        plane = plane_of([comparison])
        assert plane is not None
        np.testing.assert_allclose(plane.basis @ plane.basis.T, np.eye(2), atol=1e-12)
        picture = paths.draw(comparison)
        picture.savefig(BytesIO(), dpi=30)
        assert "NaN" not in picture.alt + caption(picture)
        assert "The paths lie in it." in caption(picture)
    assert (
        "along the principal direction and a direction perpendicular to it, with 100 % + 0 %"
    ) in caption(paths.draw(line))
    text = caption(paths.draw(no_steps))
    assert "along the gradient at the start and a direction perpendicular to it." in text
    assert "variance" not in text


def test_a_run_that_failed_takes_no_part_in_the_plane(five):
    lost = make_comparison(SGD(0.9), five[0].problem, 400)
    assert str(lost.map.status) == "diverged" and str(lost.flow.status) == "ok"
    plane, kept = plane_of([lost]), np.asarray(lost.flow.y.x)
    assert plane is not None
    np.testing.assert_allclose(plane.origin, kept.mean(0), atol=1e-12)
    np.testing.assert_allclose(np.abs(plane.basis), np.abs(pca(kept)[0]), atol=1e-6)
    picture = paths.draw([lost, five[1]])
    assert (
        "of the variance of the paths that reached their end. The paths that reached their end lie"
    ) in caption(picture)
    assert "exit thread sgd" in gids(picture.axes[0])
    both = dataclasses.replace(
        lost,
        flow=dataclasses.replace(lost.map, kind="flow", stats=lost.flow.stats | lost.map.stats),
    )
    start = plane_of([both])
    assert start is not None and (start.origin == np.asarray(lost.map.y.x[0])).all()
    assert paths.draw(both).alt.endswith("; the contours differ from the losses on the paths.")


def test_nothing_finite_is_a_picture(five):
    nan = jnp.full(41, jnp.nan)
    lost = with_runs(five[1], lambda runs: (runs[0], runs[1], nan))
    paths.draw(lost).savefig(BytesIO(), dpi=30)


def test_float32_is_projected(five):
    single = with_runs(five[0], lambda runs: jax.tree.map(lambda a: a.astype(jnp.float32), runs))
    np.testing.assert_allclose(
        data(paths.draw(single), "map sgd"), data(paths.draw(five[0]), "map sgd"), atol=1e-5
    )


def test_the_same_runs_give_the_same_bytes(five):
    files = [BytesIO(), BytesIO()]
    for file in files:
        paths.draw(five).savefig(file, format="svg", metadata={"Date": None})
    assert files[0].getvalue() == files[1].getvalue()


def test_the_principal_directions_of_a_large_matrix_are_those_of_numpy():
    n, dim = 450, 3000
    random = np.random.default_rng(0)
    scales = 1.0 / np.arange(1, 31) ** 2
    x = (random.normal(size=(n, 30)) * scales) @ np.linalg.qr(random.normal(size=(dim, 30)))[0].T
    vectors, sizes = _singular_vectors(x - x.mean(0))
    exact, (first, second) = pca(x)
    assert first > second
    np.testing.assert_allclose(np.abs((vectors[:2] * exact).sum(1)), 1, atol=1e-12)
    np.testing.assert_allclose(
        sizes[:2], np.linalg.svd(x - x.mean(0), compute_uv=False)[:2], rtol=1e-12
    )


@pytest.mark.parametrize("look", style.STYLES)
def test_no_word_lies_on_another_or_outside(look, five, tree):
    pictures = [paths.draw(five, style=look), paths.draw(tree, style=look)]
    pictures += [paths.draw(five, plane=(AXES[0], AXES[0] + AXES[1]), style=look)]
    for picture in pictures:
        assert overlapping(picture) == [] and outside(picture) == []
