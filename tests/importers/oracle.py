"""Helpers of tests against PyTorch models: random tensors, and a model's tensors and gradients under their saved names."""

import numpy as np
import torch

from aeseg import tree
from aeseg.importers import files
from aeseg.importers.rules import from_foreign, to_foreign


def randomised(model, scale=0.2, seed=0):
    """Fill EVERY tensor of the model with random numbers: initial zeros (MAE's tables and tokens) would test nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
            parameter.requires_grad_(True)
    return model.eval()


def saved(model, directory):
    """Return (config, tensors) as the model saves them."""
    model.save_pretrained(directory)
    return files.read(str(directory))


def saved_gradients(model, directory):
    """Return the gradients under the saved names of their tensors; 0 for a tensor without gradient."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    return saved(model, directory)[1]


def torch_image(image):
    """Convert NHWC to torch's NCHW."""
    return torch.from_numpy(np.asarray(image).transpose(0, 3, 1, 2).copy())


def assert_gradients_agree(rules, ours, theirs, tolerance=2e-5):
    """Compare the gradients of every tensor, relative to its largest gradient, or to the largest of all if it is only rounding."""
    ours = to_foreign(rules, ours)
    largest = max(np.abs(array).max() for array in theirs.values())
    for name, array in ours.items():
        atol = tolerance * max(np.abs(theirs[name]).max(), 0.01 * largest)
        np.testing.assert_allclose(array, theirs[name], rtol=0, atol=atol, err_msg=name)


def assert_round_trip_is_exact(rules, tensors, variables):
    """Assert that aeseg -> foreign -> aeseg, and back, gives the same bits."""
    written = to_foreign(rules, variables)
    assert {name: written[name].tobytes() for name in written} == {name: np.ascontiguousarray(tensors[name]).tobytes() for name in tensors}
    again = from_foreign(rules, written, variables)
    for name, leaf in tree.flatten(variables).items():
        np.testing.assert_array_equal(leaf, tree.flatten(again)[name], err_msg=name)
