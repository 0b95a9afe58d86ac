"""The command ``jaxsched``: show, lint, plot, diff and convert the recipes in files."""

from __future__ import annotations

import sys
import warnings


def main() -> None:
    """Run the command; needs the extra ``cli``."""
    try:
        from jaxsched.cli._app import app
    except ImportError as error:
        if (error.name or "").split(".")[0] not in ("typer", "click", "rich"):
            raise
        sys.exit(f"error: the command needs {error.name}, which is an extra: pip install 'jaxsched[cli]'")
    import jax

    # Only numbers for people are computed here: no need to wake an accelerator, or to compile for speed.
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_disable_most_optimizations", True)
    warnings.simplefilter("ignore")  # what a port warns of it also notes in the recipe
    app()
