"""How pictures are drawn, and what a new figure is made of.

A figure is one file `figures/<name>.py` and one line in the catalogue of `figures/__init__.py`.
The file holds three functions:

- `draw(results, *, ax=None, style="notebook")` checks the results and returns a `Picture`, or the
  axes `ax` that it was given.
- `describe(results)` says in one sentence with numbers what the picture shows. The sentence is its
  alt text.
- `paint(ax, results)` draws into `ax` and returns a `Panel`. It never computes a run.

    from .drawing import runs
    from .drawing.axes import log_limits, set_log_ticks
    from .drawing.captions import claim, conditions
    from .drawing.picture import Panel, draw_picture
    from .drawing.results import result_list

    def draw(results, *, ax=None, style="notebook"):
        results = result_list(results, Comparison, "analysis.compare")
        return draw_picture(paint, describe, results, ax, style)

    def paint(ax, comparisons):
        entries, (label, times) = runs.entries(comparisons), runs.time_axis(comparisons)
        runs.set_time_limits(ax, label, times)
        for (comparison, look, _, key), t in zip(entries, times):
            runs.draw_dotted_curve(ax, t, comparison.error, look, f"error {key}", 1)
        ax.set(xlabel=label, ylabel="global error", yscale="log")
        handles = runs.legend_handles(entries)
        return Panel("A claim.", handles, caption=conditions(comparisons))

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
