"""The Python that draws what the command draws, for whoever wants to go on from there."""

import re
from collections.abc import Callable, Iterator, Sequence

from ..optimizers import AbstractOptimizer
from .options import Options, typed
from .studies import SCALE, Study, has_energy, is_mended, shown_in

MEASURES = {
    "gaps": "gaps = [analysis.gap(page, problem, {steps}{x0}, throw=False) for page in pages]",
    "mendable_gaps": "mendable_gaps = {mendable}",
    "modified_gaps": "modified_gaps = [\n"
    "    analysis.gap(Modified(gap.optimizer), problem, {steps}{x0}, throw=False) for gap in mendable_gaps\n"
    "]",
    "local_errors": "local_errors = [analysis.local_error(page, problem, {steps}{x0}, throw=False) for page in pages]",
    "orders": "orders = []\n"
    "for page in pages:\n"
    "    with suppress(SolverFailure):  # a run that diverges has no order\n"
    "        orders.append(analysis.order(page, problem, {order_steps} * float(page.h){x0}))",
    "energies": "runs = [(gap.optimizer, run) for gap in {spending} for run in (gap.map, gap.flow)]\n"
    "energies = [analysis.energy(page, problem, run) for page, run in runs]",
    "rescalings": "rescalings = [\n"
    "    analysis.rescaling(page, problem, {steps}, {scale}{x0}, throw=False) for page in pages\n"
    "]",
    "stability": 'stability = analysis.stability(pages[{swinging}], "momentum")',
    "basins": "basins = []\n"
    "for page in pages:\n"
    "    basins.append(analysis.basins(page, problem, {long}, flow=basins[0] if basins else None))",
    "sensitivity": 'sensitivity = analysis.sensitivity(pages[{swinging}], problem, {steps}, "momentum"{x0})',
}


def script(studies: Sequence[Study], command: str) -> str:
    """Python that draws these studies with the library alone, every number written out, into the current folder."""
    body = [line for study in studies for line in _one(study)]
    used = "\n".join(body)
    optimizers = sorted(
        {type(optimizer).__name__ for study in studies for optimizer in study.optimizers.values()}
    )
    front = ("Modified", "Problem", "SolverFailure", "analysis", "figures", "problems")
    rooms = [name for name in front if re.search(rf"\b{name}\b", used)]
    own = sorted({study.called.partition(":")[0] for study in studies if study.file})
    head = [f'"""What `{command}` draws."""', ""]
    head += ["from contextlib import suppress", ""] * ("suppress(" in used)
    head += ["import jax", *(f"import {module}" for module in own), ""]
    head += [
        f"from dynopt import {', '.join(rooms)}",
        f"from dynopt.optimizers import {', '.join(optimizers)}",
    ]
    head += ["", "jax.config.update('jax_enable_x64', True)"]
    return "\n".join([*head, *body])


def _one(study: Study) -> Iterator[str]:
    """One problem, its optimizers, what is measured of them and what is drawn of that."""
    options = study.options
    optimizers = (
        f"{type(optimizer).__name__}({_arguments(study.made[name])})"
        for name, optimizer in study.optimizers.items()
    )
    x0 = "" if study.x0 is None else f", x0={study.x0}"
    yield from ("", f"problem = {study.code}", f"pages = [{', '.join(optimizers)}]")
    numbers = {
        **{"steps": study.steps, "long": study.long, "order_steps": study.order_steps, "x0": x0},
        "spending": _gaps_of(study, has_energy),
        "mendable": _gaps_of(study, is_mended),
        "scale": repr(SCALE),
        "swinging": list(study.optimizers).index(study.swinging) if study.swinging else None,
    }
    shown = {measure for figure in study.figures for measure in shown_in(figure)}
    for measure, code in MEASURES.items():
        if measure in shown or (measure == "gaps" and shown & {"energies", "mendable_gaps"}):
            yield code.format(**numbers)
    style = "" if options.style == Options.style else f', style="{options.style}"'
    for figure in study.figures:
        yield f"picture = figures.{figure}.draw({', '.join(shown_in(figure))}{style})"
        for format in options.format:
            dpi = f", dpi={typed(options.dpi)}" if options.dpi and format == "png" else ""
            yield f'picture.savefig("{figure}-{study.slug}.{format}"{dpi})'


def _gaps_of(study: Study, chosen: Callable[[AbstractOptimizer], bool]) -> str:
    """The gaps of the pages that are chosen, as a list in Python."""
    found = [
        f"gaps[{i}]" for i, optimizer in enumerate(study.optimizers.values()) if chosen(optimizer)
    ]
    return "gaps" if len(found) == len(study.optimizers) else f"[{', '.join(found)}]"


def _arguments(made) -> str:
    return ", ".join(f"{option}={value!r}" for option, value in made.items())
