"""Map and flow as they move: ties at equal times, frames and files."""

import struct
import sys
from io import BytesIO

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from scenes import artist, make_comparison, one_line, scene

from dynopt import SGD, Adam, Momentum, Problem
from dynopt.errors import EnvironmentProblem, InvalidValue
from dynopt.figures import animation
from dynopt.figures.drawing import animation as drawing, style

SHORT = 3  # steps


@pytest.fixture(scope="module")
def bowl():
    return make_comparison(SGD(0.17), scene("bowl"), 14)


@pytest.fixture(scope="module")
def short():
    return make_comparison(SGD(0.17), scene("bowl"), SHORT)


@pytest.fixture(scope="module")
def film(short):
    return animation.draw(short)


def moving(comparison, steps, name="notebook"):
    """The stage, and the artists where they are after so many steps."""
    with style.context(name):
        stage = animation._Stage(comparison, None, None, name)
        actors = animation._Actors(stage)
        actors.show(steps)
    return stage, actors


def data(line):
    return np.asarray(line.get_xydata())


def positions(run):
    return np.asarray(run.y.x)


# What moves


def test_at_a_step_the_tie_joins_map_and_flow_and_its_length_is_the_bar(bowl):
    _, actors = moving(bowl, 3.0)
    flow, map = positions(bowl.flow)[3], positions(bowl.map)[3]
    np.testing.assert_allclose(data(actors.tie), [flow, map])
    np.testing.assert_allclose(data(actors.now), [map])
    np.testing.assert_allclose(data(actors.head), [flow])
    length = np.hypot(*(map - flow))
    assert length > 0.1
    np.testing.assert_allclose(data(actors.bar), [[3, 0], [3, length]])
    assert actors.tie.get_linewidth() == actors.bar.get_linewidth() == 2.6
    assert actors.words.get_text() == f"k = 3,  error {length:.2f}"


