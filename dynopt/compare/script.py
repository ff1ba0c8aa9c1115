"""The Python that draws what the command draws, as a place to go on from."""

import re
from collections.abc import Iterator, Sequence

from .kinds import Name, classes_in, code_of
from .measurements import MEASUREMENTS, ONE_EACH, Measurement, settings, shown_in
from .options import Options
from .studies import Study
from .values import OF_FIGURES, as_typed

NAMES = (  # of dynopt, in a script
    "Problem", "SolverFailure", "analysis", "ensemble", "explore", "figures", "iterate", "problems",
)  # fmt: skip


def script(studies: Sequence[Study], command: str) -> str:
    """Python that draws these studies into the current folder, every number written out."""
    body = [line for study in studies for line in _study_code(study)]
    text = "\n".join(body)
    imports = [name for name in NAMES if re.search(rf"\b{name}\b", text)]
    kinds = {name for study in studies for code in _optimizers(study) for name in classes_in(code)}
    modules = {study.source.module for study in studies if study.source.module}
    head = [f'"""What `{command}` draws."""', ""]
    head += ["from contextlib import suppress", ""] * ("suppress(" in text)
    head += ["import jax", *(f"import {module}" for module in sorted(modules)), ""]
    head += [f"from dynopt import {', '.join(imports)}"]
    head += [f"from dynopt.optimizers import {', '.join(sorted(kinds))}"]
    head += ["", "jax.config.update('jax_enable_x64', True)"]
    return "\n".join([*head, *body])


def _study_code(study: Study) -> Iterator[str]:
    """A problem, its optimizers, what is measured of them, and the figures of that."""
    calls = ", ".join(_optimizers(study))
    yield from ("", f"problem = {study.source.code}", f"optimizers = [{calls}]")
    measurements = {measurement for figure in study.figures for measurement in shown_in(figure)}
    yield from (measuring(study, one) for one in MEASUREMENTS if one in measurements)
    options = study.options
    styled = "" if options.style == Options().style else f', style="{options.style}"'
    for figure in study.figures:
        more = "".join(f', {name}="{value}"' for name, value in settings(study, figure).items())
        save = "save" if figure in OF_FIGURES else "savefig"
        for place, files in enumerate(study.files(figure).values()):
            one = f"[{place}]" * (figure in ONE_EACH)
            results = ", ".join(f"{measurement.name}{one}" for measurement in shown_in(figure))
            drawn = f"figures.{figure}.draw({results}{more}{styled})"
            yield f"picture = {'explorers[0]' if figure == 'explorer' else drawn}"
            for file in files:
                is_sized = options.dpi and file.endswith(".png")
                dpi = f", dpi={as_typed(options.dpi)}" if is_sized else ""
                yield f'picture.{save}("{file}"{dpi})'


def measuring(study: Study, measurement: Measurement) -> str:
    """Python that makes the results of a measurement from `problem` and `optimizers`."""
    places = [list(study.optimizers).index(name) for name in study.measured[measurement.name]]
    chosen = ", ".join(f"optimizers[{place}]" for place in places)
    by_rate = "{at_rates}" in measurement.code
    return measurement.code.format(
        steps=study.steps,
        few_steps=study.few_steps,
        long_steps=study.long_steps,
        seed=study.options.seed or 0,
        x0="" if study.x0 is None else f", x0={study.x0}",
        first=places[0],
        optimizers="optimizers" if len(places) == len(study.optimizers) else f"[{chosen}]",
        at_rates=_at_rates(study, study.measured[measurement.name] if by_rate else ()),
    )


def _at_rates(study: Study, names: Sequence[str]) -> str:
    """Python that makes these optimizers with several learning rates, a list for each of them."""
    rows = []
    for name in names:
        arguments = {**study.arguments[name], "learning_rate": Name("rate")}
        one = code_of(name, study.problem, arguments, study.options)
        rows.append(f"        [{one} for rate in {study.rates(name)}],\n")
    return f"[\n{''.join(rows)}    ]"


def _optimizers(study: Study) -> list[str]:
    """Python that makes each optimizer."""
    return [
        code_of(name, study.problem, study.arguments[name], study.options)
        for name in study.optimizers
    ]
