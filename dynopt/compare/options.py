"""What may be typed: the options of the command, and what each of them means."""

import difflib
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from ..errors import InvalidValue, UnknownName
from . import gallery
from .values import (
    Settings,
    folder,
    format_names,
    names,
    normalized,
    npz_path,
    point,
    positive,
    quoted,
    resolution,
    seed,
    settings,
    step_count,
    style_name,
    toml_path,
)


def option(read: Callable[[str], Any] | None = None, default: Any = None) -> Any:
    """A field of `Options`: what reads its value, and the default; a flag has no reader."""
    default = False if read is None else default
    return field(default_factory=lambda: default, metadata={"read": read})


@dataclass(frozen=True)
class Options:
    """What was typed, or stands in a configuration; `HELP` says what each option means."""

    problem: tuple[str, ...] = option(names, ())
    optimizers: tuple[str, ...] = option(names, ())
    learning_rate: float | None = option(positive)
    set: Settings = option(settings, {})
    steps: int | None = option(step_count)
    x0: tuple[float, ...] | None = option(point)
    noise: float | None = option(positive)
    batch: int | None = option(step_count)
    temperature: float | None = option(positive)
    seed: int | None = option(seed)
    strict: bool = option()
    figures: tuple[str, ...] = option(names, ())
    style: str = option(style_name, "notebook")
    dpi: float | None = option(resolution)
    format: tuple[str, ...] = option(format_names, ())
    output: str = option(folder, "figures")
    save: str | None = option(npz_path)
    config: str | None = option(toml_path)
    force: bool = option()
    quiet: bool = option()
    show_code: bool = option()
    list: bool = option()
    json: bool = option()
    version: bool = option()
    help: bool = option()

    @property
    def is_random(self) -> bool:
        return any((self.noise, self.batch, self.temperature))


