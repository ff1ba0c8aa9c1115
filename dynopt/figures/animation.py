"""Map and flow of one optimizer as they move: ties at equal times become the curve of the error."""

from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator

from ..analysis import Comparison
from ..errors import InvalidValue
from .drawing import runs
from .drawing.animation import Animation as Animation
from .drawing.axes import LARGEST, dot_stride, mark_exit, set_linear_ticks
from .drawing.captions import (
    contour_sentence,
    landscape_name,
    problem_name,
    starts,
    summary,
)
from .drawing.measure import font_size, frame_box, on_paper, stroke, text_width
from .drawing.motion import motion_of, motion_sentence
from .drawing.notes import write_halo
from .drawing.picture import Picture
from .drawing.results import one_result, result_list
from .drawing.style import background, context, ink, muted, readable_color
from .drawing.ties import apart, bold_step, dot_distance, draw_tied, tie_keys, tied
from .drawing.words import count_noun, facts, format_number, literal
from .plane.landscape import draw_landscape
from .plane.projection import Plane, plane_of
from .plane.residual import residual_sentences, residuals
from .plane.window import PLANE, window_of

MOST_FRAMES = 60
SLIDES = 3  # frames in which the flow moves on, in each of the first steps
SLOW = 4  # steps at least that have such frames
# Milliseconds, multiples of 40: the start, a frame of the flow, a tie among the first steps, a tie
# after them, one among many, and the last frame.
START, SLIDE, FIRST_TIE, TIE, FAST_TIE, HOLD = 800, 80, 480, 280, 120, 3200
AFTER = 10  # steps that are shown after a map has left
FIRST = 6  # steps whose ties are shown longest
MOST_DOTS = 60  # of the curve of the error
# Sizes of dots, in sizes of the style: of the curve, of the flow now, and of the map now.
DOT, HEAD, NOW = 0.72, 1.3, 1.6
BOLD = 1.2  # times the width of other text, at most
HAIR = 3.5  # points at least from the middle of one thin tie to the next
SIZE = (1.17, 0.9)  # of the picture, in sizes of the style


class Moment(NamedTuple):
    """What one frame shows: the time in steps, and for how many milliseconds.

    At a whole number of steps the map has jumped, and its tie to the flow is drawn.
    """

    steps: float
    duration: int


def draw(
    results: Comparison | list[Comparison], *, title: str | None = None, style: str = "notebook"
) -> Animation:
    """Map and flow of one optimizer as they move over the contours of the loss.

    The flow slides along its line in ink. At each time t = k h it waits, the map jumps, and a bold
    tie joins the two. The length of this tie, which is the global error, stands as a bar at step k
    of the curve at the right. The last frame is held: as in `paths`, the longest tie is bold and
    carries its number, and so does its bar.

    There are at most 60 frames, however many steps there are. The first steps are shown slowly;
    of a long run each later frame shows several steps. In more than two coordinates the paths are
    projected as in `paths`; the error is that in all coordinates.

    `.save("run.gif")` writes a GIF, and `.save("run.mp4")` a video.

    - `results`: one result of `analysis.compare`.
    - `title`: a title in place of the claim.
    - `style`: "notebook", "paper" or "slides".

    **Raises:** `InvalidValue` if the problem has one coordinate only, or for several results.
    """
    comparison = _one(results)
    plane = plane_of([comparison], None, None)
    last = _Stage(comparison, plane, title, style)
    last.draw_end()
    schedule = moments(_last_step(comparison))
    durations = [moment.duration for moment in schedule] + [HOLD]

    def frames(width: int) -> Iterator[np.ndarray]:
        return _Stage(comparison, plane, title, style).frames(schedule, width)

    return Animation(last.picture, durations, frames)


def describe(results: Comparison | list[Comparison]) -> str:
    """The animation in one sentence with its numbers."""
    comparison = _one(results)
    (entry,), motion = runs.entries([comparison]), motion_of(comparison)
    claim = motion_sentence([entry.name], [motion])
    step = f", at step {motion.step}" if motion.kind not in ("", "leaves") else ""
    return (
        f"The animation shows {count_noun(_last_step(comparison), 'step')} of map (dots) and flow "
        f"(line) over contours of {landscape_name(comparison)} from {starts([comparison])}; at "
        f"each step a tie joins the two, and its length is a bar in the curve of the error at the "
        f"right: {claim}{step}."
    )


