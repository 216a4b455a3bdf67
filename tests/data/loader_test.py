import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from aeseg.data import transforms as t
from aeseg.data.loader import Loader, evaluation_batches, stacked
from aeseg.data.sources.scenes import Scenes
from aeseg.types import IGNORE, UserError

AUGMENTATION = (t.RandomScale(0.5, 1.5), t.RandomCrop(24, 24), t.HorizontalFlip())


@dataclass(frozen=True)
class Numbered:
    """Record i is an image of i."""

    records: int
    sizes: tuple = ((4, 4),)

    def __len__(self):
        return self.records

    def __getitem__(self, index):
        size = self.sizes[index % len(self.sizes)]
        return {"image": np.full((*size, 1), index, np.uint8), "label": np.zeros(size, np.uint8), "name": f"n{index}"}


@dataclass(frozen=True)
class Broken(Numbered):
    def __getitem__(self, index):
        raise UserError(f"n{index} cannot be read.")


def numbers(batch):
    return batch["image"][:, 0, 0, 0].tolist()


def assert_same(one, other):
    assert sorted(one) == sorted(other)
    for key in one:
        np.testing.assert_array_equal(one[key], other[key])


def loader(**changes):
    return Loader(**{"source": Scenes(records=20, height=32, width=32), "transforms": AUGMENTATION, "batch_size": 8, **changes})


def test_a_batch_has_the_wire_dtypes():
    batch = loader()[0]
    kinds = {key: (value.dtype, value.shape) for key, value in batch.items()}
    assert kinds == {
        "image": (np.uint8, (8, 24, 24, 3)),
        "label": (np.int32, (8, 24, 24)),
        "depth": (np.float32, (8, 24, 24)),
        "valid": (bool, (8,)),
    }
    assert batch["valid"].all()


def test_a_batch_is_a_function_of_seed_and_step():
    assert_same(loader()[7], loader()[7])
    assert (loader()[7]["image"] != loader()[8]["image"]).any()
    assert (loader()[7]["image"] != loader(seed=1)[7]["image"]).any()


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_batches_from_a_step_on_are_the_same_with_any_number_of_threads(threads):
    one = loader()
    for step, batch in zip(range(5, 11), loader(threads=threads).batches(5), strict=False):
        assert_same(batch, one[step])


def test_batches_are_the_same_from_worker_processes():
    one = loader(batch_size=2)
    batches = loader(batch_size=2, workers=2).batches(3)
    for step, batch in zip(range(3, 8), batches, strict=False):
        assert_same(batch, one[step])
        assert type(batch["image"]) is np.ndarray
    batches.close()


@pytest.mark.parametrize("processes", [2, 4])
def test_each_process_has_its_contiguous_rows_of_the_same_batch(processes):
    whole = loader()[3]
    parts = [loader(process_index=index, process_count=processes)[3] for index in range(processes)]
    assert_same({key: np.concatenate([part[key] for part in parts]) for key in whole}, whole)


def test_each_pass_has_each_record_once_in_a_new_order():
    steps = Loader(Numbered(12), (), 4)
    passes = [[n for step in range(3 * turn, 3 * turn + 3) for n in numbers(steps[step])] for turn in range(3)]
    assert all(sorted(one) == list(range(12)) for one in passes)
    assert len({tuple(one) for one in passes}) == 3


def test_batches_continue_across_the_end_of_a_pass():
    steps = Loader(Numbered(5), (), 3)
    stream = [n for step in range(5) for n in numbers(steps[step])]
    assert all(sorted(stream[5 * turn : 5 * turn + 5]) == list(range(5)) for turn in range(3))


def test_each_pass_augments_a_record_differently():
    one = Loader(Scenes(records=1, height=32, width=32), AUGMENTATION, 1)
    assert (one[0]["image"] != one[1]["image"]).any()


@pytest.mark.parametrize("records", [1, 2])
def test_a_source_smaller_than_a_batch_repeats(records):
    assert set(numbers(Loader(Numbered(records), (), 8)[0])) == set(range(records))


def test_few_batches_are_made_ahead():
    seen = []

    class Watched(Numbered):
        def __getitem__(self, index):
            seen.append(index)
            return super().__getitem__(index)

    batches = Loader(Watched(100), (), 2, threads=2).batches()
    next(batches)
    batches.close()
    assert len(seen) <= 2 * 8


