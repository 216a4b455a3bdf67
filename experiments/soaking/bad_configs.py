"""Bad flags, configs and Hugging Face directories, which `inputs` gives to commands."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

FLAGS = (
    *("batch_size=0", "batch_size=-8", "batch_size=2.5", f"batch_size={2**40}", f"batch_size={10**30}", "batch_size="),
    *("steps=0", "steps=-1", f"steps={2**70}", "steps=x", "steps=1e3", "steps=None", "steps=True", "steps=[1]"),
    *("window=(0,0)", "window=(16,)", "window=(16,16,3)", "window=16", "window=(-16,16)", "window=(1000000000,16)", "window=(16.5,16)"),
    *("window=(18,18)", "window=x", "window=()", "seed=-1", f"seed={2**80}", "seed=x", "microbatches=0", "microbatches=3", "fsdp=0"),
    *("fsdp=3", "fsdp=-1", "ema=1.0", "ema=-0.1", "ema=nan", "ema=inf", "dtype=float16", "dtype=float8", "dtype=", "dtype=int32"),
    *("nonfinite=go", "nonfinite_in_a_row=0", "log_every=0", "log_every=-5", "save_every=0", "evaluate_every=0", "keep=0", "keep=-1"),
    *(
        "keep_every=-1",
        "best=5",
        "transfer=all",
        "class_weights=x",
        "statistics=x",
        "position_tables=x",
        "enlarge=7",
        "given=3",
        "=3",
        ".=3",
    ),
    *("[0]=3", ".x=3", "x=3", "method=3", "method.encoder=x", "method.encoder.widths=(0,)", "method.encoder.widths=(-4,8)", "data=3"),
    *("method.encoder.widths=(4.5,8)", "method.encoder.widths=(1000000,1000000)", "method.encoder.widths=()", "method.encoder.widths=8"),
    *("method.encoder.widths=('a','b')", "method.encoder.dtype=float23", "method.objective=hinge", "method.encoder.target=os:system"),
    *("method.encoder.target=", "method.target=aeseg.spec:build", "data.threads=2000", "data.threads=-1", "data.workers=1000"),
    *("data.cache_gib=inf", "data.cache_gib=-1", "data.cache_gib=nan", "data.fraction=0", "data.fraction=2", "data.fraction=nan"),
    *("data.on_error=x", "data.transforms=(1,2)", "data.transforms=x", "data.transforms=((),)", "data.transforms[0]=3"),
    *("data.transforms[9].probability=1", "data.transforms[0].probability=2.0", "data.transforms[0].probability=nan", "data.source=x"),
    *("data.train.height=1000000000", "data.train.height=0", "data.train.height=-16", "data.train.records=0", "data.train.records=-1"),
    *(
        "data.train.split=x",
        "data.source.target=os:system",
        "data.train.target=builtins:eval",
        "optimiser=x",
        "optimiser.learning_rate=nan",
    ),
    *(
        "optimiser.learning_rate=-1",
        "optimiser.learning_rate=1e300",
        "optimiser.learning_rate=x",
        "optimiser.clip=-1",
        "optimiser.warmup=-1",
    ),
    *("optimiser.schedule=x", "optimiser.b2=2.0", "optimiser.b1=-1.0", "optimiser.weight_decay=nan", "optimiser.target=os:system"),
    *("optimiser.freeze=3", "optimiser.steps=0", "next=\n", "\n=3", "méthode=3"),
)
"""Values of --config.<name> that `pretrain` must refuse."""

HARMLESS = ("next=\n", "optimiser.freeze=3", "class_weights=x")
"""Values that `pretrain` may also accept."""

VIT = {
    **{"architectures": ["ViTModel"], "model_type": "vit", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2},
    **{"intermediate_size": 16, "image_size": 16, "patch_size": 4, "num_channels": 3, "layer_norm_eps": 1e-12},
}
"""A valid config.json of a Hugging Face model."""

TEXTS = ("", "{", "[]", "null", "{}", '"x"', "5", "NaN", "[" * 100_000, '{"a":' * 50_000, "\0", "{}{}", '{"method": 3}', '{"data": []}')
"""Contents of a config.json that are not a config."""

VALUES: tuple[Any, ...] = (None, "x", -1, [], {}, 1e308, [[[]]])
"""Values that replace a field's value."""


def configs(good: str, number: int, pick: Any) -> Iterator[tuple[str, str]]:
    """Yield (name, JSON) of configs in which one field, at any depth, has another type or is missing; `pick` is a random.Random."""
    for text in TEXTS:
        yield f"config.json: {text[:15]!r}", text
    choices = [path for path in paths(json.loads(good)) if path[-1] not in ("given", "next")]
    for path in pick.sample(choices, number):
        node: Any = json.loads(good)
        here = node
        for name in path[:-1]:
            here = here[name]
        value = pick.choice([each for each in VALUES if type(each) is not type(here[path[-1]])])
        if pick.random() < 0.2 and isinstance(here, dict) and len(path) > 1:
            del here["target" if "target" in here else path[-1]]
            yield f"config.json: without {'.'.join(map(str, path))}'s target or itself", json.dumps(node)
        else:
            here[path[-1]] = value
            yield f"config.json: {'.'.join(map(str, path))} = {json.dumps(value)[:20]}", json.dumps(node)


def foreign() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield (name, {file: text}) of Hugging Face directories with an invalid config.json or preprocessor_config.json."""
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "image_size", "patch_size", "num_channels")
    for name in sizes:
        for value in (0, -1, "x", 10**9, [4, 4, 4], 1.5, *(() if name == "num_channels" else (None,))):  # no value means 3 channels
            yield f"HF {name} = {value!r}", {"config.json": json.dumps({**VIT, name: value})}
    for name in sizes[:6]:
        yield f"HF without {name}", {"config.json": json.dumps({key: value for key, value in VIT.items() if key != name})}
    for text in TEXTS:
        yield f"HF {text[:15]!r}", {"config.json": text}
    for kind in (
        "ResNetModel",
        "ConvNextModel",
        "ConvNextV2Model",
        "SegformerForSemanticSegmentation",
        "ViTMAEForPreTraining",
        "Dinov2Model",
    ):
        yield f"HF {kind} without sizes", {"config.json": json.dumps({"architectures": [kind]})}
        strange = {"hidden_sizes": "x", "depths": [10**9], "embedding_size": -1, "hidden_size": [], "patch_size": 0, "image_size": 0}
        yield f"HF {kind} of strange sizes", {"config.json": json.dumps({"architectures": [kind], **strange})}
    means: tuple[tuple[Any, Any], ...] = (
        *(([0.5, 0.5], [0.5, 0.5]), ([0.5] * 3, [0.5, 0.5]), ([0.5] * 3, [-1, 1, 1]), ([0.5] * 3, [0, 0, 0]), ("x", "y"), (None, None)),
        *(([0.5] * 3, ["a"] * 3), ([[0.5]] * 3, [float("nan")] * 3), ([], []), ({}, {})),
    )
    for mean, std in means:
        text = json.dumps({"image_mean": mean, "image_std": std})
        yield f"HF preprocessor {text[:50]}", {"config.json": json.dumps(VIT), "preprocessor_config.json": text}
    for text in ("[]", "{", "null", '{"do_normalize": "x", "image_mean": 3}'):
        yield f"HF preprocessor {text}", {"config.json": json.dumps(VIT), "preprocessor_config.json": text}


def paths(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value in a JSON object, at any depth."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, value in items:
        yield (*above, name)
        yield from paths(value, (*above, name))
