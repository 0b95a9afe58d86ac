"""Checkpoints by orbax: written in the background, whole or not at all; the last and the best are kept.

A checkpoint is three items: ``state`` (all that the training step carries, by path), ``weights`` (the averaged
network, by path: what `--weights` reads) and ``progress`` (small JSON: where the run and its data stand).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers


def named(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their path."""
    return {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in jax.tree.leaves_with_path(tree)}


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, folder: Path, read_only: bool = False):
        self.folder = Path(folder).absolute()
        keep = checkpoint_managers.AnyPreservationPolicy([
            checkpoint_managers.LatestN(n=1),
            checkpoint_managers.BestN(
                get_metric_fn=lambda metrics: metrics["fitness"], n=1, keep_checkpoints_without_metrics=False
            ),
        ])  # fmt: skip
        arrays = ocp.StandardCheckpointHandler
        self.manager = ocp.CheckpointManager(
            self.folder,
            item_handlers={"state": arrays(), "weights": arrays(), "progress": ocp.JsonCheckpointHandler()},
            options=ocp.CheckpointManagerOptions(
                preservation_policy=keep,
                best_fn=lambda metrics: metrics["fitness"],
                read_only=read_only,
                cleanup_tmp_directories=not read_only,
                create=not read_only,
            ),
        )

    def save(
        self, step: int, state: Any, weights: Mapping[str, jax.Array], progress: dict, fitness: float | None
    ) -> None:
        """Begin to save; training may go on (and reuse the state's buffers) at once."""
        state, weights = jax.tree.map(jnp.copy, (named(state), dict(weights)))
        with self.written():
            self.manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(state),
                    weights=ocp.args.StandardSave(weights),
                    progress=ocp.args.JsonSave(progress),
                ),
                metrics=None if fitness is None else {"fitness": float(fitness)},
                force=True,
            )

    @contextlib.contextmanager
    def written(self) -> Iterator[None]:
        """What goes wrong inside, or went wrong in the background, as one error that says what is left."""
        try:
            yield
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            whole = [int(p.name) for p in self.folder.glob("*") if p.name.isdigit()]
            left = f"that of step {max(whole)} is whole: then go on with --resume" if whole else "there is none before"
            raise OSError(
                f"a checkpoint could not be written to {self.folder} ({reason}). Make room on the disk; {left}."
            ) from error

    def last(self) -> int | None:
        """The step of the last checkpoint."""
        return self.manager.latest_step()

    def reached_preemption(self, step: int) -> bool:
        """Whether all processes of the run were asked to end at this step."""
        return self.manager.reached_preemption(step)

    def restore(self, state: Any) -> tuple[Any, dict]:
        """The last state, in the shapes and places of `state`, and its progress."""
        step = self.last()
        if step is None:
            raise ValueError(f"--resume: {self.folder} holds no checkpoint. Start without --resume.")
        wanted = named(jax.tree.map(abstract, state))
        stored = self.manager.item_metadata(step)["state"]
        check(f"checkpoint {self.folder / str(step)}", {k: tuple(v.shape) for k, v in wanted.items()},
              {k: tuple(v.shape) for k, v in stored.items()})  # fmt: skip
        found = self.manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(wanted), progress=ocp.args.JsonRestore())
        )
        return jax.tree.unflatten(jax.tree.structure(state), [found["state"][k] for k in wanted]), found["progress"]

    def weights(self) -> dict[str, np.ndarray]:
        """The averaged network of the best checkpoint, or of the last where none was evaluated."""
        step = self.manager.best_step()
        step = self.last() if step is None else step
        if step is None:
            raise ValueError(f"--weights: {self.folder} holds no checkpoint.")
        found = self.manager.restore(step, args=ocp.args.Composite(weights=ocp.args.StandardRestore()))
        return {k: np.asarray(v) for k, v in found["weights"].items()}

    def close(self) -> None:
        """Wait until all is written."""
        with self.written():
            self.manager.wait_until_finished()
            self.manager.close()


def abstract(x: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)


def check(what: str, wanted: Mapping[str, tuple], stored: Mapping[str, tuple]) -> None:
    """Both must have the same arrays."""
    differ = [k for k in sorted(set(wanted) | set(stored)) if wanted.get(k) != stored.get(k)]
    if differ:
        k = differ[0]
        raise ValueError(
            f"{what} is of another network or recipe: {len(differ)} arrays differ, first {k}: "
            f"{stored.get(k, 'missing')} "
            f"there, {wanted.get(k, 'missing')} here. Resume with the options of that run."
        )
