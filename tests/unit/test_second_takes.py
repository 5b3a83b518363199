"""Which photographs are registered, and which are searched, to see whether a second take counts as a copy."""

from pathlib import Path

import pytest

from infra.bench.second_takes import groups_of, split


def test_every_second_photograph_of_a_group_is_registered_and_the_others_are_searched(tmp_path: Path) -> None:
    listing = tmp_path / "photos.csv"
    listing.write_text("file,group\nb.jpg,street\na.jpg,street\nc.jpg,street\nalone.jpg,sea\nd.jpg,room\ne.jpg,room\n")
    registered, searched = split(groups_of(listing))
    assert registered == {"a.jpg": "street", "c.jpg": "street", "d.jpg": "room"}
    assert searched == {"b.jpg": "street", "e.jpg": "room"}


def test_a_listing_without_groups_is_refused_by_the_name_of_the_column(tmp_path: Path) -> None:
    listing = tmp_path / "photos.csv"
    listing.write_text("file,licence\na.jpg,CC0\n")
    with pytest.raises(ValueError, match="no column 'group'; got file, licence"):
        groups_of(listing)