def test_between_two_steps_the_flow_moves_on_and_the_map_waits(bowl):
    _, actors = moving(bowl, 3.5)
    per_step = (len(bowl.curve.t) - 1) // 14
    np.testing.assert_allclose(
        data(actors.head), [positions(bowl.curve)[3 * per_step + per_step // 2]]
    )
    np.testing.assert_allclose(data(actors.line)[-1:], data(actors.head))
    np.testing.assert_allclose(data(actors.now), positions(bowl.map)[3:4])
    assert len(data(actors.tie)) == 0 and np.isnan(data(actors.bar)[1, 1])


def test_ties_stay_as_thin_lines_and_the_error_as_a_curve(bowl):
    _, actors = moving(bowl, 4.0)
    ties = np.array(actors.hairs.get_segments())
    expected = np.stack([positions(bowl.flow), positions(bowl.map)], 1)[1:4]
    np.testing.assert_allclose(ties[-3:], expected)
    lengths = np.linalg.norm(positions(bowl.map) - positions(bowl.flow), axis=1)[:5]
    np.testing.assert_allclose(data(actors.curve), np.stack([np.arange(5), lengths], 1), atol=1e-12)


def test_the_last_frame_has_the_longest_tie_and_its_bar_in_bold(bowl):
    left, right = animation.draw(bowl).last.axes
    lengths = np.linalg.norm(positions(bowl.map) - positions(bowl.flow), axis=1)
    k = int(lengths.argmax())
    np.testing.assert_allclose(data(artist(right, "bar sgd")), [[k, 0], [k, lengths[k]]])
    assert artist(left, "longest tie sgd").get_linewidth() == 2.6
    for ax, gid in ((left, "number sgd"), (right, "largest sgd")):
        assert artist(ax, gid).get_text() == f"{lengths[k]:.2g}"
    np.testing.assert_allclose(data(artist(right, "error sgd"))[:, 1], lengths, atol=1e-12)


def test_an_error_that_is_magnified_is_measured_as_it_is():
    small = make_comparison(SGD(0.0004), scene("bowl"), 14)
    stage, actors = moving(small, 14.0)
    times = stage.points.magnification
    assert times >= 5 and stage.error.get_title(loc="left").endswith(f"the tie ÷ {times}")
    length = np.linalg.norm(positions(small.map)[14] - positions(small.flow)[14])
    np.testing.assert_allclose(np.hypot(*np.diff(data(actors.tie), axis=0)[0]), times * length)
    np.testing.assert_allclose(data(actors.bar)[1, 1], length)


def test_a_map_that_diverges_leaves_and_its_flow_arrives(diverged):
    stage, actors = moving(diverged, 4.0)
    (left, right), (low, high) = stage.plane.get_xlim(), stage.plane.get_ylim()
    x, y = data(actors.now)[-1]
    assert not (left < x < right and low < y < high)
    step = int(np.flatnonzero(np.abs(positions(diverged.map)).max(1) > 6 * 2.5)[0])
    film = animation.draw(diverged)
    assert "SGD leaves at step" in film.alt
    assert any("the map left at step" in text.get_text() for text in film.last.axes[1].texts)
    assert stage.steps < 40 and stage.motion.step <= step + 1
    flow = positions(diverged.flow)[stage.steps]
    np.testing.assert_allclose(np.hypot(*flow), 0, atol=0.1)


def test_in_more_coordinates_the_error_is_that_in_all_of_them():
    weights = jnp.array([1.0, 3.0, 10.0])
    problem = Problem(lambda x: (weights * x**2).sum() / 2, [2.0, -1.0, 1.0], name="three")
    comparison = make_comparison(Momentum(0.01), problem, 8)
    left, right = animation.draw(comparison).last.axes
    assert right.get_title(loc="left") == "error: in all coordinates"
    distance = np.linalg.norm(positions(comparison.map) - positions(comparison.flow), axis=1)
    np.testing.assert_allclose(data(artist(right, "error momentum"))[:, 1], distance, atol=1e-12)
    assert "principal direction" in left.get_xlabel()


# Frames


@pytest.mark.parametrize("steps", [1, 2, 14, 45, 59, 60, 1000, 100_000])
def test_there_are_at_most_60_frames_however_many_steps_there_are(steps):
    moments = animation.moments(steps)
    times = [moment.steps for moment in moments]
    assert len(moments) + 1 <= 60 and (len(moments) + 1 >= 57 or steps < 14)
    assert times[0] == 0 and times[-1] == steps and times == sorted(set(times))
    assert {*range(min(steps, 5))} <= set(times)
    ties = [moment.duration for moment in moments[1:] if moment.steps == int(moment.steps)]
    assert ties == sorted(ties, reverse=True) and ties[0] >= 400
    assert all(moment.duration % 40 == 0 for moment in moments)  # whole frames of a video


def test_the_alt_text_and_the_title_say_how_far_and_when(bowl):
    film = animation.draw(bowl)
    lengths = np.linalg.norm(positions(bowl.map) - positions(bowl.flow), axis=1)
    text = f"by up to {lengths.max():.2g}, at step {lengths.argmax()}."
    assert one_line(film.alt).endswith(text) and "14 steps" in film.alt
    assert f"by up to {lengths.max():.2g}" in one_line(film.last.get_suptitle())
    assert film.alt == animation.describe(bowl) == film.last.alt
    titled = animation.draw(bowl, title="One step is too long")
    assert one_line(titled.last.get_suptitle()) == "One step is too long"


def test_frames_are_drawn_in_their_style_and_leave_no_trace(short):
    before = {name: mpl.rcParams[name] for name in mpl.rcParams if name != "backend"}
    film = animation.draw(short, style="slides")
    frame = next(iter(film._frames(200)))
    assert frame.shape[1] == 200
    np.testing.assert_allclose(frame[0, 0] / 255, to_rgb(film.last.get_facecolor()), atol=0.01)
    assert sum(to_rgb(film.last.get_facecolor())) < 0.4
    assert {name: mpl.rcParams[name] for name in before} == before


# Files


def test_a_gif_is_small_holds_its_last_frame_and_says_what_it_shows():
    film = animation.draw(make_comparison(Momentum(0.01), scene("wells"), 40))
    data = film.encode("gif", {"Command": "dynopt"})
    assert len(data) < 250_000  # of the 600_000 that are allowed
    with Image.open(BytesIO(data)) as image:
        assert image.size[0] == 840 and image.n_frames <= len(film.durations) <= 60
        assert image.info["loop"] == 0
        assert image.info["comment"].decode() == f"Command: dynopt\nDescription: {film.alt}"
        first = np.asarray(image.convert("RGB"), float)
        durations = []
        for number in range(image.n_frames):
            image.seek(number)
            durations.append(image.info["duration"])
        last = np.asarray(image.convert("RGB"), float)
    assert sum(durations) == sum(film.durations) and durations[-1] >= 3000
    buffer = BytesIO()
    film.last.savefig(buffer, format="png", dpi=840 / film.last.get_figwidth())
    still = np.asarray(Image.open(buffer).convert("RGB"), float)[: len(last)]
    assert np.abs(last - still).mean() < 1.5 < 3 * np.abs(first - still).mean()
    assert tuple(last[0, 0]) == (255, 255, 255)


@pytest.fixture
def narrow(monkeypatch):
    """Files of few pixels, which take little time."""
    monkeypatch.setattr(drawing, "WIDTHS", {"gif": 300, "mp4": 320})


def test_two_saves_have_the_same_bytes_and_a_notebook_shows_them(narrow, film, tmp_path):
    for name in ("a.gif", "b.gif"):
        film.save(tmp_path / name)
    data = (tmp_path / "a.gif").read_bytes()
    assert data == (tmp_path / "b.gif").read_bytes()
    bundle, metadata = film._repr_mimebundle_()
    assert bundle["image/gif"] == data and bundle["text/plain"] == film.alt
    assert bundle["text/html"].startswith('<img src="data:image/gif;base64,')
    assert f'alt="{film.alt}"' in bundle["text/html"]
    assert metadata["image/gif"]["alt"] == film.alt


def test_a_video_lasts_as_long_as_its_frames_and_has_the_same_bytes_every_time(narrow, film):
    pytest.importorskip("imageio_ffmpeg")
    data = film.encode("mp4", {"Command": "dynopt"})
    assert data == film.encode("mp4", {"Command": "dynopt"})
    _, _, header = data.partition(b"mvhd")  # the boxes of ISO/IEC 14496-12
    per_second, duration = struct.unpack(">II", header[12:20])
    assert duration / per_second == pytest.approx(sum(film.durations) / 1000, abs=0.05)
    _, _, entry = data.partition(b"avc1\0\0\0")
    assert struct.unpack(">HH", entry[21:25])[0] == 320
    assert f"Command: dynopt\nDescription: {film.alt}".encode() in data


def test_a_video_without_its_library_is_refused(film, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(EnvironmentProblem, match=r'is missing; type pip install "dynopt\[video\]"'):
        film.save(tmp_path / "run.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["run.avi", "run"])
def test_another_kind_of_file_is_refused(film, name, tmp_path):
    with pytest.raises(InvalidValue, match="a name that ends in .gif or .mp4"):
        film.save(tmp_path / name)


def test_what_cannot_move_in_a_plane_is_refused(bowl, short):
    with pytest.raises(InvalidValue, match="`results` holds 2 results"):
        animation.draw([bowl, short])
    line = make_comparison(Adam(0.1), Problem(lambda x: (x**2).sum(), [1.0], name="line"), 2)
    with pytest.raises(InvalidValue, match="drawn in a plane but line has 1 coordinate; draw loss"):
        animation.draw(line)
    still = make_comparison(SGD(0.17), scene("bowl"), 0)
    with pytest.raises(InvalidValue, match="this comparison has 0; pass for example steps=20 to"):
        animation.draw(still)
