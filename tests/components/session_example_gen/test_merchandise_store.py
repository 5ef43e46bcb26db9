"""The logs of a real store, where every count is known."""

from pathlib import Path

import polars as pl
import pytest

from components.session_example_gen.splits import SplitWindows
from schemas.events import LogSource
from tests import real_store
from tests.components.session_example_gen.logs import build


@pytest.mark.slow
@real_store.needed
def test_every_event_of_the_store_is_where_it_belongs(tmp_path: Path) -> None:
    source = LogSource(
        events=[str(real_store.FOLDER / "events/*.parquet")],
        catalog=str(real_store.FOLDER / "catalog.parquet"),
        context_columns=["channel", "device", "country"],
        time_zone="America/Los_Angeles",
    )
    windows = SplitWindows(eval_start="2016-10-01", eval_end="2016-10-10")
    rows, counts = build(tmp_path / "out", source, windows, partitions=16)
    assert counts.read == 6_851_882
    assert counts.set_aside == {"impression": 6_503_046}
    assert counts.rejected == {}
    assert counts.outside_window == 0
    keys = ["user_id", "session_id"]
    purchases = rows.filter(pl.col("event_type") == "purchase")
    assert purchases.select(*keys, "product_id").n_unique() == 7_635
    assert purchases.height < 8_000  # of 15,734 logged lines; the rest are orders shown again later
    clicks = rows.filter(pl.col("event_type").is_in(["click", "detail_view"]))
    assert clicks.select(*keys, "item").n_unique() == 78_561
    assert rows.filter("is_click").select(*keys, "item").n_unique() == 78_561
    assert rows.select(keys).n_unique() == counts.sessions
    assert rows["user_id"].n_unique() == counts.users
