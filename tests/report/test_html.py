"""What a notebook shows of recipes, explanations, findings and plots: tables with escaped text, and pictures."""

from html.parser import HTMLParser

import jax.numpy as jnp
import pytest

import jaxsched as js

EVIL = '<script>alert("1")</script>'
RULES = [(js.role("bias"), EVIL), ("**", "body")]
RECIPE = js.Recipe(
    "sgd",
    dict(lr=js.warmup(js.cosine(0.1, 1000), 2000), momentum=0.9),
    groups={EVIL: dict(lr=js.warmup(js.cosine(0.2, 1000), 2000))},
    rules=RULES,
    steps=1000,
    steps_per_epoch=100,
    notes=(f"left out {EVIL}",),
    origin={"lr": EVIL, f"{EVIL}.lr": "hyp.yaml: lr0"},
)
PARAMS = {EVIL: {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}
SHOWN = {
    "recipe": RECIPE,
    "explanation": js.explain(RECIPE, PARAMS),
    "findings": js.lint(RECIPE, PARAMS),
}


class Reader(HTMLParser):
    """The text of HTML by element; fails where elements are not closed in order."""

    def __init__(self, content):
        super().__init__()
        self.open, self.text, self.tags = [], "", []
        self.feed(content)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("shown", SHOWN.values(), ids=SHOWN)
def test_it_is_html_in_which_a_users_text_stays_text(shown):
    content = Reader(shown._repr_html_())
    assert "script" not in content.tags
    assert EVIL in content.text


def test_a_recipe_shows_its_numbers_and_where_they_come_from():
    text = Reader(RECIPE._repr_html_()).text
    for piece in ("sgd", "1,000", "warmup(cosine(peak=0.1, steps=1000, floor=0.0)", "hyp.yaml: lr0", "left out"):
        assert piece in text


def test_an_explanation_shows_what_its_text_says():
    content = Reader(SHOWN["explanation"]._repr_html_())
    for word in str(SHOWN["explanation"]).replace(EVIL, " ").split():
        assert word.strip(",-<").lower() in content.text.lower() or word == "defaults:", word
    assert content.tags.count("h4") == 5  # values, hyperparameters, groups, parameters, notes


def test_findings_show_their_remedies():
    text = Reader(SHOWN["findings"]._repr_html_()).text
    assert SHOWN["findings"]
    for finding in SHOWN["findings"]:
        assert finding.message in text
        assert finding.remedy in text
    assert Reader(js.report.Findings()._repr_html_()).text == "nothing found"


def test_many_groups_are_shown_in_part():
    groups = {f"g{i}": dict(lr=i / 1000) for i in range(300)}
    rules = [*((f"g{i}/**", f"g{i}") for i in range(300)), ("**", "rest")]
    text = Reader(js.Recipe("sgd", dict(lr=0.1), groups=groups, rules=rules)._repr_html_()).text
    assert "and 101 more" in text


def test_a_plot_shows_itself_as_a_picture():
    assert js.plot(js.cosine(0.1, 100))._repr_png_().startswith(b"\x89PNG")
