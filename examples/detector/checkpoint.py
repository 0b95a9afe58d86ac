"""Checkpoints of a run: ``step-N.npz`` files, written in the background, whole or not at all.

Each holds the averaged network (what ``--weights`` reads), all that the training step carries, and where the run and
its data stand. A zip keeps a checksum of each array, so a damaged file is noticed when it is read; the newest good one
is used then. The last two are kept, the best, and every `keep_every` steps one.

Every array is on every device, so one process can write them all. To split a network over devices, use orbax here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np

from examples.detector import weights
from examples.detector.weights import DAMAGE, Weights, opened

LATEST = 2  # so that a good one is left if the last is damaged
STATE, PROGRESS = "state/", "progress"


def named(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their path."""
    return {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in jax.tree.leaves_with_path(tree)}


def on_host(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Copies in the host's memory, which stay valid when a buffer is donated."""
    return {name: np.array(value) for name, value in jax.device_get(dict(arrays)).items()}


class Checkpoints:
    """The checkpoints in a folder.

    Args:
        folder: The folder; created unless `read_only`.
        read_only: Change nothing in the folder.
        keep_every: Also keep the checkpoints of steps that this divides; 0 for none.

    Attributes:
        notes: What was found damaged, in words.
    """

    def __init__(self, folder: Path, *, read_only: bool = False, keep_every: int = 0):
        self.folder, self.keep_every = Path(folder).absolute(), keep_every
        self.notes: list[str] = []
        self.pending: Future[None] | None = None
        self.thread = ThreadPoolExecutor(1)
        self.read_only = read_only or jax.process_index() > 0
        if not self.read_only:
            self.folder.mkdir(parents=True, exist_ok=True)
            for unfinished in self.folder.glob(".step-*.writing"):
                unfinished.unlink()
        self.fitness: dict[int, float | None] = {}  # of each checkpoint that can be read
        for path in self.folder.glob("step-*.npz"):
            if re.fullmatch(r"step-\d+", path.stem):
                try:
                    self.fitness[int(path.stem[5:])] = self.read_progress(path)["fitness"]
                except ValueError as error:
                    self.notes.append(str(error))

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:07d}.npz"

    def any(self) -> bool:
        """Whether the folder has checkpoints, damaged ones included."""
        return bool(self.fitness or self.notes)

    def steps(self) -> list[int]:
        """Steps of the checkpoints, the newest first."""
        return sorted(self.fitness, reverse=True)

    def best(self) -> int | None:
        """The step of the best checkpoint; of several equals the first. None if none was evaluated."""
        judged = {step: fitness for step, fitness in self.fitness.items() if fitness is not None}
        return min(judged, key=lambda step: (-judged[step], step)) if judged else None

    def save(self, step: int, state: Any, averaged: Weights, progress: dict, fitness: float | None) -> None:
        """Begin to save; training may go on (and donate the state's buffers) at once.

        Raises:
            FloatingPointError: If the state holds a number that is not finite. Nothing is written then.
            OSError: If the checkpoint before this one could not be written.
        """
        self.wait()
        arrays = on_host(named(state))
        wrong = [name for name, x in arrays.items() if x.dtype.kind == "f" and not np.isfinite(x).all()]
        if wrong:
            raise FloatingPointError(f"{len(wrong)} arrays of the state are not finite, first {wrong[0]}")
        if self.read_only:
            return
        averaged = Weights(averaged.description, on_host(averaged.arrays))
        progress = json.dumps(progress | {"fitness": None if fitness is None else float(fitness)})
        entries = {f"{STATE}{name}": x for name, x in arrays.items()} | {PROGRESS: progress}
        self.pending = self.thread.submit(self.write, step, averaged, entries, fitness)

    def write(self, step: int, averaged: Weights, entries: dict, fitness: float | None) -> None:
        weights.save(self.path(step), averaged, **entries)
        self.fitness[step] = fitness
        kept = {*self.steps()[:LATEST], self.best()}
        for old in self.steps():
            if old not in kept and not (self.keep_every and old % self.keep_every == 0):
                self.path(old).unlink(missing_ok=True)
                del self.fitness[old]

    def wait(self) -> None:
        """Wait until all is written."""
        pending, self.pending = self.pending, None
        if pending is not None:
            try:
                pending.result()
            except OSError as error:
                left = f"step {max(self.fitness)} is saved: go on with --resume" if self.fitness else "nothing is saved"
                raise OSError(
                    f"a checkpoint could not be written to {self.folder} ({error.strerror or error}); {left} "
                    "when there is room on the disk."
                ) from error

    def close(self) -> None:
        """Wait until all is written, and end the thread that writes."""
        try:
            self.wait()
        finally:
            self.thread.shutdown()

    def read_progress(self, path: Path) -> dict:
        try:
            with opened(path, checked=False) as file:
                return json.loads(str(file[PROGRESS]))
        except (*DAMAGE, KeyError) as error:
            raise ValueError(f"checkpoint {path} is damaged ({error})") from None

    def restore(self, state: Any) -> tuple[Any, dict]:
        """The newest good checkpoint: its state, in the structure and places of `state`, and its progress.

        Raises:
            ValueError: If there is none, or if it is of another network or recipe.
        """
        for step in self.steps():
            try:
                with opened(self.path(step)) as file:
                    progress = json.loads(str(file[PROGRESS]))
                    found = {name.removeprefix(STATE): file[name] for name in file.files if name.startswith(STATE)}
            except DAMAGE as error:
                self.note(self.path(step), error)
                del self.fitness[step]
                continue
            wanted = named(state)
            check(f"checkpoint {self.path(step)}", {k: (v.shape, v.dtype) for k, v in wanted.items()},
                  {k: (v.shape, v.dtype) for k, v in found.items()})  # fmt: skip
            places = jax.tree.leaves(jax.tree.map(lambda x: x.sharding, state))
            leaves = [jax.device_put(found[name], place) for name, place in zip(wanted, places, strict=True)]
            return jax.tree.unflatten(jax.tree.structure(state), leaves), progress
        raise self.nothing("--resume")

    def weights(self, option: str = "--weights") -> Weights:
        """The averaged network of the best checkpoint, or of the last one if none was evaluated; `option` asks."""
        best = self.best()
        for step in ([] if best is None else [best]) + self.steps():
            try:
                found = weights.read_npz(self.path(step))
                return Weights(found.description, found.arrays, tuple(self.notes))
            except ValueError as error:
                self.note(self.path(step), error)
        raise self.nothing(option)

    def note(self, path: Path, error: Exception) -> None:
        """Note a damaged file, once."""
        if not any(str(path) in note for note in self.notes):
            self.notes.append(str(error) if str(path) in str(error) else f"checkpoint {path} is damaged ({error})")

    def nothing(self, option: str) -> ValueError:
        damaged = f"good checkpoint: {self.notes[0]}" if self.notes else "checkpoint"
        remedy = "Start without --resume" if option == "--resume" else "Give the folder of a run, an .npz or a .pt"
        return ValueError(f"{option}: {self.folder} holds no {damaged}. {remedy}.")


def check(what: str, wanted: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    """Both must have the same arrays."""
    differ = [k for k in sorted(set(wanted) | set(stored)) if wanted.get(k) != stored.get(k)]
    if differ:
        k = differ[0]
        there, here = (f"{x[k][0]} {x[k][1]}" if k in x else "missing" for x in (stored, wanted))
        raise ValueError(
            f"{what} is of another network or recipe: {len(differ)} arrays differ, first {k}: {there} there, {here} "
            "here. Resume with the options of that run."
        )
