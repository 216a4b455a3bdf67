"""Denoising with a U-Net decoder, on DRIVE or CamVid at 72x96: its decoder can become the head of `drive` and `camvid_labels`.

Command   python -m experiments.pretrain --config=fine_tuning:drive
          python -m experiments.segment --config=drive --init=runs/fine-tuning-drive --config.transfer=fine-tune-decoder
Cost      DRIVE: 6 minutes on one core
Expected  DRIVE: 22 to 26 dB on validation; with one labelled retina, the encoder brings what training from scratch does (table fine_tuning)
"""

from ml_collections import ConfigDict

from aeseg.models.decoders.unet import UNetDecoder
from aeseg.spec import spec
from aeseg.types import UserError

from . import camvid_labels, drive

ARGUMENTS = ("drive", "camvid")
SIZES = {"drive": 6, "camvid": 32}
"""Side of the hidden squares, from the best trials of drive_labels_tuning and camvid_labels_tuning."""


def get_config(argument: str = "drive") -> ConfigDict:
    """Return the config of the pretraining on a data set (Brempong et al. 2022, arXiv 2205.11423, section 3, with squares as noise)."""
    if argument not in ARGUMENTS:
        raise UserError(f"fine_tuning has {', '.join(ARGUMENTS)}; got {argument!r}. Name one of these.")
    config_of = {"drive": drive, "camvid": camvid_labels}[argument].get_config
    config, head = config_of("denoising"), config_of("unet").method.head
    with config.unlocked():
        config.method.decoder = spec(UNetDecoder, convolutions=head.convolutions, norm=head.norm)
        config.method.decoder.dtype = config.get_ref("dtype")
        config.method.noise[0].size = SIZES[argument]
    return config
