"""aeseg/training/mesh.py: sharding of arrays and rows."""

import jax
import numpy as np
import pytest

from aeseg.training import mesh as meshes
from aeseg.types import UserError

pytestmark = pytest.mark.spread


def test_an_array_is_sharded_along_its_largest_divisible_axis():
    mesh = meshes.create(fsdp=4)
    assert dict(mesh.shape) == {"data": 2, "fsdp": 4}
    assert tuple(meshes.parameter_sharding(mesh, (3, 3, 8, 16)).spec) == (None, None, None, "fsdp")
    assert tuple(meshes.parameter_sharding(mesh, (12, 7)).spec) == ("fsdp", None)
    assert tuple(meshes.parameter_sharding(mesh, (3, 5)).spec) == ()
    assert tuple(meshes.parameter_sharding(meshes.create(), (8, 8)).spec) == ()


def test_rows_are_spread_over_all_devices():
    batch = meshes.place(meshes.create(fsdp=2), {"image": np.zeros((16, 4, 4, 3), np.uint8)})
    assert {shard.data.shape for shard in batch["image"].addressable_shards} == {(2, 4, 4, 3)}


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(UserError, match="fsdp must divide the number of devices, 8; got 3"):
        meshes.create(fsdp=3)
    with pytest.raises(UserError, match=r"8 devices x 2 microbatches; got batch_size 24. Use a multiple of 16"):
        meshes.check_batch(meshes.create(), 24, 2)


def test_the_devices_can_be_chosen():
    assert meshes.create(devices=jax.devices()[:2]).size == 2