FIGURES_HELP = textwrap.indent(
    textwrap.fill(
        "Which figures are drawn: names from --list. By default all that fit are, except "
        f"{', '.join(gallery.ON_DEMAND)} and, of more than {gallery.LARGE} coordinates, "
        f"{' and '.join(gallery.OF_ORDERS)}. Without --problem they are drawn for those of "
        "the gallery's problems that they fit.",
        70,
    ),
    8 * " ",
)
MULTIPLES = "{:g}, {:g}, ..., {:g}".format(*gallery.FACTORS[:2], gallery.FACTORS[-1])
HELP = f"""\
usage: dynopt [OPTIONS]    (or: python -m dynopt.compare [OPTIONS])

Draw optimizers beside the differential equations that they follow: dots are
the map, a line in ink is the flow. Without options, draw the gallery, which is
nine pictures and an explorer, into the folder figures, with tables of numbers.

What runs
  --problem NAME,NAME
        What is minimised: names from --list, or FILE.py:function for one of
        your own. The file is imported, which runs its code. The function is a
        loss f(x), and --x0 gives the start; or it takes no argument and
        returns a dynopt.Problem, such as a dynopt.Game.
        Example: --problem rosenbrock,himmelblau (default: the gallery)
  --optimizers NAME,NAME
        Which optimizers run: names from --list.
        Example: --optimizers sgd,adam (default: {",".join(gallery.OPTIMIZERS)})
  --learning-rate NUMBER
        One learning rate for all optimizers.
        Example: --learning-rate 0.01 (default: one that suits each optimizer,
        and {gallery.GAME_RATE:g} for all on a game)
  --set OPTIMIZER.OPTION=NUMBER,...
        Single hyperparameters of single optimizers.
        Example: --set adam.b1=0.8,sgd.learning_rate=0.1 (default: as in optax)
  --steps NUMBER
        How many steps the map takes; the flow runs for the same time. It is
        ten times as long for basins, half_times, langevin and the simulations
        of stationary.
        Example: --steps 200 (default: {gallery.STEPS}, for weak_order {gallery.FEW_STEPS}; the
        gallery has its own)
  --x0 NUMBER,NUMBER
        Where all runs start, one number per coordinate. Those of players stand
        in the order of the alphabet.
        Example: --x0 -1.2,1 (default: the start of the problem)
  --noise NUMBER
        Add normal noise of this standard deviation to each coordinate of each
        gradient. By default the figure is ensemble, the law of 1000 paths of
        map and flow. By name there are stationary, the variance in the end at
        {MULTIPLES} times the learning rate, and weak_order, the
        errors of mean values at smaller and smaller time steps.
        Example: --noise 0.5 --seed 3 (default: nothing is random)
  --batch NUMBER
        Take each gradient over so many random examples, and draw the same
        figures; for problems over data, such as logistic_regression.
        Example: --batch 8 (default: all examples)
  --temperature NUMBER
        Add the noise with which sgd and momentum sample from the Gibbs law
        exp(-f/T)/Z at the temperature T (Langevin dynamics). The figure is
        langevin, histograms beside that law, for problems of one coordinate,
        such as double_well, and otherwise as with --noise.
        Example: --temperature 0.5 (default: nothing is random)
  --seed NUMBER
        The seed of the random numbers of --noise, --batch and --temperature.
        Example: --seed 3 (default: 0)
  --strict
        End with exit code 3 if a run fails. By default a run that fails is a
        result like any other, and the exit code is 0.

What is drawn
  --figures NAME,NAME
{FIGURES_HELP}
        Example: --figures paths,convergence
  --style NAME
        How large everything is drawn: notebook, paper or slides. An explorer
        has one look.
        Example: --style slides (default: notebook)
  --dpi NUMBER
        The dots per inch of a png.
        Example: --dpi 200 (default: that of the style)
  --format NAME,NAME
        In which formats each figure is written: png, svg, pdf. An animation is
        a gif, or an mp4 after: pip install "dynopt[video]". An explorer, in
        which a reader moves the start and halves the time step, is html.
        Example: --format png,pdf (default: png, gif and html)

Files
  --output FOLDER
        The folder for the figures, which is made if it does not exist.
        Example: --output talk (default: figures)
  --save FILE.npz
        Save every run, map and flow, as arrays in one file. With noise these
        are 1000 paths of each.
        Example: --save runs.npz (default: nothing is saved)
  --config FILE.toml
        Read options from a TOML file, by the names they have here without the
        dashes. An option on the command line replaces the one in the file.
        Example: --config talk.toml (default: none is read)
  --force
        Replace files even if dynopt did not write them.
  --quiet
        Print only the paths of the written files, one per line.

Information (these options draw nothing)
  --show-code   Print Python that draws the same figures.
  --list        Print the names of all problems, games, optimizers and figures.
  --json        With --list: print JSON.
  --version     Print the version.
  --help        Print this text."""

READERS: dict[str, Callable[[str], Any] | None] = {
    option.name: option.metadata["read"] for option in fields(Options)
}
SYNONYMS = {
    "lr": "learning_rate",
    "optimizer": "optimizers",
    "problems": "problem",
    "figure": "figures",
    "out": "output",
}


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def value_of(name: str, text: str, place: str) -> Any:
    """The value of an option; an error says at which `place` it was given."""
    read = READERS[name]
    assert read is not None
    try:
        return read(text.removeprefix(" ") if text.startswith(" -") else text)
    except UnknownName:
        raise
    except InvalidValue as error:
        raise InvalidValue(f"{place} {error}") from None


def unknown_option(name: str, dashes: str, where: str = "") -> UnknownName:
    """The error for an option that does not exist, with those that may be meant."""
    key = normalized(name.lstrip("-"))
    near = [SYNONYMS[key]] if key in SYNONYMS else difflib.get_close_matches(key, READERS, 2)
    guess = " or ".join(dashes + option.replace("_", "-") for option in near)
    question = f"did you mean {guess}? " if near else ""
    return UnknownName(f"no option {quoted(name)}{where}; {question}--help shows them all.")