def test_evaluation_reads_each_record_once_and_fills_the_last_batch():
    batches = list(evaluation_batches(Numbered(10), (), 4))
    assert [numbers(batch) for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 0]]
    assert batches[2]["valid"].tolist() == [True, True, False, False]
    assert (batches[2]["label"][2:] == IGNORE).all()


def test_evaluation_has_the_same_number_of_batches_on_each_process():
    parts = [list(evaluation_batches(Numbered(9), (), 4, index, 2)) for index in range(2)]
    assert [[numbers(batch) for batch in part] for part in parts] == [[[0, 1], [4, 5], [8, 0]], [[2, 3], [6, 7], [0, 0]]]
    assert [batch["valid"].tolist() for batch in parts[1]] == [[True, True], [True, True], [False, False]]
    assert parts[1][2]["image"].dtype == np.uint8


def test_evaluation_gives_each_record_its_index_in_the_source_on_every_process():
    whole = [batch["index"].tolist() for batch in evaluation_batches(Numbered(5), (), 3)]
    assert whole == [[0, 1, 2], [3, 4, 5]]
    parts = [list(evaluation_batches(Numbered(5), (), 4, process, 2)) for process in range(2)]
    assert [[batch["index"].tolist() for batch in part] for part in parts] == [[[0, 1], [4, 5]], [[2, 3], [6, 7]]]


def test_the_records_of_a_step_are_named():
    ours = Loader(Numbered(10), (), 4)
    order = [int(array[0, 0, 0]) for array in ours[3]["image"]]
    assert ours.names(3) == [Numbered(10)[index]["name"] for index in order]


def test_evaluation_is_repeatable():
    one, other = (list(evaluation_batches(Scenes(records=5, height=32, width=32), AUGMENTATION, 2)) for _ in range(2))
    for a, b in zip(one, other, strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_record_reaches_the_loop_unchanged(workers):
    with pytest.raises(UserError, match="cannot be read"):
        next(Loader(Broken(3), (), 2, workers=workers).batches())


def test_records_of_different_sizes_are_named_with_the_remedy():
    source = Numbered(2, sizes=((4, 4), (4, 6)))
    with pytest.raises(UserError) as caught:
        stacked([source[0], source[1]])
    assert str(caught.value) == (
        "A batch needs records of one size; image is 4x4x1 in n0 and 4x6x1 in n1. Add RandomCrop or Resize to the transforms."
    )
    with pytest.raises(UserError, match="one size"):
        Loader(source, (), 2)[0]
    assert Loader(source, (t.RandomCrop(4, 4),), 2)[0]["image"].shape == (2, 4, 4, 1)


def test_labels_on_some_records_only_are_named():
    one, other = Numbered(2)[0], Numbered(2)[1]
    del other["label"]
    for records in ([one, other], [other, one]):
        with pytest.raises(UserError, match="n0 has a label and record n1 has none"):
            stacked(records)


def test_a_label_of_another_size_than_its_image_is_named():
    class Torn(Numbered):
        def __getitem__(self, index):
            return {**super().__getitem__(index), "label": np.zeros((4, 5), np.uint8)}

    with pytest.raises(UserError, match="n0 has an image of 4x4 and a label of 4x5"):
        Loader(Torn(1), (), 1)[0]


def test_an_image_that_is_not_uint8_is_named():
    class Floats(Numbered):
        def __getitem__(self, index):
            return {"image": np.zeros((4, 4, 3)), "name": "f"}

    with pytest.raises(UserError, match=r"record f should be uint8 or uint16 \[h w c\]; got float64 \(4, 4, 3\)"):
        Loader(Floats(1), (), 1)[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": Numbered(0)}, "Numbered has no records"),
        ({"batch_size": 6, "process_count": 4}, "multiple of the number of processes, 4; got 6. The nearest that fits is 8"),
        ({"batch_size": 0}, "got 0"),
        ({"process_index": 2, "process_count": 2}, r"process_index must lie in 0\.\.1; got 2"),
        ({"seed": -1}, "got -1"),
        ({"threads": -1}, "got -1 and 0"),
    ],
)
def test_bad_arguments_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        loader(**changes)


def test_an_empty_source_cannot_be_evaluated():
    with pytest.raises(UserError, match="no records"):
        evaluation_batches(Numbered(0), (), 2)


def test_resuming_needs_only_the_step():
    through = list(itertools.islice(loader().batches(), 6))
    resumed = list(itertools.islice(loader().batches(4), 2))
    for a, b in zip(through[4:], resumed, strict=True):
        assert_same(a, b)
