"""How pictures are drawn, and what a new figure is made of.

Every figure speaks one language. Each optimizer has a frame of its own, unless they race. Coloured
dots joined by a thin thread are the map, a line in ink is the flow, and ties join the two at equal
times. The title is a claim that is computed from the results, and the mark in the picture that
shows it carries the same number in bold.

A figure is one file `figures/<name>.py`, its import and its line of the catalogue in
`figures/__init__.py`. The section "A figure" of CONTRIBUTING.md holds one to copy. The file holds:

- `draw(results, *, title=None, ax=None, style="notebook")`, under the decorator `style.in_style`,
  checks the results and returns a `Picture`, or the axes `ax` that it was given.
- `describe(results)` says in one sentence with numbers what the picture shows: its alt text.
- `frames(results)` returns one function for each optimizer. It draws into the axes that it is
  given, which are `ratio` times as high as wide, and returns a `Panel`. It never computes a run.

These helpers do what figures share:

- `results.result_list`: one result or many as a list, all of one kind and of one problem.
- `runs.entries`: result, colour, name and key of each optimizer. The key ends the `gid` of every
  artist, by which tests find it.
- `frames.draw_frames`: what `draw` returns; it writes title, heads, keys and caption.
- `picture.Panel`: what stands around a frame; the head is `name` in `color` above the `fact`.
- `words.facts`: the learning rate, and what else is a fact of this optimizer.
- `captions.claim`: the title, after the failures of runs.
- `captions.summary`: the caption of one line: problem, start, steps, dtype and error of the flow.
- `motion.motion_sentence`: how maps move beside their flows, as a title.
- `descent.draw_map`: the map over the steps, as dots on a thread.
- `ties.draw_tied`: map, flow and ties in a plane, of the points that `ties.tied` returns.
- `ties.apart`: which dots to draw, so that they do not touch.
- `measure.on_paper`: where points lie on paper; `measure.stroke`: a width of a line in each style.
- `laws.mean_of`, `laws.variance_of`: numbers from random paths, with their standard errors.
- `laws.noise_facts`: the learning rate and the noise of an optimizer.
- `notes.write_halo`: a bold number beside its mark.
- `notes.write_note`: bold lines in the corner of the frame where they cover least.
- `legends.run_keys`: the keys of dots and line.
- `runs.set_step_limits`: limits and ticks of an axis of steps.
- `axes.log_limits` and `axes.set_log_ticks`: limits and ticks of a logarithmic axis.

Numbers and names become words in `words`; colours and styles are in `style`.
"""
