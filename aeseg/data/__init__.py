"""Images and labels from disk to batches."""

import cv2

cv2.setNumThreads(1)  # the loader's threads and workers are the parallelism; nested pools would compete for the cores
