"""Published segmentation networks in aeseg and in PyTorch, with the same weights on the same batch.

segnet      SegNet-Basic, 180 x 240, batch 4; the image is standardised, without the local contrast of the paper
densenet    FC-DenseNet56, 224 x 224, batch 3, without dropout

The loss is the cross-entropy of 11 classes.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aeseg.models.encoders import fc_densenet, vgg
from aeseg.models.heads import fc_densenet as fc_densenet_head
from aeseg.models.heads import segnet
from aeseg.spec import build

from .convolutional import CLASSES, Network
from .held import Held, flat, variables_of

NETWORKS = {"segnet": (180, 4), "densenet": (224, 3)}
"""{name: (height of the images, batch)}"""
RATE = 1e-3
FORMS = ("channels_last", "contiguous_format", "compiled")

Loss = Callable[[], Any]


def networks(torch: Any, name: str, size: int) -> tuple[Callable[[Any], jax.Array], Any, dict[str, Any]]:
    """Return our loss of parameters, our parameters, and PyTorch's (loss, parameters) by form."""
    encoder, head = recipes(name)
    model, random, rows = Network(build(encoder), build(head)), np.random.default_rng(0), NETWORKS[name][1]
    width = size * 4 // 3 if name == "segnet" else size
    image = random.random((rows, size, width, 3), np.float32)
    label = random.integers(0, CLASSES, (rows, size, width), np.int32)
    variables = variables_of(lambda: model.init(jax.random.key(0), jnp.asarray(image)))

    def loss(params: Any) -> jax.Array:
        value, _ = model.apply({**variables, "params": params}, jnp.asarray(image), mutable=["batch_stats"])
        return optax.softmax_cross_entropy_with_integer_labels(value[1], jnp.asarray(label)).mean()

    weights = flat(variables["params"])
    apply = segnet_logits if name == "segnet" else densenet_logits

    def twin(form: str) -> tuple[Loss, list[Any]]:
        held = Held(torch, weights, "channels_last" if form == "compiled" else form)
        given, target = held.features((image - 0.45) / 0.25), torch.tensor(label.astype(np.int64))

        def theirs() -> Any:
            return torch.nn.functional.cross_entropy(apply(held, given), target)

        return torch.compile(theirs) if form == "compiled" else theirs, list(held.tensors.values())

    return loss, variables["params"], {form: twin(form) for form in FORMS}


def recipes(name: str) -> tuple[Any, Any]:
    """Return the specs of encoder and head of a network."""
    if name == "segnet":
        encoder = vgg.recipe("basic")
        encoder.contrast = 0.0
        return encoder, segnet.recipe("basic", classes=CLASSES)
    encoder, head = fc_densenet.recipe("56"), fc_densenet_head.recipe("56", classes=CLASSES)
    encoder.dropout = head.dropout = 0.0
    return encoder, head


def segnet_logits(held: Held, features: Any, statistics: Callable[[str], Any] = lambda _: None) -> Any:
    """Return the logits of SegNet-Basic; `statistics`: batch norm's (mean, variance) by path, to predict."""
    functional, levels = held.torch.nn.functional, []
    for level in range(sum(path.startswith("encoder") and path.endswith("scale") for path in held.tensors)):
        path = f"encoder/level{level}"
        full = held.convolve(features, f"{path}/convolution0")
        full = held.normalise(full, f"{path}/norm0", statistics(f"{path}/norm0")).relu()
        features, places = functional.max_pool2d(full, 2, ceil_mode=True, return_indices=True)
        levels.append((places, full.shape[2:]))
    for level in reversed(range(len(levels))):
        places, size = levels[level]
        path = f"reader/level{2**level}_0"
        features = functional.max_unpool2d(features, places, 2, output_size=size)
        features = held.normalise(held.convolve(features, f"{path}_convolution"), f"{path}_norm", statistics(f"{path}_norm"))
    return held.convolve(features, "reader/logits")


def densenet_logits(held: Held, features: Any) -> Any:
    """Return the logits of an FC-DenseNet."""
    torch, down, up = held.torch, held.within("encoder"), held.within("reader")

    def layer(part: Held, features: Any) -> Any:
        return part.convolve(part.normalise(features, "norm").relu(), "convolution")

    def block(part: Held, features: Any) -> Any:
        made: list[Any] = []
        while f"{part.scope}layer{len(made)}/norm/scale" in held.tensors:
            made.append(layer(part.within(f"layer{len(made)}"), torch.cat([features, *made], dim=1)))
        return torch.cat(made, dim=1)

    features, skips = down.convolve(features, "stem"), []
    while f"encoder/down{len(skips)}/norm/scale" in held.tensors:
        level = len(skips)
        skips.append(torch.cat([features, block(down.within(f"level{level}"), features)], dim=1))
        features = torch.nn.functional.max_pool2d(layer(down.within(f"down{level}"), skips[-1]), 2, ceil_mode=True)
    made = block(down.within("bottleneck"), features)
    for level in reversed(range(len(skips))):
        h, w = skips[level].shape[2:]
        features = torch.cat([up.transpose(made, f"up{2**level}")[:, :, :h, :w], skips[level]], dim=1)
        made = block(up.within(f"level{2**level}"), features)
    return up.convolve(torch.cat([features, made], dim=1), "logits")
