"""How pictures are drawn, and what a new figure is made of.

A figure is one file `figures/<name>.py`, its import and its line of the catalogue in
`figures/__init__.py`. The file holds three functions:

- `draw(results, *, ax=None, style="notebook")` checks the results and returns a `Picture`, or the
  axes `ax` that it was given.
- `describe(results)` says in one sentence with numbers what the picture shows. The sentence is its
  alt text.
- `paint(ax, results)` draws into `ax` and returns a `Panel`. It never computes a run.

    from ..analysis import Comparison
    from .drawing import runs
    from .drawing.captions import claim, conditions
    from .drawing.picture import Panel, draw_picture
    from .drawing.results import result_list

    def draw(results, *, ax=None, style="notebook"):
        results = result_list(results, Comparison, "analysis.compare")
        return draw_picture(paint, describe, results, ax, style)

    def describe(results):
        results = result_list(results, Comparison, "analysis.compare")
        return f"The picture shows the norm of the gradient along {len(results)} maps."

    def paint(ax, comparisons):
        entries, (label, times) = runs.entries(comparisons), runs.time_axis(comparisons)
        runs.set_time_limits(ax, label, times)
        for (comparison, look, _, key), t in zip(entries, times):
            runs.draw_dots(ax, t, comparison.map.grad_norm, look, f"map {key}")
        ax.set(xlabel=label, ylabel="norm of the gradient  |∇f|", yscale="log")
        title = claim(comparisons, "the gradient falls")
        return Panel(title, runs.legend_handles(entries), caption=conditions(comparisons))

Twelve helpers do what all figures share:

- `results.result_list`: one result or many as a list, all of one kind and of one problem.
- `picture.draw_picture`: what `draw` returns; it writes title, legend, labels and caption.
- `picture.Panel`: what `paint` returns; title, legend entries, labels and caption.
- `runs.entries`: look, name and key of each result. The key ends the `gid` of every artist, by
  which tests find it.
- `runs.time_axis`: the label of the time axis, and where the points of each result lie on it.
- `runs.set_time_limits`: limits and ticks of the time axis.
- `runs.draw_dots` and `runs.draw_curve`: the map as dots, the flow as a line.
- `axes.dot_stride`: which dots to draw, so that they do not touch.
- `axes.log_limits`: limits of a logarithmic axis.
- `axes.set_log_ticks`: its ticks.
- `captions.claim`: the title, after the failures of runs.
- `captions.conditions`: start, problem, optimizers, steps, dtype and solver, for the caption.

Numbers and names become words in `words`, colours and styles are in `style`, legend entries in
`legends`. Dots are the map and a line is the flow, in every figure.
"""
