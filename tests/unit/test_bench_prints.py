"""Fingerprints that the bench of the index keeps in files are those that it was given."""

import numpy as np
import pytest

from infra.bench.print_files import kept_in
from services.matching.recognition.prints import Prints
from tests.drawn import drawn, reference


@pytest.mark.parametrize("sizes", [(2, 0, 3), (1,)])
def test_parts_in_files_are_the_parts_in_a_row(tmp_path, sizes):
    made = [reference(drawn(seed, 160, 120)) for seed in range(sum(sizes))]
    ends = np.cumsum(sizes).tolist()
    parts = [Prints.of(made[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
    kept, joined = kept_in(tmp_path, parts).arrays(), Prints.joined(parts).arrays()
    for name, array in joined.items():
        assert kept[name].dtype == array.dtype, name
        np.testing.assert_array_equal(kept[name], array, err_msg=name)
