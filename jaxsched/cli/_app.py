"""The commands, on typer and rich."""
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import rich
import typer
from rich.console import Console
from rich.text import Text

from jaxsched import __version__
from jaxsched.cli._curve import curve
from jaxsched.cli._errors import errors
from jaxsched.cli._options import options_for_given
from jaxsched.cli._source import Given, find, kinds, naming_options, read
from jaxsched.report import Explanation
from jaxsched.report.internal import Sample, explain_sample, plural, sample, values_at
from jaxsched.report.lint import Findings, lint_sample

EXAMPLE = """\
Examples:

  jaxsched show hyp.yaml --epochs 300 --steps-per-epoch 7393 --batch-size 16

  jaxsched lint retinanet_r50_fpn_1x_coco.py --steps-per-epoch 7330

  jaxsched show --as timm -s 2502 -- --opt adamw --lr 1e-3 --epochs 300

  jaxsched report hyp.yaml -e 300 -s 7393 -b 16 -o recipe.html

  jaxsched verify runs/train/exp

jaxsched COMMAND --help describes a command; jaxsched --install-completion
turns on completion in your shell.
"""

app = typer.Typer(
    name="jaxsched",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="See, check, draw, compare and convert training recipes. They are read from the files of "
    + ", ".join(kind.name for kind in kinds() if kind.read and kind.name != "recipe")
    + ", or from a recipe's JSON. A file is recognised by its content, and is never executed.",
    epilog=EXAMPLE,
)

File = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE",
        help="The file with the recipe, the folder of a run, or - for standard input; with --as, after --, words of "
        "a training script's command line.",
        show_default=False,
    ),
]
Files = Annotated[
    list[str], typer.Argument(metavar="FILE...", help="Files with recipes; several are drawn over each other.")
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for machines.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    del version
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
@options_for_given
def show(file: File, *, given: Given, as_json: Json = False) -> None:
    """Show what a recipe will do: hyperparameters, values at the steps that matter, a small curve, findings of lint."""
    with errors():
        seen = sample(read(file, given))
        explanation, findings = explain_sample(seen), lint_sample(seen)
        if as_json:
            _print_json({**explanation.to_dict(), "findings": [dataclasses.asdict(f) for f in findings]})
            return
        _print_explanation(explanation)
        _print_curve(seen)
        _print_findings(findings, quiet=True)


@app.command()
@options_for_given
def lint(
    file: File,
    *,
    given: Given,
    resumed_from: Annotated[
        str | None, typer.Option(help="The file with the recipe of the checkpoint that the run resumes from.")
    ] = None,
    at: Annotated[int | None, typer.Option(min=0, help="The batches that the checkpoint has seen.")] = None,
    as_json: Json = False,
) -> None:
    """List what looks wrong with a recipe. Exit status 1 if there is an error."""
    with errors():
        if (resumed_from is None) != (at is None):
            raise ValueError("--resumed-from and --at go together")
        before = None if resumed_from is None or at is None else (read([resumed_from], given), at)
        findings = lint_sample(sample(read(file, given)), resumed_from=before)
        if as_json:
            _print_json([dataclasses.asdict(finding) for finding in findings])
        else:
            _print_findings(findings)
    if not findings.ok:
        raise typer.Exit(1)


@app.command()
@options_for_given
def plot(
    files: Files,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The picture, .png or .svg; in this folder, named like the file, where left out."
        ),
    ] = None,
    *,
    given: Given,
    log: Annotated[bool | None, typer.Option("--log/--linear", help="The scale of lr; chosen where left out.")] = None,
) -> None:
    """Draw lr, momentum and weight decay of each group over the steps."""
    with errors():
        from jaxsched.report import plot as draw  # here: matplotlib takes a second to import

        given = dataclasses.replace(given, lenient=len(files) > 1)
        named = {name: read([path], given) for name, path in zip(_short_names(files), files, strict=True)}
        target = out or Path(f"{Path(files[0]).stem.strip('-') or 'recipe'}.png")
        draw(named if len(named) > 1 else next(iter(named.values())), log=log, path=target)
    typer.echo(target)


@app.command()
@options_for_given
def report(
    files: Files,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The page, .html; in this folder, named like the file, where left out."),
    ] = None,
    *,
    given: Given,
    log: Annotated[
        Path | None,
        typer.Option("--log", help="The log of a run (see verify): its points are drawn over the first file's curves."),
    ] = None,
) -> None:
    """Write an HTML page that opens offline: interactive curves, findings, and what show prints."""
    with errors():
        from jaxsched.report import page  # here: Bokeh takes a second to import

        given = dataclasses.replace(given, lenient=len(files) > 1)
        named = {name: read([path], given) for name, path in zip(_short_names(files), files, strict=True)}
        target = out or Path(f"{Path(files[0]).stem.strip('-') or 'recipe'}.html")
        first = next(iter(named.values()))
        points = None
        if log is not None:
            from jaxsched import verification

            points = verification.points(first, log)
        page(named if len(named) > 1 else first, log=points, path=target)
    typer.echo(target)


