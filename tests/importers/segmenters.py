"""Compare a segmenter of transformers with ours: the same random weights, then outputs, loss and gradients."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import torch
from safetensors.numpy import save_file

from aeseg.importers.rules import from_foreign, to_foreign
from aeseg.spec import build
from aeseg.types import IGNORE
from tests.importers.oracle import saved, torch_image

torch.set_num_threads(1)


def randomised(model):
    """Fill EVERY tensor of the model with random numbers, also running statistics (initially 0 and 1), and remove dropout."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                continue
            scale = 1 / np.sqrt(max(tensor[0].numel(), 4)) if tensor.ndim > 1 else 0.3
            values = scale * torch.randn(tensor.shape, generator=random)
            positive = "running_var" in name or (tensor.ndim == 1 and name.endswith("weight"))
            tensor.copy_(values.abs() + 0.5 if positive else values)
    return model.eval()


def segmentation_batch(size, classes):
    """Return two images and labels, some of them IGNORE."""
    random = np.random.default_rng(1)
    label = random.integers(0, classes, (2, *size))
    label[:, :5, 3:] = IGNORE
    return {
        "image": jnp.asarray(random.normal(size=(2, *size, 3)), jnp.float32),
        "label": jnp.asarray(label, jnp.int32),
        "valid": jnp.ones(2, bool),
        "index": jnp.arange(2, dtype=jnp.int32),
    }


def compare(theirs, family, directory, size, slopes):
    """Compare logits to 1e-5 of the largest, the loss, and with `slopes` the gradient of every parameter, by its name in a file."""
    config, tensors = saved(theirs, directory / "weights")
    described = family.spec_of(config)
    described.encoder.update({"mean": (0.0,), "std": (1.0,)})  # transformers standardises images elsewhere
    rules, method = family.rules(described), build(described)
    batch = segmentation_batch(size, described.classes)
    example = jax.eval_shape(lambda: dict(method.init(jax.random.key(0), batch, train=False)))
    variables = jax.tree.map(jnp.asarray, from_foreign(rules, tensors, example))

    def loss(params):
        model = {**variables, "params": params}
        means = method.apply(model, batch, train=False)
        logits = method.apply(model, batch["image"], method="predict")
        return sum(c * means[name].value() for name, c in method.coefficients.items()), logits

    if slopes:
        (ours, logits), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables["params"])
    else:
        ours, logits = jax.jit(loss)(variables["params"])
    answer = theirs(pixel_values=torch_image(batch["image"]), labels=torch.tensor(np.array(batch["label"])).long())
    expected = torch.nn.functional.interpolate(answer.logits, size=size, mode="bilinear", align_corners=False)
    near(logits, expected.detach().numpy().transpose(0, 2, 3, 1), "logits")
    near(ours, answer.loss.item(), "loss")
    if not slopes:
        return
    theirs.zero_grad()
    answer.loss.backward()
    expected = slopes_by_file_name(theirs, directory / "slopes")
    statistics = {name: leaf for name, leaf in variables.items() if name != "params"}
    found = to_foreign(rules, {"params": jax.device_get(gradient), **statistics})
    trained = {name for name in found if "running_" not in name and "num_batches" not in name}
    assert trained == {name for name in expected if "running_" not in name and "num_batches" not in name}
    for name in trained:
        near(found[name], expected[name], name)


def slopes_by_file_name(model, directory):
    """Return the gradients, written and read like weights; the model's weights are unchanged."""
    kept = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.grad)
        _, slopes = saved(model, directory)
        for name, parameter in model.named_parameters():
            parameter.copy_(kept[name])
    return slopes


def near(ours, expected, name, tolerance=1e-5):
    """Compare to 1e-5 of the largest number; gradients that must vanish (a bias before a softmax or norm) are only rounding."""
    scale = max(np.abs(expected).max(), 1e-3)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=tolerance * scale, err_msg=name)


def loaded_in_transformers(kind, family, described, directory, size):
    """Export an encoder with random weights; return the loading report of `from_pretrained`."""
    module = build(described)
    variables = jax.eval_shape(lambda: dict(module.init(jax.random.key(0), jnp.zeros((1, *size, 3)), train=False)))
    random = np.random.default_rng(0)
    variables = {name: {"encoder": leaves} for name, leaves in variables.items()}
    variables = jax.tree.map(lambda leaf: random.uniform(0.1, 1, leaf.shape).astype(np.float32), variables)
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(family.config_of(described)))
    save_file(to_foreign(family.rules(described), variables), directory / "model.safetensors", metadata={"format": "pt"})
    _, info = kind.from_pretrained(directory, output_loading_info=True)
    return {name: set(found) for name, found in info.items() if name.endswith("keys")}
