"""A page that shows a recipe: one HTML file that opens offline, with curves to zoom into, tables and findings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxsched.checks import extra
from jaxsched.recipe import Reportable, diff
from jaxsched.recipe.internal import bullets, escaped
from jaxsched.report._explain import Explanation, explain_sample
from jaxsched.report._explain_text import headline
from jaxsched.report._html import explanation_html, findings_html
from jaxsched.report._page_figures import Points, layout
from jaxsched.report._plot import panels
from jaxsched.report._sample import Sample, sample
from jaxsched.report.lint import lint_sample

_TEMPLATE = """
{% block inner_head %}
{{ super() }}
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 0.5rem 1rem; color: #1a1a1a; }
  h1 { font-size: 1.5rem; } h2 { font-size: 1.25rem; margin-top: 2rem; } h3 { font-size: 1rem; }
  table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
  th, td { padding: 0.2rem 0.8rem 0.2rem 0; border-bottom: 1px solid #ddd; vertical-align: top; }
  :focus-visible { outline: 2px solid #0072B2; }
</style>
{% endblock %}
{% block contents %}
<main>
<h1>{{ heading }}</h1>
{{ before }}
<section aria-label="Curves">
<h2>Curves</h2>
<p>Point at a curve for its values; drag to move. The toolbar of a figure has zooming by wheel or by box, and saving.
The slider and the boxes below work from the keyboard, and the tables hold the values.</p>
{% for doc in docs %}{% for root in doc.roots %}{{ embed(root) }}{% endfor %}{% endfor %}
</section>
{{ after }}
</main>
{% endblock %}
"""


def page(
    recipe: Reportable | Mapping[str, Reportable],
    params: Any = None,
    *,
    log: Points | None = None,
    path: str | os.PathLike[str] | None = None,
) -> str:
    """A recipe as one HTML page that opens offline: interactive curves, moments, groups, findings, notes.

    Groups with the same curve share a line. Needs the extra ``page``.

    Args:
        recipe: A recipe, a schedule alone, an optax transformation made of jaxsched's, or several of these by name:
            their curves are drawn over each other, and their differences from the first listed.
        params: The parameters; with them, the number in each group and the table of all of them.
        log: What a run logged, drawn as points: for each learning rate its steps and its values, such as
            `verification.points` finds in the log of a trainer.
        path: Where to save the page; None: nowhere.

    Returns:
        The HTML.

    Raises:
        ImportError: If Bokeh is not installed.
        ValueError: If there is nothing to show, ``params`` do not fit the rules, or steps and values of a log differ in
            length.

    Examples:
        >>> import jaxsched as js
        >>> recipe = js.Recipe("sgd", dict(lr=js.warmup(js.cosine(0.1, 1000), 100)), steps=1000)
        >>> js.report.page(recipe, log={"lr": ([0, 500], [0.0, 0.05])}).startswith("<!DOCTYPE html>")
        True
    """
    recipes = recipe if isinstance(recipe, Mapping) else {"": recipe}
    if not recipes:
        raise ValueError("page: there is no recipe to show")
    seen = {name: sample(one) for name, one in recipes.items()}
    drawn = panels(seen)
    if not drawn:
        raise ValueError("page: there is nothing to show, every group is frozen")
    extra("bokeh", "page")
    from bokeh.embed import file_html
    from bokeh.resources import INLINE

    explained = {name: explain_sample(one, params) for name, one in seen.items()}
    heading = " and ".join(filter(None, seen)) or headline(next(iter(explained.values())))
    text: str = file_html(
        layout(drawn, seen, log or {}),
        resources=INLINE,
        title=heading,
        template=_TEMPLATE,
        template_variables={
            "heading": escaped(heading),
            "before": "\n".join(_findings(name, one, params) for name, one in seen.items()),
            "after": "\n".join(
                [
                    *_differences(recipes),
                    *(_explained(name, explanation) for name, explanation in explained.items()),
                ]
            ),
        },
    ).lstrip()
    if path is not None:
        Path(path).write_text(text, encoding="utf-8")
    return text


def _of(title: str, name: str) -> str:
    return escaped(f"{title} of {name}" if name else title)


def _findings(name: str, one: Sample, params: Any) -> str:
    return f"<h2>{_of('Findings', name)}</h2>{findings_html(lint_sample(one, params))}"


def _explained(name: str, explanation: Explanation) -> str:
    return f"<h2>{_of('The recipe', name)}</h2>{explanation_html(explanation, 'h3', heading=bool(name))}"


def _differences(recipes: Mapping[str, Reportable]) -> Iterator[str]:
    (first, base), *others = recipes.items()
    for name, other in others:
        lines = str(diff(base, other)).splitlines()
        yield f"<h2>From {escaped(first)} to {escaped(name)}</h2>{bullets(lines)}"
