"""What looks wrong with a recipe."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from jaxsched import groups as grouping
from jaxsched.recipe import Reportable
from jaxsched.report._parameters import ParameterTable, parameter_table
from jaxsched.report._sample import Sample, sample
from jaxsched.report.lint import _cautions as _lint_cautions
from jaxsched.report.lint import _groups as _lint_groups
from jaxsched.report.lint import _lengths as _lint_lengths
from jaxsched.report.lint import _resumed as _lint_resumed
from jaxsched.report.lint import _updates as _lint_updates
from jaxsched.report.lint import _values as _lint_values
from jaxsched.report.lint._finding import Finding, Findings, merged

RULES: dict[str, Callable[[Sample], Iterator[Finding]]] = {
    **_lint_lengths.RULES,
    **_lint_values.RULES,
    **_lint_updates.RULES,
    **_lint_cautions.RULES,
}
"""The rules on a recipe by code; one function may serve several codes."""
PARAMETER_RULES: dict[str, Callable[[Sample, ParameterTable], Iterator[Finding]]] = _lint_groups.RULES
"""The rules that need the parameters too, by code."""
MOST_OF_A_RULE = 1000
"""Findings at which a rule stops: a schedule may have thousands of milestones past the end."""


def lint(recipe: Reportable, params: Any = None, *, resumed_from: tuple[Reportable, int] | None = None) -> Findings:
    """Find the mistakes that people make in recipes.

    A rule that lacks what it needs, such as the length of the run, finds nothing. docs/lint.md lists the rules.

    Args:
        recipe: A recipe, a schedule alone, or an optax transformation made of jaxsched's, such as an ``optax.chain``.
        params: The parameters: adds the rules on what the groups hold.
        resumed_from: The recipe of the checkpoint that the run resumes from, and the batches that it has seen: finds
            learning rates that jump, as they do when a run is resumed with other epochs.

    Returns:
        The findings, the worst first: data that prints.

    Examples:
        >>> import jaxsched as js
        >>> lr = js.warmup(js.per_epoch(js.multi_step(0.02, at=(8, 16)), 1000), steps=500)
        >>> js.lint(js.Recipe("sgd", dict(lr=lr), rules=[("**", "all")], steps=12_000, steps_per_epoch=1000))
        warning milestone-past-end (all): lr: the milestone at step 16000 (epoch 16) comes after the last step, 11999
          Move it before the end, train for longer, or take it out.
    """
    return lint_sample(sample(recipe), params, resumed_from)


def lint_sample(seen: Sample, params: Any = None, resumed_from: tuple[Reportable, int] | None = None) -> Findings:
    """`lint` of a recipe that was sampled already."""
    rules = dict.fromkeys(RULES.values())
    found = [finding for rule in rules for finding in itertools.islice(rule(seen), MOST_OF_A_RULE)]
    if params is not None:
        found += _of_parameters(seen, params)
    if resumed_from is not None:
        found += _lint_resumed.resumed(seen.recipe, *resumed_from)
    return merged(found)


def _of_parameters(seen: Sample, params: Any) -> Iterator[Finding]:
    try:
        parameter_table(params, seen.recipe.rules)
    except ValueError as error:
        yield Finding("rules-do-not-fit", "error", str(error), "The recipe cannot be built for these parameters.")
    # rules that match nothing leave a table to look at; a parameter in no group does not
    optional = [grouping.Rule(rule.match, rule.group, True) for rule in seen.recipe.rules]
    try:
        table = parameter_table(params, optional)
    except ValueError:
        return
    for rule in dict.fromkeys(PARAMETER_RULES.values()):
        yield from rule(seen, table)
