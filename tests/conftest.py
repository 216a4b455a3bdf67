"""Eight virtual CPU devices, shapes checked at every call, no silent broadcasting; warnings are errors (pyproject.toml)."""

import os

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from jaxtyping import install_import_hook

install_import_hook("aeseg", "beartype.beartype")

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
