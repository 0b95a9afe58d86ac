"""Every page of the documentation runs: its files are written, its Python executed, its commands' output compared.

Of a page about a source, each file that is not a log is of a kind that the command line recognises.

A page is one session. A fenced block with ``title="hyp.yaml"`` is a file; a ``python`` block is executed (one after
``<!-- torch -->`` where torch is installed, as it is when CI has installed the originals); in a ``console`` block each
line after ``$`` is run, and what follows it is the output (``...`` stands for any lines).
"""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [page for page in sorted((ROOT / "docs").rglob("*.md")) if "```" in page.read_text(encoding="utf-8")]
FENCE = re.compile(
    r"^(?:<!-- (torch) -->\n)?```(\w+)(?: title=\"([^\"]+)\")?[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_runs(page, tmp_path, monkeypatch):
    testing = pytest.importorskip("typer.testing")
    from jaxsched.cli._app import app
    from jaxsched.cli._source import recognise
    from jaxsched.ports.shared import File

    monkeypatch.chdir(tmp_path)
    names = {"__name__": "docs"}
    content = page.read_text(encoding="utf-8")
    for needs, language, title, text in FENCE.findall(content):
        if needs and importlib.util.find_spec(needs) is None:
            continue
        if title:
            Path(title).parent.mkdir(parents=True, exist_ok=True)
            Path(title).write_text(text, encoding="utf-8")
            if page.parent.name == "from" and language not in ("csv", "text") and f"--log {title}" not in content:
                assert recognise(File.read(title)).read is not None
        elif language == "python":
            exec(compile(text, str(page.relative_to(ROOT)), "exec"), names)
        elif language == "console":
            for command, expected in sessions(text):
                program, *arguments = shlex.split(command, comments=True)
                if program != "jaxsched":
                    continue
                result = testing.CliRunner().invoke(app, arguments, env={"COLUMNS": "120", "NO_COLOR": "1"})
                assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
                assert result.exit_code != 2 or expected.strip(), result.output  # an error is shown, or there is none
                assert matches(expected, result.output), f"{page.name}: $ {command}\n{result.output}"


def sessions(text):
    """The commands of a console block, each with the output that the page shows."""
    parts = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    for part in parts:
        command, _, output = part.replace("\\\n", " ").partition("\n")
        yield command, output


def matches(expected, output):
    """Whether an output is as printed; an empty one is not compared."""
    pieces = re.split(r"^\.\.\.$", expected.strip(), flags=re.MULTILINE)
    return (
        not expected.strip() or re.fullmatch(".*".join(map(re.escape, pieces)), output.strip(), re.DOTALL) is not None
    )


@pytest.mark.parametrize(("expected", "output"), [("a\nb\n", "a\nc\n"), ("a\n", "a\nb\n"), ("a\n...\nz\n", "a\nb\n")])
def test_another_output_is_noticed(expected, output):
    assert not matches(expected, output)
    assert matches(output, output)


def test_the_errors_that_are_explained_exist():
    """Each heading of an error in the FAQ is what some message says; ``...`` stands for any text."""
    sources = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "jaxsched").rglob("*.py")))
    joined = re.sub(r"[\"']\s*\n\s*f?[\"']", "", sources)  # a message is a string on several lines
    headings = re.findall(r"^### (`.*`)$", (ROOT / "docs" / "faq.md").read_text(encoding="utf-8"), re.MULTILINE)
    messages = re.findall(r"`([^`]+)`", "\n".join(headings))
    assert len(messages) > 10
    for message in messages:
        for piece in filter(None, (piece.strip(" ,") for piece in message.split("..."))):
            assert piece in joined, piece


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "from").glob("*.md")), ids=lambda page: page.stem)
def test_a_page_about_a_source_has_a_verified_run(page):
    content = page.read_text(encoding="utf-8")
    if page.stem == "scenic":
        assert "the mean of the learning rate since its last summary" in content  # which no step has
    else:
        assert "reproduced to the last printed digit" in content or "js.verify(" in content


def test_every_page_is_in_the_navigation():
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    listed = set(re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    assert pages | {"contributing.md", "changelog.md"} == listed
