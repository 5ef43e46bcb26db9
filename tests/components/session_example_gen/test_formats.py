"""The exports people have, each on a small file as its vendor writes it."""

import json
import re
from pathlib import Path
from typing import get_args

import polars as pl
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq
import pytest
import yaml

from components.session_example_gen.formats import FORMATS
from components.session_example_gen.splits import SplitWindows
from schemas.events import LogFormat, LogSource
from tests.components.session_example_gen.logs import build

SHOWN = ["user_id", "session_id", "event_type", "item", "leaf", "brand", "price", "split"]


def ga4_event(name: str, microseconds: int, items: list[dict], session: int | None = 77) -> dict:
    """As BigQuery exports to JSON: 64-bit integers are strings."""
    params = [{"key": "page_title", "value": {"string_value": "Shop"}}]
    if session:
        params.append({"key": "ga_session_id", "value": {"int_value": str(session)}})
    return {
        "event_date": "20240301",
        "event_timestamp": str(microseconds),
        "event_name": name,
        "event_params": params,
        "user_pseudo_id": "1.2",
        "device": {"category": "mobile"},
        "items": items,
    }


T0 = 1709287200000000  # 2024-03-01 10:00 UTC
DAY = 86_400_000_000
MUG = {"item_id": "m1", "item_category": "Home", "item_category2": "Mugs", "item_brand": "Acme", "price": 8.5}
CUP = {"item_id": "c1", "item_category": "Home", "item_category2": "", "price": 5, "quantity": "2"}
GA4 = [
    ga4_event("page_view", T0, []),
    ga4_event("view_item_list", T0 + 1, [MUG, CUP]),
    ga4_event("select_item", T0 + 2_000_000, [MUG]),
    ga4_event("view_item", T0 + 2_100_000, [MUG]),
    ga4_event("add_to_cart", T0 + 9_000_000, [CUP], session=None),
    ga4_event("begin_checkout", T0 + 10_000_000, [MUG, CUP]),
    ga4_event("purchase", T0 + DAY, [MUG, CUP], session=78),
    ga4_event("purchase", T0 + DAY + 9_000_000, []),
]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_ga4(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "events_20240301"
    path.write_text("".join(json.dumps(row) + "\n" for row in GA4))
    if kind == "parquet":
        table = pa.json.read_json(path)
        table = table.set_column(
            table.schema.get_field_index("event_timestamp"),
            "event_timestamp",
            table["event_timestamp"].cast("int64"),
        )
        pq.write_table(table, path)
    source = LogSource(
        format="ga4",
        events=[str(path)],
        context_columns=["device"],
        columns={"device": "device.category"},
        max_rejected_share=0.2,
    )
    rows, counts = build(tmp_path / "out", source)
    assert rows.select(SHOWN).rows() == [
        ("1.2", "1.2_77", "click", "m1", "Home > Mugs", "Acme", 8.5, "train"),
        ("1.2", "1.2_77", "detail_view", "m1", "Home > Mugs", "Acme", 8.5, "train"),
        ("1.2", "1.2_1709287202", "add_to_cart", "c1", "Home", "__unknown__", 5.0, "train"),
        ("1.2", "1.2_77", "checkout", "m1", "Home > Mugs", "Acme", 8.5, "train"),
        ("1.2", "1.2_77", "checkout", "c1", "Home", "__unknown__", 5.0, "train"),
        ("1.2", "1.2_78", "purchase", "m1", "Home > Mugs", "Acme", 8.5, "eval"),
        ("1.2", "1.2_78", "purchase", "c1", "Home", "__unknown__", 5.0, "eval"),
    ]
    assert rows["quantity"].to_list()[-1] == 2
    assert set(rows["context_device"]) == {"mobile"}
    assert counts.set_aside == {"ignore": 1, "impression": 2}
    assert counts.rejected == {"no product_id": 1}
    assert counts.read == 11


def test_ga4_without_any_item(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("".join(json.dumps(row) + "\n" for row in [GA4[0], GA4[-1]]))
    with pytest.raises(ValueError, match="no product_id"):
        build(tmp_path / "out", LogSource(format="ga4", events=[str(tmp_path / "log")]))


def test_rees46(tmp_path: Path) -> None:
    (tmp_path / "2019-Oct.csv").write_text(
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
        "2024-03-01 10:00:00 UTC,view,3900821,2053,appliances.environment.water_heater,aqua,33.20,554,a-b\n"
        "2024-03-01 10:00:09 UTC,cart,3900821,2053,appliances.environment.water_heater,aqua,33.20,554,a-b\n"
        "2024-03-02 10:01:00 UTC,purchase,17200506,2053013559792632471,,,543.10,554,a-c\n"
        "2024-03-02 10:01:09 UTC,remove_from_cart,17200506,2053013559792632471,,,543.10,554,a-c\n"
    )
    rows, _ = build(tmp_path / "out", LogSource(format="rees46", events=[str(tmp_path / "*.csv")]))
    heater = "appliances > environment > water_heater"
    price = pl.Series([33.2, 543.1], dtype=pl.Float32).to_list()
    assert rows.select(SHOWN).rows() == [
        ("554", "a-b", "detail_view", "3900821", heater, "aqua", price[0], "train"),
        ("554", "a-b", "add_to_cart", "3900821", heater, "aqua", price[0], "train"),
        ("554", "a-c", "purchase", "17200506", "__unknown__", "__unknown__", price[1], "eval"),
        ("554", "a-c", "remove_from_cart", "17200506", "__unknown__", "__unknown__", price[1], "eval"),
    ]


def test_retailrocket(tmp_path: Path) -> None:
    start = T0 // 1000
    (tmp_path / "events.csv").write_text(
        "timestamp,visitorid,event,itemid,transactionid\n"
        f"{start},257597,view,355908,\n"
        f"{start + 60_000},257597,addtocart,355908,\n"
        f"{start + DAY // 1000},257597,transaction,355908,4000\n"
    )
    (tmp_path / "items.csv").write_text("itemid,category\n355908,1173\n")
    source = LogSource(
        format="retailrocket",
        events=[str(tmp_path / "events.csv")],
        catalog=str(tmp_path / "items.csv"),
        catalog_columns={"product_id": "itemid", "category_path": "category"},
    )
    rows, _ = build(tmp_path / "out", source)
    assert rows.select(SHOWN).rows() == [
        ("257597", "257597_1709287200", "detail_view", "355908", "1173", "__unknown__", None, "train"),
        ("257597", "257597_1709287200", "add_to_cart", "355908", "1173", "__unknown__", None, "train"),
        ("257597", "257597_1709373600", "purchase", "355908", "1173", "__unknown__", None, "eval"),
    ]


def test_taobao(tmp_path: Path) -> None:
    start = T0 // 1_000_000
    (tmp_path / "UserBehavior.csv").write_text(
        f"1,2268318,2520377,pv,{start}\n1,2268318,2520377,fav,{start + 5}\n"
        f"1,2268318,2520377,cart,{start + 9}\n1,2333346,2520771,buy,{start + 86400}\n"
        "1,2333346,2520771,pv,-5\n"
    )
    source = LogSource(format="taobao", events=[str(tmp_path / "UserBehavior.csv")], max_rejected_share=0.2)
    rows, counts = build(tmp_path / "out", source)
    assert rows.select("user_id", "session_id", "event_type", "item", "leaf", "split").rows() == [
        ("1", "1_1709287200", "detail_view", "2268318", "2520377", "train"),
        ("1", "1_1709287200", "add_to_cart", "2268318", "2520377", "train"),
        ("1", "1_1709373600", "purchase", "2333346", "2520771", "eval"),
    ]
    assert counts.set_aside == {"ignore": 1}
    assert counts.rejected == {"event_time is not between 1990 and 2100": 1}


def test_names_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(
        "who,when,what,sku,page\nu1,1709287200,tap,p1,home\nu1,1709373600,bought,p1,cart\nu1,1709373601,scroll,p1,cart\n"
    )
    source = LogSource(
        events=[str(tmp_path / "log.csv")],
        columns={"user_id": "who", "event_time": "when", "event_type": "what", "product_id": "sku"},
        event_types={"tap": "click", "bought": "purchase", "*": "ignore"},
        context_columns=["page"],
    )
    rows, _ = build(tmp_path / "out", source)
    assert rows.select("event_type", "is_click", "context_page").rows() == [
        ("click", True, "home"),
        ("purchase", False, "cart"),
    ]


def test_every_format_of_the_contract_has_its_mapping() -> None:
    assert set(FORMATS) == set(get_args(LogFormat))


def test_the_guide_shows_configurations_that_work() -> None:
    guide = (Path(__file__).resolve().parents[3] / "docs/bring-your-own-data.md").read_text()
    shown = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)]
    assert {LogSource(**config["data"]).format for config in shown} == set(FORMATS)
    assert all(SplitWindows(**config["split"]) for config in shown)
