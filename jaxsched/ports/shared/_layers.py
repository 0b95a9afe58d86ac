"""The layers of a model for layer-wise decay of the learning rate: a parameter's layer by its path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from jaxsched.checks import short
from jaxsched.groups import Condition, Rule, glob
from jaxsched.ports.shared._numbers import as_count

MOST_LAYERS = 1000
"""Most layers of a model: each has rules and groups, so that a file of a few bytes could fill the memory."""


class Layers(NamedTuple):
    """The layer of each parameter.

    Attributes:
        paths: Layers by glob; of globs that fit, the first one counts.
        top: The layer of all else, whose learning rate is the base.
        block: The glob of a block, which a model must have: else its names are others, and all of it would be at the
            top.
    """

    paths: Mapping[str, int]
    top: int
    block: str

    def rules(self, parts: Sequence[tuple[str, Condition]]) -> Iterator[tuple[Rule, int, str]]:
        """The rules of the groups ``layer_0_decay`` and so on: of each layer a rule for each part.

        Args:
            parts: The name of each part of a layer, and which parameters it has; of parts that fit, the first one
                counts. A name may come twice.

        Yields:
            A rule, its layer, and its part.
        """
        for path, layer in (*self.paths.items(), ("**", self.top)):
            for part, match in parts:
                last = path == self.block and (part, match) == parts[-1]
                yield Rule(glob(path) & match, f"layer_{layer}_{part}", optional=not last), layer, part


TOKENS = ("cls_token", "mask_token", "pos_embed")


def blocks_of(depth: Any) -> range:
    """The numbers of as many blocks.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is no whole number, or above `MOST_LAYERS`.
    """
    number = as_count("the number of layers", depth, 0)
    if number > MOST_LAYERS:
        raise ValueError(f"layer decay is for models of at most {MOST_LAYERS} layers, got {short(depth)}")
    return range(number)


def vit_layers(
    depth: int, prefix: str = "", blocks: Sequence[str] = ("blocks",), tokens: Sequence[str] = TOKENS
) -> Layers:
    """Tokens and patches are layer 0, block ``j`` is layer ``j + 1``."""
    paths = {f"{prefix}{token}": 0 for token in tokens} | {f"{prefix}patch_embed*/**": 0}
    paths |= {f"{prefix}{name}/{j}/**": j + 1 for name in blocks for j in blocks_of(depth)}
    return Layers(paths, depth + 1, f"{prefix}{' or '.join(blocks)}/0/**")


def swin_layers(depths: Sequence[int], prefix: str = "", stages: str = "layers") -> Layers:
    """Each block is a layer; a downsampling counts to the last block of its stage."""
    paths = {f"{prefix}patch_embed*/**": 0}
    done = 0
    blocks_of(sum(map(len, map(blocks_of, depths))))
    for stage, depth in enumerate(depths):
        paths |= {f"{prefix}{stages}/{stage}/blocks/{j}/**": done + j + 1 for j in blocks_of(depth)}
        done += depth
        paths[f"{prefix}{stages}/{stage}/downsample/**"] = done
    return Layers(paths, done + 1, f"{prefix}{stages}/0/blocks/0/**")
