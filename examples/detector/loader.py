"""Batches of images and labels, loaded by grain.

They depend on the seed alone, not on the number of threads, workers or processes, and loading resumes at any batch.
"""

from __future__ import annotations

import functools
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence

import grain
import numpy as np
from absl import flags

from examples.detector.augment import Augmentation, Picture, augment, fitted, letterbox
from examples.detector.data import Dataset

Batch = Mapping[str, np.ndarray]
STRIDE = 32  # the network's largest, in pixels


class Source:
    """Pictures with a longer side of `size`, kept in memory up to `cache` bytes."""

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
    """Samples of the whole run; each epoch has a new order, and each sample its own random numbers."""

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
        sizes: Sequence[int],
    ):
        self.source, self.augmentation, self.seed, self.labels = source, augmentation, seed, labels
        self.batch_size, self.per_epoch, self.sizes = batch_size, batches * batch_size, sizes
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
        chosen = np.random.default_rng([self.seed, 2, int(sample) // self.batch_size]).choice(self.sizes)
        pixels = fitted(np.ascontiguousarray(pixels), int(chosen))
        return {"image": np.ascontiguousarray(pixels), **padded(labels, size, self.labels)}


class ValidationSamples:
    """Each image once, centred in grey; the samples that fill the last batch have index -1.

    ``place`` maps pixels of the file to those of the sample: scale across and down, left, top.

    Attributes:
        order: the images' indices; where `rectangular`, from the widest to the tallest.
        shapes: (rows, columns) of each batch.
    """

    def __init__(self, source: Source, batch_size: int, rectangular: bool):
        self.source, self.batch_size = source, batch_size
        ratios = np.array([height / width for width, height in source.dataset.sizes])
        self.order = np.argsort(ratios, kind="stable") if rectangular else np.arange(len(ratios))
        self.shapes = [
            batch_shape(ratios[self.order[first : first + batch_size]], source.size)
            if rectangular
            else (source.size,) * 2
            for first in range(0, len(ratios), batch_size)
        ]

    def __len__(self) -> int:
        return len(self.shapes) * self.batch_size

    def __getitem__(self, sample: int) -> dict[str, np.ndarray]:
        real = sample < len(self.order)
        index = self.order[sample if real else 0]
        fitted = self.source(index)[0]
        pixels, factor, left, top = letterbox(fitted, self.shapes[sample // self.batch_size], enlarge=False)
        (width, height), (rows, columns) = self.source.dataset.sizes[index], fitted.shape[:2]
        place = np.array([factor * columns / width, factor * rows / height, left, top], np.float32)
        return {"image": pixels, "place": place, "index": np.int32(index if real else -1)}


def batch_shape(ratios: np.ndarray, size: int) -> tuple[int, int]:
    """Rows and columns that hold images of these ratios (height over width) whose longer side is `size`, as in YOLOv5's
    val.py: half a stride of grey is added, and the sum rounded up to whole strides."""
    low, high = ratios.min(), ratios.max()
    shape = (high, 1.0) if high < 1 else (1.0, 1 / low) if low > 1 else (1.0, 1.0)
    rows, columns = (math.ceil(s * size / STRIDE + 0.5) * STRIDE for s in shape)
    return rows, columns


def training_sizes(size: int, multi_scale: bool) -> list[int]:
    """Sizes of training batches: `size` or, with `multi_scale`, up to five from half of it to 1.5 times.

    YOLOv5 draws from all multiples of the stride in that range; each would be a compilation of some minutes.
    """
    factors = (0.5, 0.75, 1.0, 1.25, 1.5) if multi_scale else (1.0,)
    return sorted({max(1, round(size * factor / STRIDE)) * STRIDE for factor in factors})


def padded(labels: np.ndarray, size: int, length: int) -> dict[str, np.ndarray]:
    """The labels of the loss, centres and sizes as fractions, padded with class -1; from corners in pixels."""
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
    multi_scale: bool = False,
) -> Batches:
    """Batches of the whole run.

    An epoch has ``len(dataset) // batch_size`` batches; which images are left over differs from epoch to epoch.

    Args:
        size: width and height of the network's input, in pixels.
        batch_size: images in a batch, over all processes.
        workers: processes that load; 0 loads in threads of this one.
        threads: threads that load, of each process.
        cache: bytes of decoded images to keep in memory.
        shard: (index, count) of this process, which loads that part of each batch.
        multi_scale: whether each batch is resized to one of `training_sizes`, chosen by chance.
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
        source, augmentation, epochs=epochs, batches=batches, batch_size=batch_size, labels=labels, seed=seed,
        sizes=training_sizes(size, multi_scale),
    )  # fmt: skip
    mine = batch_size // shard[1]
    whole = grain.MapDataset.source(samples)
    if shard[1] > 1:
        rows = [b * batch_size + shard[0] * mine for b in range(epochs * batches)]
        whole = grain.MapDataset.range(len(rows) * mine).map(lambda i: samples[rows[i // mine] + i % mine])
    return Batches(whole.batch(mine, drop_remainder=True), workers, threads)


def validation_batches(
    dataset: Dataset,
    *,
    size: int,
    batch_size: int,
    rectangular: bool = True,
    workers: int = 0,
    threads: int = 2,
    cache: int = 1 << 30,
) -> grain.IterDataset:
    """All images once; iterate over it as often as needed.

    Args:
        size: longer side of an image in pixels.
        rectangular: whether images of like proportions share a batch, which is just large enough for them, as in
            YOLOv5's val.py; otherwise each batch is a square of `size`, and the network is compiled once.
    """
    samples = ValidationSamples(Source(dataset, size, cache), batch_size, rectangular)
    return as_dataset(grain.MapDataset.source(samples).batch(batch_size), workers, threads)


def as_dataset(batches: grain.MapDataset, workers: int, threads: int) -> grain.IterDataset:
    loaded = batches.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(4, 2 * threads)))
    if workers:
        flags.FLAGS.mark_as_parsed()  # grain's workers read absl's flags, which only absl's own main would parse
        loaded = loaded.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers), worker_init_fn=end_with_parent)
    return loaded


def end_with_parent(*_: int) -> None:
    """End a worker when the training process ends, and no sooner.

    Schedulers send SIGTERM to all processes of a job at once, and training may still need batches; a training process
    that is killed cannot end its workers.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


class Batches:
    """Batches in order. The state is the number of batches given, so a run resumes with any number of workers."""

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
