"""Pictures: what must be seen is seen."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from examples.detector import pictures


def drawn(colour, background, dashed, boxed):
    """An image of one colour, with a box or without, as drawn."""
    figure, (axis,) = pictures.tiles(1, "")
    pictures.draw_pixels(axis, np.full((32, 32, 3), background, np.uint8))
    if boxed:
        pictures.draw_box(axis, (8, 8, 24, 24), "", colour, dashed=dashed)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
    plt.close(figure)
    return pixels


@pytest.mark.parametrize("background", [0, 128, 255])
def test_true_boxes_are_seen_on_any_image(background):
    with_box, without = (drawn("white", background, True, boxed) for boxed in (True, False))
    changed = abs(with_box - without).max(-1) > 100  # of 255
    assert changed.sum() > 100  # pixels
