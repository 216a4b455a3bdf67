"""experiments/benches/loading.py: the cost of loading is how much longer the same steps take."""

from experiments.benches import loading
from experiments.console import cli


def test_the_cost_of_loading_is_measured_in_alternation():
    config = cli.load_config("pretrain:reconstruction,tiny")
    config.batch_size, config.window = 8, (16, 16)
    for split in ("train", "validation"):
        config.data[split].update({"height": 16, "width": 16, "records": 16})
    found = loading.measured("tiny", config, pairs=2, steps=2)
    assert found["pairs"] == 2
    assert found["seconds"] > 0
    assert found["low"] <= found["share"] <= found["high"]
    assert found["share"] > -1
