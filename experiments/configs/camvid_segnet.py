"""SegNet-Basic and its variants on CamVid, as in table 1 of Badrinarayanan et al. 2017 ("SegNet", section 3.1 and 3.2).

The paper's protocol: 360x480, SGD 0.1 with momentum 0.9, batches of 12, He's initialisation, from scratch on the 367 training images;
scored at the checkpoint with the best global accuracy on validation, looked at every 1,000 steps.  The paper trains until the loss
converges; here that is 10,000 steps (327 epochs).  Deviation: gradients are clipped at norm 1, or FCN-Basic-NoDimReduction diverges in its
first steps.

The paper normalises the image's local contrast, at a scale that it does not give.  Here SegNet-Basic and its variants do, by
`images.local_contrast` with a Gaussian of 3 pixels; deviation: in that place the authors' prototxt has Caffe's LRN, which divides each
pixel by the size of its channels.  `segnet`, the one with VGG16's convolutions, does not: its image is standardised.  Nor does its
prototxt, where no layer comes before the first convolution.

bayesian and bayesian_basic are segnet and segnet_basic with the dropout of Bayesian SegNet (Kendall et al. 2015, arXiv 1511.02680), by
this protocol; the networks it draws in evaluation are averaged with --samples=40.

Command   python -m experiments.segment --config=camvid_segnet:segnet_basic
          python -m experiments.evaluate --workdir=runs/camvid-segnet-segnet-basic --best
          python -m experiments.predict --workdir=runs/camvid-segnet-bayesian-basic --input=photos --samples=40
          segnet_basic,small and so on: 16 channels at 72x96 for a CPU; segnet, bayesian: those with VGG16's convolutions
Cost      small: about 90 s; else not yet measured
Expected  82.7 global, 62.0 class, 47.7 mIoU (table 1, median frequency; test split)
"""

from ml_collections import ConfigDict

from aeseg.data.sources.folder import camvid
from aeseg.data.transforms import Resize
from aeseg.methods.segmenter import Segmenter
from aeseg.spec import choose, follow, recipe, spec
from aeseg.training.optimiser import sgd

VARIANTS = {
    "segnet_basic": ("segnet", "basic"),
    "segnet_addition": ("segnet", "addition"),
    "segnet_single": ("segnet", "single"),
    "fcn_basic": ("fcn_basic", "small"),
    "fcn_unadded": ("fcn_basic", "unadded"),
    "fcn_unreduced": ("fcn_basic", "unreduced"),
    "fcn_plain": ("fcn_basic", "plain"),
    "bilinear": ("fcn_basic", "bilinear"),
    "segnet": ("segnet", "vgg16"),
    "bayesian": ("segnet", "bayesian"),
    "bayesian_basic": ("segnet", "bayesian_basic"),
}
"""The head's file and size of each variant."""
ENCODERS = {"segnet": "vgg16", "bayesian": "bayesian", "bayesian_basic": "bayesian_basic"}
"""The encoder's size, where it is another than SegNet-Basic's."""
ARGUMENTS = (*VARIANTS, "segnet_basic,small", "fcn_basic,small", "bayesian_basic,small")
WIDTH = 16
"""Of every level of a small variant."""


def get_config(argument: str = "segnet_basic") -> ConfigDict:
    """A variant; after a comma `small` for a CPU."""
    variant, _, scale = argument.partition(",")
    head, size = choose(variant, **{name: {"of": of} for name, of in VARIANTS.items()})["of"]
    small = scale == "small"
    config = ConfigDict()
    config.seed = 0
    config.steps = 400 if small else 10_000
    config.batch_size = 12
    config.microbatches = 1
    config.window = (72, 96) if small else (360, 480)
    encoder = recipe("aeseg.models.encoders", "vgg", ENCODERS.get(variant, "basic"))
    if small:
        encoder.widths = (WIDTH,) * len(encoder.widths)
    config.method = spec(Segmenter, encoder=encoder, head=recipe("aeseg.models.heads", head, size), classes=11)
    config.method.head.classes = config.method.get_ref("classes")
    config.freeze = "fine-tune"
    config.class_weights = "median_frequency"
    config.dtype = "float32"
    follow(config.method, "dtype", config.get_ref("dtype"))
    config.optimiser = spec(sgd, learning_rate=0.1, steps=config.get_ref("steps"), momentum=0.9, clip=1.0)
    config.ema = 0.0
    config.data = ConfigDict()
    config.data.root = "data/camvid"
    for name, split in (("train", "train"), ("validation", "val"), ("test", "test")):
        config.data[name] = camvid(split)
        config.data[name].root = config.data.get_ref("root")
    resized = (spec(Resize, height=72, width=96),) if small else ()
    config.data.transforms = resized
    config.data.evaluation_transforms = resized
    config.data.fraction = 1.0
    config.data.cache_gib = 1.0
    config.data.on_error = "raise"
    config.data.threads = 2 if small else 8
    config.data.workers = 0
    config.fsdp = 1
    config.log_every = 50
    config.evaluate_every = 100 if small else 1000
    config.save_every = 100 if small else 1000
    config.keep = 1
    config.keep_every = 0
    config.best = "pixel_accuracy"
    return config
