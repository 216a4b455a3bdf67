"""aeseg/spec.py: a config is the constructor call."""

import importlib
import inspect
import pkgutil

import flax.linen as nn
import pytest
from ml_collections import ConfigDict

import aeseg
from aeseg import spec
from aeseg.data.sources.scenes import Scenes
from aeseg.models.encoders.convnet import ConvNet
from aeseg.types import UserError


def test_a_spec_has_every_argument_and_builds_the_object():
    described = spec.spec(Scenes, records=3, height=32)
    assert described.to_dict() == {
        "target": "aeseg.data.sources.scenes:Scenes", "split": "train", "records": 3, "height": 32, "width": 64, "seed": 0,
        "caption": False, "sound": False,
    }  # fmt: skip
    assert spec.build(described) == Scenes(records=3, height=32)


def test_a_misspelt_argument_is_refused_when_the_config_is_written():
    with pytest.raises(TypeError, match=r"Scenes has no argument 'record' \(did you mean 'records'\?\)"):
        spec.spec(Scenes, record=3)


def test_a_missing_argument_and_none_and_an_object_are_refused():
    def needs(a, b=None):
        return a, b

    with pytest.raises(TypeError, match="needs 'a'"):
        spec.spec(needs)
    with pytest.raises(TypeError, match="is None, which the command line cannot override"):
        spec.spec(needs, a=1)
    with pytest.raises(TypeError, match="a config holds numbers, strings"):
        spec.spec(needs, a=object(), b=1)


def test_an_argument_called_target_is_refused():
    def aims(target="here"):
        return target

    with pytest.raises(TypeError, match="Rename it"):
        spec.spec(aims)


@pytest.mark.parametrize(
    "target",
    [
        "os:system",  # another package
        "aeseg.training.checkpoints:os.system",  # an attribute chain through an import
        "aeseg.training.optimiser:jax.config.update",
        "aeseg.models.encoders.convnet:ConvNet.__init__",  # an attribute of a class
        "aeseg.models.encoders.convnet:nn",  # a module that the module imports
        "aeseg.models.encoders.convnet:Norm",  # a name that the module imports
        "aeseg.data.sources.folder:Path",
        "aeseg.training.optimiser:_assembled",  # private
        "aeseg.spec:_factory",
        "aeseg.data.sources.folder:__builtins__",  # dunder names, builtins
        "aeseg.data.sources.folder:__loader__",
        "aeseg.__main__:main",
        "aeseg.data.sources.folder:eval",
        "builtins:eval",
        "functools:partial",
        "aeseg.training.optimiser:partial",
        "aeseg.training.log:Log",  # its constructor writes files
        "aeseg.training.checkpoints:Checkpoints",
        "aeseg.data.loader:Loader",
        "aeseg.data.sources.folder:recipe",  # functions of other modules
        "aeseg.data.sources.tfds:builder",
        "aeseg.models..encoders.convnet:ConvNet",
        "aeseg.models/../x:Y",
        "aeseg.models.encoders.convnet",
        ":ConvNet",
        "",
        5,
        ["aeseg.models.encoders.convnet:ConvNet"],
    ],
)
def test_a_config_builds_only_parts_of_aeseg(target):
    with pytest.raises(UserError, match=r"only the parts of aeseg|which aeseg does not have"):
        spec.build({"target": target, "command": "true"})


def test_every_constructor_that_a_config_may_call_has_one_name():
    """Every class in the packages of parts is reached through its defining module, and through no other."""
    reached = 0
    for info in pkgutil.walk_packages(aeseg.__path__, "aeseg."):
        if not spec._below(info.name, spec.PARTS):
            continue
        for name, value in vars(importlib.import_module(info.name)).items():
            target = f"{info.name}:{name}"
            if inspect.isclass(value) and value.__module__ == info.name and not name.startswith("_"):
                assert spec.resolve(target) is value
                reached += 1
            elif callable(value) and getattr(value, "__module__", "") != info.name:
                with pytest.raises(UserError):
                    spec.resolve(target)
    assert reached > 40


def test_a_config_of_another_version_is_refused_with_the_reason():
    with pytest.raises(UserError, match="has no argument 'colour'"):
        spec.build(ConfigDict({"target": "aeseg.data.sources.scenes:Scenes", "colour": 1}))
    with pytest.raises(UserError, match="which aeseg does not have"):
        spec.build(ConfigDict({"target": "aeseg.data.sources.scenes:Scenery"}))


def test_a_round_trip_through_json_builds_the_same_object():
    described = spec.spec(ConvNet, widths=(4, 8))
    again = spec.from_json(spec.to_json(described))
    assert spec.build(again) == spec.build(described)
    assert isinstance(spec.build(again), nn.Module)
    assert isinstance(again.widths, tuple)


def test_references_are_resolved_in_json_and_in_build():
    config = ConfigDict({"size": 48})
    config.data = spec.spec(Scenes)
    config.data.height = config.get_ref("size")
    config.size = 96
    assert spec.build(config.data).height == 96
    assert spec.plain(config)["data"]["height"] == 96


def test_differences_name_each_value():
    old, new = ConfigDict({"a": {"b": 1, "gone": 2}}), ConfigDict({"a": {"b": 3, "new": (1,)}})
    assert spec.differences(old, new) == ["config.a.b: 1 -> 3", "config.a.gone: 2 -> (absent)", "config.a.new: (absent) -> [1]"]
    assert spec.differences(spec.spec(ConvNet), spec.from_json(spec.to_json(spec.spec(ConvNet)))) == []


def test_an_unknown_file_name_lists_the_existing_files():
    with pytest.raises(UserError, match=r"aeseg/methods has no 'denoisin' \(did you mean 'denoising'\?\); it has denoising, "):
        spec.recipe("aeseg.methods", "denoisin")


def test_all_fields_of_a_name_follow_one_field_until_they_are_set():
    config = ConfigDict({"dtype": "float32", "method": {"encoder": {"dtype": "float32", "depth": 2}, "head": {"dtype": "float16"}}})
    config.method.necks = (ConfigDict({"dtype": "float32"}),)
    spec.follow(config.method, "dtype", config.get_ref("dtype"))
    config.dtype = "bfloat16"
    assert [part.dtype for part in (config.method.encoder, config.method.head, *config.method.necks)] == ["bfloat16"] * 3
    config.method.head.dtype = "float32"
    assert (config.dtype, config.method.encoder.dtype, config.method.head.dtype) == ("bfloat16", "bfloat16", "float32")
