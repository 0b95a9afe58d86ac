"""Batches: deterministic from the seed whatever the number of workers, and resumable at any of them (by grain)."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping

import grain
import numpy as np
from absl import flags

from examples.detector.augment import Augmentation, Picture, augment, fitted, letterbox
from examples.detector.data import Dataset

Batch = Mapping[str, np.ndarray]


class Source:
    """Images fitted to the network's size, kept in memory up to `cache` bytes."""

    def __init__(self, dataset: Dataset, size: int, cache: int):
        self.dataset, self.size, self.left = dataset, size, cache
        self.kept: dict[int, np.ndarray] = {}

    def __call__(self, index: int) -> Picture:
        pixels = self.kept.get(index)
        if pixels is None:
            pixels = fitted(self.dataset.pixels(index), self.size)
            if pixels.nbytes <= self.left:
                self.left -= pixels.nbytes
                self.kept[index] = pixels
        height, width = pixels.shape[:2]
        boxes = self.dataset.boxes[index]
        low, high = boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2
        corners = np.concatenate([low, high], 1) * (width, height, width, height)
        return pixels, np.concatenate([self.dataset.classes[index][:, None], corners], 1).astype(np.float32)


class TrainingSamples:
    """Sample ``i`` of the whole run: each epoch a new order, each sample its own random numbers."""

    def __init__(
        self,
        source: Source,
        augmentation: Augmentation,
        *,
        epochs: int,
        batches: int,
        batch_size: int,
        labels: int,
        seed: int,
    ):
        self.source, self.augmentation, self.seed, self.labels = source, augmentation, seed, labels
        self.per_epoch = batches * batch_size
        self.epochs = epochs

    def __len__(self) -> int:
        return self.epochs * self.per_epoch

    @functools.lru_cache(maxsize=2)  # noqa: B019
    def order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.source.dataset))

    def __getitem__(self, sample: int) -> dict[str, np.ndarray]:
        epoch, place = divmod(int(sample), self.per_epoch)
        rng = np.random.default_rng([self.seed, 1, int(sample)])
        count, size = len(self.source.dataset), self.source.size
        index = int(self.order(epoch)[place])
        pixels, labels = augment(rng, index, count, self.source, size, self.augmentation)
        return {"image": np.ascontiguousarray(pixels), **padded(labels, size, self.labels)}


class ValidationSamples:
    """Each image once, in order, in grey to the square; the last batch is filled up with index -1.

    ``place`` is where its file's pixels are in there: scale across and down, left, top.
    """

    def __init__(self, source: Source, batch_size: int):
        self.source, self.batch_size = source, batch_size

    def __len__(self) -> int:
        return -(-len(self.source.dataset) // self.batch_size) * self.batch_size

    def __getitem__(self, sample: int) -> dict[str, np.ndarray]:
        real = sample < len(self.source.dataset)
        index = sample if real else 0
        fitted = self.source(index)[0]
        pixels, factor, left, top = letterbox(fitted, self.source.size)
        (width, height), (rows, columns) = self.source.dataset.sizes[index], fitted.shape[:2]
        place = np.array([factor * columns / width, factor * rows / height, left, top], np.float32)
        return {"image": pixels, "place": place, "index": np.int32(sample if real else -1)}


def padded(labels: np.ndarray, size: int, length: int) -> dict[str, np.ndarray]:
    """Corners in pixels to the loss's labels: fractions, padded with class -1."""
    boxes, classes = np.zeros((length, 4), np.float32), np.full(length, -1, np.int32)
    low, high = labels[:, 1:3] / size, labels[:, 3:5] / size
    boxes[: len(labels)] = np.concatenate([(low + high) / 2, high - low], 1)
    classes[: len(labels)] = labels[:, 0]
    return {"boxes": boxes, "classes": classes}


def training_batches(
    dataset: Dataset,
    augmentation: Augmentation,
    *,
    size: int,
    batch_size: int,
    epochs: int,
    seed: int,
    workers: int = 0,
    threads: int = 2,
    cache: int = 1 << 30,
    shard: tuple[int, int] = (0, 1),
) -> Batches:
    """Batches of the whole run.

    An epoch has ``len(dataset) // batch_size`` batches; the images left over differ from epoch to epoch.

    Args:
        size: width and height of the network's input, in pixels.
        batch_size: images in a batch, over all processes.
        workers: processes that load; 0 loads in threads of this one.
        threads: threads that load, of each process.
        cache: bytes of fitted images to keep in memory.
        shard: (index, count) of this process: which part of each batch it loads.
    """
    batches = len(dataset) // batch_size
    if batches == 0:
        raise ValueError(
            f"--batch-size {batch_size} is more than the {len(dataset)} training images. Choose at most {len(dataset)}."
        )
    if batch_size % shard[1]:
        raise ValueError(f"--batch-size {batch_size} does not divide over {shard[1]} processes.")
    most = augmentation.images() * max(len(c) for c in dataset.classes)
    labels = max(8, -(-most // 8) * 8)
    source = Source(dataset, size, cache)
    samples = TrainingSamples(
        source, augmentation, epochs=epochs, batches=batches, batch_size=batch_size, labels=labels, seed=seed
    )
    mine = batch_size // shard[1]
    whole = grain.MapDataset.source(samples)
    if shard[1] > 1:
        rows = [b * batch_size + shard[0] * mine for b in range(epochs * batches)]
        whole = grain.MapDataset.range(len(rows) * mine).map(lambda i: samples[rows[i // mine] + i % mine])
    return Batches(whole.batch(mine, drop_remainder=True), workers, threads)


def validation_batches(
    dataset: Dataset, *, size: int, batch_size: int, workers: int = 0, threads: int = 2, cache: int = 1 << 30
) -> grain.IterDataset:
    """All images in order; iterate over it as often as needed."""
    samples = ValidationSamples(Source(dataset, size, cache), batch_size)
    return as_dataset(grain.MapDataset.source(samples).batch(batch_size), workers, threads)


def as_dataset(batches: grain.MapDataset, workers: int, threads: int) -> grain.IterDataset:
    loaded = batches.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(4, 2 * threads)))
    if workers:
        flags.FLAGS.mark_as_parsed()  # grain's workers read absl's flags, which only absl's own main would parse
        loaded = loaded.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers), worker_init_fn=end_with_parent)
    return loaded


def end_with_parent(*_: int) -> None:
    """A worker ends when the process that trains does, and no sooner: schedulers ask all processes of a job to end at
    once, and it may still need batches; killed, it cannot end its workers."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


class Batches:
    """Batches in order. Its state is how many were given: a run may go on with another number of workers."""

    def __init__(self, batches: grain.MapDataset, workers: int, threads: int):
        self.batches, self.workers, self.threads = batches, workers, threads
        self.set_state({"next_index": 0})

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        batch = next(self.rest)
        self.given += 1
        return batch

    def get_state(self) -> dict[str, int]:
        return {"next_index": self.given}

    def set_state(self, state: Mapping[str, int]) -> None:
        self.given = state["next_index"]
        self.rest = iter(as_dataset(self.batches[self.given :], self.workers, self.threads))
