import pickle
import threading
import zlib
from dataclasses import dataclass, field

import numpy as np
import pytest

from aeseg.data.sources.scenes import Scenes
from aeseg.data.wrappers import Cached, Readable, Subset, Tolerant
from aeseg.types import Class, UserError

EACH = 64 * 3 + len(zlib.compress(bytes(64), 1))
"""Bytes of a cached record of `Listed` with 64 equal labels."""
CLASSES = (Class("a", (0, 0, 0)), Class("b", (1, 1, 1)), Class("c", (2, 2, 2)))


@dataclass
class Listed:
    """Small records with these labels; those in `corrupt` cannot be read.  Counts how often each was."""

    labels: list
    corrupt: tuple = ()
    classes: tuple = CLASSES
    reads: list = field(default_factory=list)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        self.reads.append(int(index))
        if index in self.corrupt:
            raise UserError(f"{index}.png cannot be read.")
        label = np.array(self.labels[index], np.uint8).reshape(1, -1)
        return {"image": np.full((*label.shape, 3), index, np.uint8), "label": label, "name": f"set/{index}.png"}


def places(source):
    return [int(source[i]["image"][0, 0, 0]) for i in range(len(source))]


def test_smaller_fractions_lie_inside_larger_ones():
    full = Listed([[0]] * 100)
    tenth, quarter, all_of_it = (places(Subset(full, fraction)) for fraction in (0.1, 0.25, 1.0))
    assert (len(tenth), len(quarter), len(all_of_it)) == (10, 25, 100)
    assert set(tenth) < set(quarter)
    assert tenth == sorted(tenth)
    assert places(Subset(full, 0.1, seed=1)) != tenth


def test_a_subset_keeps_at_least_one_record_and_the_classes():
    subset = Subset(Listed([[0]] * 5), 0.01)
    assert len(subset) == 1
    assert subset.classes == CLASSES


@pytest.mark.parametrize("fraction", [0.0, 1.5, -0.1])
def test_a_fraction_outside_its_range_is_named(fraction):
    with pytest.raises(UserError, match=f"got {fraction}"):
        Subset(Listed([[0]]), fraction)


def test_the_cache_reads_each_record_once_and_returns_the_same_record():
    source = Listed([[0, 1]] * 4)
    cached = Cached(source, 1.0)
    assert places(cached) == places(cached) == [0, 1, 2, 3]
    assert source.reads == [0, 1, 2, 3]
    assert cached.classes == CLASSES


def test_the_cache_stops_at_its_bound():
    source = Listed([[0] * 64] * 10)
    cached = Cached(source, 3.5 * EACH / 2**30)
    for _ in range(3):
        places(cached)
    assert cached.held == 3 * EACH
    assert len(source.reads) == 3 + 3 * 7


def test_the_cache_estimates_its_size():
    assert Cached(Scenes(records=1000), 2.0).text == "RAM cache: 1000 of 1000 records, 0.01 of at most 2.00 GiB"
    assert Cached(Scenes(records=1000), 0.01).text == "RAM cache: 796 of 1000 records, 0.01 of at most 0.01 GiB"


def test_a_cached_record_is_read_only():
    cached = Cached(Listed([[0] * 100]), 1.0)
    cached[0]["name"] = "another"
    for key, entry in cached[0].items():
        if key == "name":
            assert entry == "set/0.png"
        else:
            with pytest.raises(ValueError, match="read-only"):
                entry[0, 0] = 3


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int32, np.float32, np.dtype(">u2")])
def test_the_cache_compresses_planes_without_loss(dtype):
    planes = np.random.default_rng(0).integers(0, 2, (5, 6, 7)).astype(dtype).repeat(8, 1).repeat(8, 2)
    cached = Cached([{"label": plane[::-1], "image": plane[..., None]} for plane in planes], 1.0)
    for _ in range(2):
        for plane, record in zip(planes, map(cached.__getitem__, range(5)), strict=True):
            np.testing.assert_array_equal(record["label"], plane[::-1])
            assert record["label"].dtype == plane.dtype
    assert planes.nbytes < cached.held < 1.5 * planes.nbytes


def test_the_cache_leaves_planes_that_compression_does_not_halve():
    noise = np.random.default_rng(0).random((3, 20, 20))
    planes = [{"depth": noise[0], "names": np.array([["a"]], object)}, {"depth": noise[1]}, {"depth": np.zeros((20, 20))}]
    cached = Cached(planes, 1.0)
    for _ in range(2):
        assert all(cached[i]["depth"] is planes[i]["depth"] for i in range(3))
        assert cached[0]["names"][0, 0] == "a"
    assert cached.held == noise.nbytes + planes[0]["names"].nbytes


def test_threads_may_share_a_cache():
    cached = Cached(Listed([[0] * 64] * 50), 20 * EACH / 2**30)
    wrong = []

    def read():
        wrong.extend(i for i in range(50) if cached[i]["image"][0, 0, 0] != i)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert cached.held == 20 * EACH


def test_a_cache_travels_to_a_worker_empty():
    cached = Cached(Scenes(records=3), 1.0)
    cached[0]
    there = pickle.loads(pickle.dumps(cached))
    assert (there.held, there.gib, len(there)) == (0, 1.0, 3)
    np.testing.assert_array_equal(there[1]["image"], cached[1]["image"])


def test_a_corrupt_record_is_replaced_by_the_next_good_one():
    tolerant = Tolerant(Listed([[0]] * 5, corrupt=(1, 2, 4)))
    assert places(tolerant) == places(tolerant) == [0, 3, 3, 3, 0]
    assert tolerant.skipped == ("1.png cannot be read.", "2.png cannot be read.", "4.png cannot be read.")


def test_skipped_records_are_seen_through_other_wrappers():
    wrapped = Cached(Subset(Tolerant(Listed([[0]] * 3, corrupt=(0,))), 1.0), 1.0)
    places(wrapped)
    assert wrapped.skipped == ("0.png cannot be read.",)
    assert Cached(Listed([[0]]), 1.0).skipped == ()


def test_a_source_with_only_corrupt_records_is_an_error():
    with pytest.raises(UserError, match=r"None of the 2 records can be read.*0\.png cannot be read\. 1\.png cannot be read\."):
        Tolerant(Listed([[0]] * 2, corrupt=(0, 1)))[0]


def test_scoring_leaves_out_corrupt_records():
    readable = Readable(Listed([[0]] * 4, corrupt=(1, 3)))
    assert places(readable) == [0, 2]
    assert readable.skipped == ("1.png cannot be read.", "3.png cannot be read.")
    with pytest.raises(UserError, match="None of the 1 records can be read"):
        Readable(Listed([[0]], corrupt=(0,)))


def test_only_corrupt_records_are_skipped():
    with pytest.raises(IndexError, match=r"records 0\.\.1; got 2"):
        Tolerant(Scenes(records=2))[2]
    with pytest.raises(TypeError):
        Tolerant(Listed([[0], None]))[1]
