"""Photographs of dark ground with a bright square each, and masks of 0 and 255, as a user's folder."""

import cv2
import numpy as np


def write(folder, images, darkness, coloured=False):
    """Write <folder>/images and <folder>/labels; `darkness` is the brightest ground, and a coloured square is red, green or blue."""
    random = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for _ in range(images):
        image, label = random.integers(0, darkness, (40, 48, 3), np.uint8), np.zeros((40, 48), np.uint8)
        top, left = random.integers(0, 20, 2)
        channels = random.integers(0, 3) if coloured else slice(None)
        image[top : top + 16, left : left + 16, channels] += 150
        label[top : top + 16, left : left + 16] = 255
        name = "".join(chr(97 + int(letter)) for letter in random.integers(0, 26, 8))
        cv2.imwrite(str(folder / "images" / f"{name}.png"), image)
        cv2.imwrite(str(folder / "labels" / f"{name}.png"), label)
    return folder
