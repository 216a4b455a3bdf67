"""Masked modes of encoders, and checks for methods that need one.

`masked_mode = "tokens"` (a ClassVar of the encoder): a learned token replaces a hidden patch.
`masked_mode = "sparse"`: hidden positions are zero after every layer, and statistics leave them out.
In both modes, `encoder(image, train=..., hidden=hidden)` with `hidden` Bool [b h/unit w/unit] does not see hidden pixels.
`embed_visible(image, hidden, visible, train=...)` returns the tokens of visible patches only (He et al. 2022, section 3, "MAE encoder").
"""

from typing import Any

from flax import linen as nn

from aeseg import spec
from aeseg.types import UserError

ENCODERS = "aeseg.models.encoders"


def check_embeds_visible(encoder: nn.Module, method: str) -> None:
    """Raise UserError, naming suitable encoders, if the encoder lacks `embed_visible`."""
    if not hasattr(encoder, "embed_visible"):
        able = [name for name, kind in _kinds().items() if hasattr(kind, "embed_visible")]
        raise UserError(
            f"{method} needs an encoder that can embed visible patches only (embed_visible); {type(encoder).__name__} does not. "
            f"Those of {ENCODERS.replace('.', '/')} that do: {', '.join(able)}."
        )


def check_masked_mode(encoder: nn.Module, method: str, modes: tuple[str, ...] = ("tokens", "sparse")) -> None:
    """Raise UserError, naming suitable encoders, if the encoder has none of these masked modes."""
    if getattr(encoder, "masked_mode", "none") not in modes:
        able = [name for name, kind in _kinds().items() if getattr(kind, "masked_mode", "none") in modes]
        raise UserError(
            f"{method} needs an encoder with a masked mode ({' or '.join(modes)}); {type(encoder).__name__} has "
            f"{getattr(encoder, 'masked_mode', 'none')}. Those of {ENCODERS.replace('.', '/')} that have one: {', '.join(able) or 'none'}."
        )


def _kinds() -> dict[str, Any]:
    """Return {file name: class} of every encoder."""
    modules = {name: spec.module(ENCODERS, name) for name in spec.names(ENCODERS)}
    return {name: getattr(module, module.recipe("tiny").target.split(":")[1]) for name, module in modules.items()}