@app.command()
@options_for_given
def diff(
    a: Annotated[str, typer.Argument(metavar="FILE", help="A file with a recipe.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="FILE", help="Another.", show_default=False)],
    *,
    given: Given,
    rtol: Annotated[float, typer.Option(help="Numbers differ if further apart than this, relatively.")] = 1e-6,
    as_json: Json = False,
) -> None:
    """Compare two recipes: what differs, at which steps, by how much. Exit status 1 if anything does."""
    given = dataclasses.replace(given, lenient=True)
    with errors():
        from jaxsched.recipe import diff as compare

        found = compare(*(read([path], given) for path in (a, b)), rtol=rtol)
        if as_json:
            _print_json([dataclasses.asdict(difference) for difference in found])
        else:
            typer.echo(str(found))
    if found:
        raise typer.Exit(1)


@app.command()
@options_for_given
def convert(
    file: File,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write; to the terminal if left out.")
    ] = None,
    *,
    given: Given,
) -> None:
    """Write a recipe as JSON, which js.Recipe.from_json reads without the original file."""
    with errors():
        text = read(file, given).to_json()
        if out is None:
            typer.echo(text)
        else:
            out.write_text(text + "\n", encoding="utf-8")
            typer.echo(out)


@app.command()
@options_for_given
def verify(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="The folder of a run, or its file of settings.", show_default=False)
    ],
    *,
    given: Given,
    log: Annotated[
        Path | None, typer.Option("--log", help="The log of the run; found in the folder where left out.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The log's points over the recipe's curve: a picture, or an .html page."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare a recipe with the log of its run. Exit status 0 if all is reproduced, 1 if not, 2 if unreadable."""
    with errors():
        from jaxsched import verification

        kind, file = find(folder, given)
        path = log or verification.find_log(Path(folder) if Path(folder).is_dir() else Path(folder).parent)
        logged = verification.read_log(path)
        options = {name: value for name, value in given.values.items() if name in kind.options}
        with naming_options():
            recipe, verdict = verification.verify_run(kind, file, logged, options)
        if as_json:
            _print_json({"file": file.name, "kind": kind.name, **verdict.to_dict()})
        else:
            typer.echo(f"{path} against {file.name}\n{verdict}")
        if out is not None and recipe is not None:
            verification.draw(recipe, logged, verdict, out)
    if not verdict.ok:
        raise typer.Exit(1)


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=1, default=str))


def _console() -> Console:
    return rich.get_console()


def _print_explanation(explanation: Explanation) -> None:
    """Its titles in bold where there is a terminal; the same text everywhere."""
    console = _console()
    for line in str(explanation).splitlines():
        text = Text(line, style="" if line.startswith(" ") or not line else "bold")
        if "   <- " in line:
            text.stylize("dim", line.index("   <- "))
        console.print(text, soft_wrap=True)


def _print_curve(seen: Sample) -> None:
    rated = [group for group, values in seen.values.items() if "lr" in values]
    if not rated:
        return
    group = max(rated, key=lambda name: (name == "weight", -rated.index(name)))
    steps = np.linspace(0, seen.length - 1, min(seen.length, 4096)).astype(np.int64)
    padded = np.concatenate([steps, np.full(4096 - len(steps), steps[-1])])
    (lr,) = values_at([seen.shown[group]["lr"]], padded)
    plain = "utf" not in (getattr(sys.stdout, "encoding", None) or "").lower()
    per_epoch = seen.recipe.steps_per_epoch
    last = f"step {seen.length - 1}" + (f" (epoch {seen.length / per_epoch:.4g})" if per_epoch else "")
    print_ = _console().print
    print_()
    print_(Text(curve(lr[: len(steps)], f"lr of {group}", "step 0", last, plain=plain)), soft_wrap=True)
    print_()


_STYLES = {"error": "bold red", "warning": "yellow", "remark": "cyan"}


def _print_findings(findings: Findings, *, quiet: bool = False) -> None:
    console = _console()
    for finding in findings:
        text = Text(str(finding).replace("\n  ", "\n    "))
        text.stylize(_STYLES[finding.severity], 0, len(finding.severity))
        text.stylize("bold", len(finding.severity) + 1, len(finding.severity) + 1 + len(finding.code))
        console.print(text, soft_wrap=True)
    counts = [plural(findings.count(severity), severity) for severity in _STYLES if findings.count(severity)]
    if counts or not quiet:
        console.print(Text(", ".join(counts) if counts else "nothing found", style="bold"), soft_wrap=True)


def _short_names(files: list[str]) -> list[str]:
    """The names of files without what they have in common."""
    stems = [Path(path).stem for path in files]
    return stems if len(set(stems)) == len(stems) else files
