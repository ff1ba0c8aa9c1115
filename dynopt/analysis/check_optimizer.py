"""Whether an optimizer keeps its contract, with a sentence for each part that fails."""

import warnings
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np

from ..checks import boolean
from ..errors import DynoptError, InvalidValue
from ..optimizers import AbstractOptimizer
from ..optimizers.base import must_be_optimizer
from ..optimizers.wrappers.noise import must_have_no_noise
from ..problems import Problem, booth
from ..problems.problem import must_be_problem
from ..runs.setup import safe_repr
from .contract import PARTS, Case, NotChecked, make_case

HOLDS, FAILS, NOT_CHECKED = "holds", "fails", "not checked"
UNKNOWN = "the state is wrong."  # why another part was not checked


class Finding(NamedTuple):
    """What a check found about one part of the contract.

    - `part`: the name of the part.
    - `status`: "holds", "fails" or "not checked".
    - `sentence`: what fails and what may help, or why the part was not checked.
    """

    part: str
    status: str
    sentence: str = ""


class ContractCheck(eqx.Module):
    """Whether an optimizer keeps the contract of `dynopt.AbstractOptimizer`.

    It is true, as in `if check_optimizer(...)`, unless a part fails. It prints as sentences.

    - `findings`: one `Finding` for each part of the contract.
    - `failures`: the sentence of each part that fails, by the name of the part.
    - `optimizer`, `problem`: the optimizer that was checked, and the problem on which it ran.
    """

    optimizer: AbstractOptimizer
    problem: Problem
    findings: tuple[Finding, ...] = eqx.field(static=True)

    @property
    def failures(self) -> dict[str, str]:
        return {f.part: f.sentence for f in self.findings if f.status == FAILS}

    def __bool__(self) -> bool:
        return not self.failures

    def __repr__(self) -> str:
        verb = "keeps" if self else "breaks"
        name = safe_repr(self.optimizer)
        lines = [f"{name} {verb} the contract of an optimizer, as checked on {self.problem.name}."]
        lines += [f"- {part} fails: {sentence}" for part, sentence in self.failures.items()]
        parts = [f.part for f in self.findings if f.status == HOLDS]
        lines += [f"- These parts hold: {', '.join(parts)}."] if parts else []
        unchecked = [f for f in self.findings if f.status == NOT_CHECKED]
        lines += [f"- {f.part} was not checked: {f.sentence}" for f in unchecked]
        return "\n".join(lines)


def check_optimizer(
    optimizer: AbstractOptimizer, problem: Problem | None = None, *, throw: bool = False
) -> ContractCheck:
    """Check that an optimizer keeps the contract of `dynopt.AbstractOptimizer`, part by part.

    A short run of the map gives the points of phase space. All of it is computed in float64,
    whatever JAX is set to. The parts are

    - state: `init`, `step` and `vector_field` give a NamedTuple whose first field is `x`, with the
      same fields and shapes; `init` starts at the position that it was given.
    - dtype: float32 stays float32, and float64 stays float64.
    - identity: with the time step h = 0 the map stays where it is.
    - limit: the vector field is the derivative of the step with respect to h at h = 0.
    - time step: `with_time_step` sets `h` and leaves the vector field alone.
    - hyperparameters: `repr` does not fail, and the constructor makes the same optimizer again
      from `hyperparameters()`.
    - twin: the transformation that `optax()` gives, if there is one, moves as the map does.
    - order: the global error goes to 0 with the power of h that `regularity.order` declares.

    Identity and limit are not checked where a flow is derived from its map (`Optax`, `Memoryless`,
    `Modified`). The order is measured once all other parts hold, and not where the map is declared
    nonsmooth.

    - `problem`: the problem on which the optimizer runs, by default `problems.booth()`, with a
      column as its position if the optimizer moves matrices. It must fit the optimizer.
    - `throw`: raise if a part fails.

    **Raises:** `InvalidType` if `optimizer` is no optimizer or `throw` no boolean; `InvalidValue`
    if a part fails and `throw` is true; and as `iterate` does, if the problem does not fit.

    >>> from dynopt import SGD
    >>> check_optimizer(SGD(0.01))
    SGD(learning_rate=0.01) keeps the contract of an optimizer, as checked on booth.
    - These parts hold: state, dtype, identity, limit, time step, hyperparameters, twin, order.
    >>> class Uphill(SGD):
    ...     def vector_field(self, t, y, grad):
    ...         return type(y)(grad(y.x))
    >>> list(check_optimizer(Uphill(0.01)).failures)
    ['limit']
    """
    must_have_no_noise("check_optimizer", optimizer)
    must_be_optimizer(optimizer)
    throw = boolean("throw", throw)
    if problem is not None:
        must_be_problem(problem)
    with jax.enable_x64(True):
        try:
            problem = _default_problem(optimizer.elementwise) if problem is None else problem
            findings = _findings(make_case(optimizer, problem))
        except DynoptError:
            raise
        except Exception as error:
            problem, findings = problem or booth(), [Finding("state", FAILS, _raised(error))]
            findings += [Finding(part, NOT_CHECKED, UNKNOWN) for part in PARTS if part != "state"]
    result = ContractCheck(optimizer, problem, tuple(findings))
    if throw and not result:
        raise InvalidValue(repr(result))
    return result


def _findings(case: Case) -> list[Finding]:
    """The findings of all checks, in turn."""
    findings: list[Finding] = []
    for part, check in PARTS.items():
        failed = {finding.part for finding in findings if finding.status == FAILS}
        if "state" in failed and part != "hyperparameters":
            findings.append(Finding(part, NOT_CHECKED, UNKNOWN))
        elif part == "order" and failed:
            reason = "it is measured once all other parts hold."
            findings.append(Finding(part, NOT_CHECKED, reason))
        else:
            findings.append(_find(part, check, case))
    return findings


@cache
def _default_problem(elementwise: bool) -> Problem:
    problem = booth()
    if elementwise:
        return problem
    loss, x0 = problem.loss, np.reshape(problem.x0, (-1, 1))
    return Problem(lambda x: loss(x[:, 0]), x0, name=problem.name)


def _find(part: str, check: Callable[[Case], str | None], case: Case) -> Finding:
    """The finding of one check, whatever the optimizer does in it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sentence = check(case)
    except NotChecked as reason:
        return Finding(part, NOT_CHECKED, str(reason))
    except Exception as error:
        return Finding(part, FAILS, _raised(error))
    return Finding(part, FAILS, sentence) if sentence else Finding(part, HOLDS)


def _raised(error: Exception) -> str:
    words = " ".join(str(error).split())[:300] or "no message"
    return f"the optimizer raises {type(error).__name__}: {words}"
