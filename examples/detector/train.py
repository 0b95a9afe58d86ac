"""Train a YOLOv5 detector: ``python -m examples.detector.train``; ``--help`` lists the options.

Everything about optimization is ``jaxsched.ports.yolov5.recipe``: one optax transformation that accumulates gradients,
clips them, updates each group with its own learning rate, momentum and decay, and averages the parameters.
"""

from __future__ import annotations

import time
from contextlib import nullcontext

import jax
import tyro

from examples.detector import pictures
from examples.detector.console import Console
from examples.detector.data import write_skipped
from examples.detector.devices import use_cores
from examples.detector.evaluate import Evaluation
from examples.detector.journal import Journal
from examples.detector.label_pictures import labels
from examples.detector.lock import locked
from examples.detector.options import Options
from examples.detector.setup import Run, rates, set_up
from examples.detector.stop import Termination


def train(options: Options) -> Evaluation | None:
    """Train as `options` say.

    Returns:
        The last evaluation, or None if the process was asked to end before.

    Raises:
        ValueError: For anything wrong with the options, the data or a checkpoint.
        FloatingPointError: If the loss or the parameters are no longer finite.
    """
    began = time.perf_counter()
    if options.distributed:
        jax.distributed.initialize(options.coordinator, options.processes, options.process)
    if options.compilation_cache:
        jax.config.update("jax_compilation_cache_dir", str(options.compilation_cache.absolute()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # initialising compiles many small programs
    first = jax.process_index() == 0
    with locked(options.out) if first else nullcontext():
        run = set_up(options)
        console = Console(steps=run.steps, epochs=options.epochs, quiet=not first)
        for note in run.notes:
            console.say(note)
        if first:
            labels(run.train, options.out / "labels.png")
            write_skipped(options.out, run.train, run.validator.dataset)
            (options.out / "opt.yaml").write_text(options.as_opt_yaml())
        journal = Journal(
            options.out, start=run.start, steps_per_epoch=run.steps_per_epoch, rates=rates(run.recipe),
            tensorboard=options.tensorboard, quiet=not first,
        )  # fmt: skip
        try:
            with Termination() as termination:
                evaluation = loop(run, journal, console, termination)
        finally:
            console.close()
        if evaluation is not None and first:
            report(run, evaluation, journal, console, time.perf_counter() - began)
        return evaluation


def loop(run: Run, journal: Journal, console: Console, termination: Termination) -> Evaluation | None:
    """Take the steps that are left. The last evaluation, or None if the process was asked to end before."""
    options = run.options
    if run.start == run.steps or run.stopping.stops:
        return run.validator(*run.averaged_on_host())
    try:
        for number in range(run.start, run.steps):
            began = time.perf_counter()
            batch = next(run.batches)
            waited = time.perf_counter() - began
            if number == run.start:
                metrics = compile_and_step(run, batch, console)
            else:
                run.state, metrics = run.step(run.state, run.devices.batch(batch))
            journal.step(number, metrics, waited / (time.perf_counter() - began))
            console.step(float(journal.rows[-1]["train/loss"]) if journal.rows else None)
            if number == 0 and not console.quiet:
                pictures.training_batch(batch, run.description.names, options.out / "training_batch.png")

            done, asked, evaluation = number + 1, termination.reached(number + 1), None
            ends_epoch = done % run.steps_per_epoch == 0
            finished = done == run.steps
            if ends_epoch or asked:
                journal.flush()
            if ends_epoch:
                epoch = number // run.steps_per_epoch
                if finished or (epoch + 1) % options.evaluate_every == 0:
                    evaluation = run.validator(*run.averaged_on_host())
                    finished |= run.stopping(epoch, evaluation.fitness)
                console.epoch(journal.epoch(evaluation))
            if ends_epoch or asked:
                journal.write()
                run.save(done, evaluation.fitness if evaluation else None)
            if finished or asked:
                break
    except FloatingPointError as error:
        journal.close()
        run.checkpoints.close()
        raise FloatingPointError(f"{error}. {remedy(run)}") from None
    journal.close()
    run.checkpoints.close()
    if finished:
        return evaluation
    console.say(f"asked to end after step {done}; continue with --resume")
    return None


def compile_and_step(run: Run, batch: dict, console: Console) -> dict:
    """The first step, which compiles."""
    console.say("compiling the training step ...")
    began = time.perf_counter()
    run.state, metrics = run.step(run.state, run.devices.batch(batch))
    jax.block_until_ready(metrics)
    console.say(f"compiled in {time.perf_counter() - began:.0f} s")
    console.begin(run.start)
    return metrics


def remedy(run: Run) -> str:
    """What to do when a run diverges."""
    steps = run.checkpoints.steps()
    saved = f"the checkpoint of step {steps[0]} is good (--weights {run.options.out})" if steps else "nothing is saved"
    without = ", or leave out --bf16" if run.options.bf16 else ""
    return f"Start another --out with a lower lr0 or a longer warmup_epochs in --hyp{without}; {saved}."


def report(run: Run, evaluation: Evaluation, journal: Journal, console: Console, seconds: float) -> None:
    """Draw the pictures, and print what came out."""
    out = run.options.out
    found, indices = run.validator.to_draw(*run.averaged_on_host())
    pictures.predictions(run.validator.dataset, found, indices, out / "predictions.png")
    pictures.evaluation(evaluation, out)
    pictures.losses(journal.path, out / "losses.png")
    pictures.hyperparameters(journal.path, out / "hyperparameters.png")
    console.say(evaluation.table())
    console.say(f"mAP@0.5 {evaluation.map50:.4f}, mAP@0.5:0.95 {evaluation.map:.4f}, {seconds:.0f} s in all")
    console.say(
        f"{journal.waited():.1%} of the time was spent waiting for data; logs, pictures and checkpoints are in {out}"
    )


def run_command(options: Options) -> None:
    """Train as `options` say, with all cores of a CPU."""
    if not options.distributed:
        use_cores(options.batch_size)
    train(options)


def main() -> None:
    """The command line; errors in the input are printed as one line."""
    try:
        run_command(tyro.cli(Options, prog="python -m examples.detector.train", description=Options.__doc__))
    except (ValueError, OSError, FloatingPointError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