def _one(results: Any) -> Comparison:
    comparison = one_result(results, Comparison, "analysis.compare")
    result_list(comparison, Comparison, "analysis.compare")  # refuses a batch
    if comparison.problem.dim == 1:
        raise InvalidValue(
            f"an animation is drawn in a plane but {problem_name(comparison)} has 1 coordinate; "
            "draw loss, which works in any dimension."
        )
    if len(comparison.t) == 1:
        raise InvalidValue(
            "an animation shows steps, but this comparison has 0; pass for example steps=20 to "
            "analysis.compare."
        )
    return comparison


def _last_step(comparison: Comparison) -> int:
    """The step at which the animation ends: soon after a map has left, or before a run fails."""
    motion, steps = motion_of(comparison), len(comparison.t) - 1
    if motion.kind == "leaves":
        return min(steps, max(2 * motion.step, motion.step + AFTER))
    return max(int(np.isfinite(np.asarray(comparison.error)).sum()) - 1, 1)


def moments(steps: int, most: int = MOST_FRAMES) -> list[Moment]:
    """What the frames show, from the start to the last step; at most `most` with the last one held.

    In each of the first steps the flow moves in four frames. Later frames show one step, or as few
    as possible.
    """
    room = most - 2  # besides the start and the last frame

    def slow_steps(stride: int) -> int:
        """How many steps can be shown slowly, if each later frame shows `stride` of them."""
        numbers = range(min(steps, room // (SLIDES + 1)) + 1)
        return max(
            (n for n in numbers if (SLIDES + 1) * n + -((n - steps) // stride) <= room), default=0
        )

    stride = next(stride for stride in count(1) if slow_steps(stride) >= min(steps, SLOW))
    slow = slow_steps(stride)
    shown = [Moment(0.0, START)]
    for k in range(1, slow + 1):
        shown += [Moment(k - 1 + i / (SLIDES + 1), SLIDE) for i in range(1, SLIDES + 1)]
        shown.append(Moment(float(k), FIRST_TIE if k <= FIRST else TIE))
    later = [min(k, steps) for k in range(slow + stride, steps + stride, stride)]
    return shown + [Moment(float(k), FAST_TIE) for k in later]


class _Stage:
    """A picture with all that does not move: the landscape, the axes of the error, and the words.

    - `plane`: the frame of map and flow; `error`: that of the error.
    """

    def __init__(self, comparison: Comparison, plane: Plane | None, title: str | None, style: str):
        self.comparison, self.style = comparison, style
        self.steps = _last_step(comparison)
        with context(style):
            (self.entry,) = runs.entries([comparison])
            self.motion = motion_of(comparison)
            self.points = tied(comparison, plane or PLANE)
            self.picture = Picture(style, describe(comparison))
            if style != "slides":
                width, height = SIZE * self.picture.get_size_inches()
                self.picture.set_size_inches(width, height)
            grid = self.picture.add_gridspec(1, 2, width_ratios=(3, 2))
            self.plane, self.error = (self.picture.add_subplot(place) for place in grid)
            claim = title or motion_sentence([self.entry.name], [self.motion])
            self.picture.write_heading(claim, tie_keys(self.points)[:3], scale=1.1)
            caption = [*summary([comparison]), *contour_sentence(comparison.problem)]
            if plane is not None:
                off_plane = residuals([comparison], plane)
                caption += residual_sentences(comparison, plane, off_plane, hollow=False)
            self.picture.write_caption(caption)
            self._draw_plane(plane, 0.74)
            self._draw_error(plane)
            self.plane.set_aspect("auto")
            self.picture.lay_out()
            box = frame_box(self.plane)
            self.picture.set_layout_engine("none")  # what moves must not move the frames
            self.plane.clear()
            self._draw_plane(plane, box.height / box.width)

    def _draw_plane(self, plane: Plane | None, ratio: float) -> None:
        limits = window_of(self.comparison, self.points, ratio)
        draw_landscape(self.plane, self.comparison, limits, plane)
        fact = facts(self.comparison.optimizer, self.motion.fact)
        _write_head(self.plane, literal(self.entry.name), fact, self.entry.color)

    def _draw_error(self, plane: Plane | None) -> None:
        """The axes of the error, as high as the errors while the map is in view."""
        steps = self.steps
        shown = self.points.error[: -1 if self.motion.kind == "leaves" else None]
        top = 1.15 * float(shown.max(initial=0.0)) or 1.0
        self.error.set(xlim=(-0.02 * steps, 1.02 * steps), ylim=(-0.03 * top, top))
        self.error.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
        set_linear_ticks(self.error.xaxis)
        set_linear_ticks(self.error.yaxis)
        self.error.set_xlabel("step k,  at time t = k h")
        what = "length of the tie"
        if plane is not None:
            what = "in all coordinates"
        elif self.points.magnification > 1:
            what += f" ÷ {self.points.magnification}"
        _write_head(self.error, f"error: {what}", " ", ink())

    def draw_end(self) -> None:
        """The last frame: all that `paths` draws, and the curve of the error with its largest."""
        with context(self.style):
            draw_tied(self.plane, self.points, self.entry)
            color, key = self.entry.color, self.entry.key
            errors = np.asarray(self.comparison.error, float)[: self.steps + 1]
            every, size = dot_stride(len(errors), MOST_DOTS), mpl.rcParams["lines.markersize"]
            (curve,) = self.error.plot(
                np.arange(len(errors)), np.clip(errors, None, LARGEST), "-o", color=color,
                linewidth=stroke(0.9), markersize=DOT * size, markeredgewidth=0, markevery=every,
                gid=f"error {key}",
            )  # fmt: skip
            mark_exit(self.error, curve, color)
            step = bold_step(self.plane, self.points)
            if step is not None and errors[step] > 0:
                bar: dict[str, Any] = {
                    "color": color,
                    "linewidth": stroke(2.6),
                    "solid_capstyle": "butt",
                }
                self.error.plot([step] * 2, [0, errors[step]], **bar, gid=f"bar {key}")
                right = step < 0.6 * (len(errors) - 1)
                write_halo(
                    self.error, format_number(errors[step], 2), (step, errors[step]), color,
                    xytext=(6 if right else -6, 2), textcoords="offset points", va="bottom",
                    ha="left" if right else "right", gid=f"largest {key}",
                )  # fmt: skip
            _write_fact(self.error, self._words(self.steps), ink())

    def _words(self, k: int) -> str:
        """The step and the error, as in "k = 7,  error 0.55"."""
        error = float(self.comparison.error[k])
        if self.motion.kind == "leaves" and k >= self.motion.step:
            return f"k = {k},  the map left at step {self.motion.step}"
        if not np.isfinite(error):
            return f"k = {k},  {self.motion.failure}"
        return f"k = {k},  error {format_number(error, 2)}"

    def frames(self, schedule: list[Moment], width: int) -> Iterator[np.ndarray]:
        """The frames as arrays of shape `(height, width, 3)`; what does not move is drawn once."""
        with context(self.style):
            self.picture.set_dpi(width / self.picture.get_figwidth())
            canvas = FigureCanvasAgg(self.picture)
            actors = _Actors(self)
            for artist in actors.artists:
                artist.set_visible(False)
            canvas.draw()
            still = canvas.copy_from_bbox(self.picture.bbox)
            for moment in schedule:
                canvas.restore_region(still)
                actors.show(moment.steps)
                for artist in actors.artists:
                    artist.set_visible(True)
                    artist.draw(canvas.get_renderer())
                yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


class _Actors:
    """The artists that move, the lowest first."""

    def __init__(self, stage: _Stage):
        self.stage, color = stage, stage.entry.color
        plane, error, points = stage.plane, stage.error, stage.points
        size = mpl.rcParams["lines.markersize"]
        solid = points.magnification == 1
        face, edge = (color, background()) if solid else (background(), color)
        dot: dict[str, Any] = {
            "marker": "o", "linestyle": "none", "markerfacecolor": face, "markeredgecolor": edge,
            "markeredgewidth": stroke(0.7 if solid else 1.1),
        }  # fmt: skip
        ring: dict[str, Any] = dot | {"markerfacecolor": background(), "markeredgecolor": ink()}
        ring |= {"markersize": HEAD * size, "markeredgewidth": 0.3 * size}
        (self.thread,) = plane.plot([], [], color=color, linewidth=stroke(0.8), alpha=0.5)
        self.hairs = LineCollection([], colors=color, linewidths=stroke(0.8), alpha=0.5)
        plane.add_collection(self.hairs)
        (self.line,) = plane.plot([], [], color=ink(), solid_capstyle="round")
        (self.tie,) = plane.plot([], [], color=color, linewidth=stroke(2.6), solid_capstyle="round")
        (self.dots,) = plane.plot([], [], **dot)
        (self.head,) = plane.plot([], [], **ring)
        (self.now,) = plane.plot([], [], **dot, markersize=NOW * size)
        (self.curve,) = error.plot([], [], color=color, linewidth=stroke(0.9))
        (self.bar,) = error.plot([], [], color=color, linewidth=stroke(2.6), solid_capstyle="butt")
        (self.marks,) = error.plot(
            [], [], "o", color=color, linestyle="none", markersize=DOT * size, markeredgewidth=0
        )
        self.words = _write_fact(error, "", ink())
        self.artists: list[Any] = [
            self.thread, self.hairs, self.line, self.tie, self.dots, self.head, self.now,
            self.curve, self.bar, self.marks, self.words,
        ]  # fmt: skip
        if not solid:
            words = f"error drawn ×{points.magnification}"
            style: dict[str, Any] = {"ha": "right", "va": "top", "xycoords": "axes fraction"}
            write_halo(plane, words, (0.985, 0.97), color, **style)
            self.artists.append(plane.texts[-1])
        both = min(len(points.map), len(points.flow))
        self.ends = np.stack([points.flow[:both], points.map[:both]], 1)
        middles = on_paper(plane, self.ends.mean(1))
        self.hair_steps = apart(middles, HAIR) if both else np.zeros(0, int)
        self.kept = apart(on_paper(plane, points.map), dot_distance()) if len(points.map) else []
        self.stride = dot_stride(stage.steps + 1, MOST_DOTS)
        comparison = stage.comparison
        self.times = np.asarray(comparison.curve.t, float) / float(comparison.optimizer.h)
        self.errors = np.clip(np.asarray(comparison.error, float), None, LARGEST)

    def show(self, steps: float) -> None:
        """Put everything where it is after so many steps."""
        points, k = self.stage.points, int(steps)
        past = points.curve[: int(np.searchsorted(self.times, steps + 1e-6))]
        self.line.set_data(*past.T)
        self.head.set_data(*past[-1:].T)
        jumped = points.map[: k + 1]
        self.thread.set_data(*jumped.T)
        self.dots.set_data(*points.map[[i for i in self.kept if i <= k]].T)
        self.now.set_data(*jumped[-1:].T)
        is_tied = steps == k and 0 < k < len(self.ends)
        hairs = self.hair_steps[self.hair_steps < k + (not is_tied)]
        self.hairs.set_segments(list(self.ends[hairs]))
        self.tie.set_data(*(self.ends[k].T if is_tied else np.zeros((2, 0))))
        self.curve.set_data(np.arange(k + 1), self.errors[: k + 1])
        dots = np.arange(0, k + 1, self.stride)
        self.marks.set_data(dots, self.errors[dots])
        self.bar.set_data([k, k], [0, self.errors[k] if is_tied else np.nan])
        self.words.set_text(self.stage._words(k))


def _write_head(ax: Axes, name: str, fact: str, color: str) -> None:
    size = font_size("axes.labelsize")
    room = frame_box(ax).width / max(text_width(name, BOLD * size), 1.0)
    ax.set_title(
        name, loc="left", color=readable_color(color), fontweight="bold", pad=1.9 * size,
        fontsize=min(1.2, room) * size,
    )  # fmt: skip
    if fact.strip():
        _write_fact(ax, fact, muted())


def _write_fact(ax: Axes, fact: str, color: str) -> Any:
    """The line between the head and the frame."""
    size = font_size("axes.labelsize")
    return ax.annotate(
        fact, (0, 1), xycoords="axes fraction", xytext=(0, 0.5 * size), gid="fact",
        textcoords="offset points", va="bottom", fontsize=size, color=color,
    )  # fmt: skip
