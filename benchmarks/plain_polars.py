"""What one would write without Beam: sessions, similarity, labels and features of a log in one polars frame.

The yardstick of data_stage.py. Straightforward window expressions; nothing here is used by the product.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from scipy import sparse

from benchmarks.data_stage import EVAL_START, GAP_MINUTES

US = ["user_id", "session_id"]
WEIGHT = {"click": 1.0, "add_to_cart": 3.0, "purchase": 5.0}


def sessions_of(data: Path) -> pl.DataFrame:
    """Sorted, de-duplicated events with their catalog facts."""
    catalog = pl.read_parquet(data / "catalog.parquet").rename(
        {"item_group_id": "item", "category_path": "leaf"}
    )
    events = (
        pl.read_parquet(data / "events" / "*.parquet")
        .join(catalog, on="product_id", how="left")
        .drop("product_id")
        .sort("user_id", "event_time")
        .with_columns(
            pl.col("user_id", "session_id", "item", "leaf", "brand", "advertiser").cast(pl.Categorical)
        )
    )
    within = pl.duration(seconds=2)
    clicked = pl.col("event_type").is_in(["click", "detail_view"])
    step = pl.col("event_time").diff().over([*US, "item", clicked])
    bought_again = (pl.col("event_type") == "purchase") & (
        pl.col("event_time").diff().over([*US, "item", "event_type"]) <= within
    )
    return (
        events.with_columns(is_click=clicked & (step > within).fill_null(True))
        .filter(~bought_again.fill_null(False))
        .with_columns(
            split=pl.when(pl.col("event_time").dt.date() < EVAL_START)
            .then(pl.lit("train"))
            .otherwise(pl.lit("eval")),
            day=pl.col("event_time").dt.date().to_physical(),
        )
        .with_row_index("row")
    )


def similarity_of(train: pl.DataFrame) -> pl.DataFrame:
    """Cosine of leaves that share users: columns leaf, leaf_b, alpha (both directions and the diagonal)."""
    weight = (
        pl.when("is_click")
        .then(1.0)
        .otherwise(pl.col("event_type").replace_strict({**WEIGHT, "click": 0.0}, default=0.0))
    )
    v = train.select("user_id", "leaf", weight=weight).filter(pl.col("weight") > 0)
    v = v.group_by("user_id", "leaf").agg(pl.col("weight").sum())
    leaves = v["leaf"].unique()
    column = v["leaf"].cast(pl.String).cast(pl.Enum(leaves.cast(pl.String))).to_physical().to_numpy()
    user = v["user_id"].to_physical().to_numpy()
    matrix = sparse.csr_matrix((v["weight"].to_numpy(), (user, column)))
    norm = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=0)).ravel())
    gram = (matrix.T @ matrix).tocoo()
    return pl.DataFrame(
        {
            "leaf": leaves.gather(gram.row),
            "leaf_b": leaves.gather(gram.col),
            "alpha": (gram.data / (norm[gram.row] * norm[gram.col])).astype(np.float32),
        }
    )


def click_examples(events: pl.DataFrame, similarity: pl.DataFrame, data: Path) -> pl.DataFrame:
    """All columns of a click example."""
    featured = _history(events)
    anchors = featured.filter(pl.col("is_click") & pl.col("_first_of_item"))
    anchors = anchors.join(_labels(events, anchors, similarity), on="row", how="left", maintain_order="left")
    for action, name in (("add_to_cart", "y_cart"), ("checkout", "y_checkout")):
        done = _actions(events, anchors, action, name)
        anchors = anchors.join(done, on="row", how="left", maintain_order="left")
    train = (pl.col("split") == "train") & (pl.col("y_cabb") == 1)
    anchors = anchors.with_columns(
        pl.col("y_caba", "y_cabb", "last_click_credit", "^y_(cart|checkout)_[ab]$").fill_null(0.0)
    )
    ends = events.group_by(US).agg(
        _end=pl.col("event_time").max(), _goes_on=(pl.col("split") == "eval").any()
    )
    gap = pl.duration(minutes=GAP_MINUTES)
    last = events["event_time"].max()
    boundary = pl.lit(EVAL_START).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    mature = (
        pl.when(pl.col("split") == "train")
        .then(~pl.col("_goes_on") & (pl.col("_end") + gap <= boundary))
        .otherwise(pl.col("_end") + gap <= last)
    )
    anchors = anchors.join(ends, on=US, how="left", maintain_order="left")
    anchors = _popularity(events, anchors)
    anchors = anchors.filter(mature)
    mean_alpha = anchors.filter(train)["alpha"].mean()
    price = pl.read_parquet(data / "catalog.parquet").filter(pl.col("price") > 0)
    price = price.group_by(pl.col("category_path").alias("leaf_name")).agg(leaf_price=pl.col("price").mean())
    return (
        anchors.with_columns(leaf_name=pl.col("leaf").cast(pl.String))
        .join(price, on="leaf_name", how="left", maintain_order="left")
        .with_columns(
            pl.col("alpha").fill_null(mean_alpha),
            y_any=pl.max_horizontal("y_caba", "y_cabb"),
            price_to_leaf=pl.col("price") / pl.col("leaf_price"),
            category_top=pl.col("leaf_name").str.split(" > ").list.first(),
            hour_of_day=pl.col("event_time").dt.hour().cast(pl.Int64),
            day_of_week=(pl.col("event_time").dt.weekday() - 1).cast(pl.Int64),
            event_time_us=pl.col("event_time").dt.epoch("us"),
            context_device=pl.col("device"),
            row_weight=pl.lit(1.0),
            user_activity=pl.col("user_clicks").cut([0, 4, 19], labels=["first", "2-5", "6-20", "over 20"]),
        )
        .drop(
            "row", "is_click", "event_type", "event_time", "device", "day", "leaf_name", "leaf_price", "_end"
        )
        .drop("_goes_on", "_first_of_item")
    )


def _before(flag: pl.Expr, by: list[str]) -> pl.Expr:
    return (flag.cast(pl.Int32).cum_sum() - flag.cast(pl.Int32)).over(by).cast(pl.Float32)


def _since(time: pl.Expr, by: list[str]) -> pl.Expr:
    elapsed = (pl.col("event_time") - time.over(by)).dt.total_microseconds() / 1e6
    return elapsed.fill_null(-1.0).cast(pl.Float32)


def _history(events: pl.DataFrame) -> pl.DataFrame:
    click, time = pl.col("is_click"), pl.col("event_time")
    of = {
        kind: pl.col("event_type") == kind for kind in ("detail_view", "add_to_cart", "checkout", "purchase")
    }
    us, ul, ui, sl = US, ["user_id", "leaf"], ["user_id", "item"], [*US, "leaf"]
    events = events.with_columns(
        _first_of_item=(_before(click, [*US, "item"]) == 0) & click,
        _first_of_leaf=(_before(click, sl) == 0) & click,
        _first_of_session=pl.int_range(pl.len()).over(us) == 0,
        _new_session=(pl.col("session_id") != pl.col("session_id").shift(1)).over("user_id").fill_null(False),
    )
    events = events.with_columns(
        session_clicks=_before(click, us),
        session_detail_views=_before(of["detail_view"], us),
        session_carts=_before(of["add_to_cart"], us),
        session_cart_removals=pl.lit(0.0, pl.Float32),
        session_checkouts=_before(of["checkout"], us),
        session_purchases=_before(of["purchase"], us),
        session_items=_before(pl.col("_first_of_item"), us),
        session_leaves=_before(pl.col("_first_of_leaf"), us),
        session_leaf_clicks=_before(click, sl),
        session_leaf_carts=_before(of["add_to_cart"], sl),
        user_sessions=_before(pl.col("_first_of_session"), ["user_id"]) - (~pl.col("_first_of_session")),
        user_clicks=_before(click, ["user_id"]),
        user_carts=_before(of["add_to_cart"], ["user_id"]),
        user_purchases=_before(of["purchase"], ["user_id"]),
        **{
            f"user_{name}_{what}": _before(flag, by)
            for name, by in (("item", ui), ("leaf", ul))
            for what, flag in (("clicks", click), ("carts", of["add_to_cart"]), ("purchases", of["purchase"]))
        },
        session_age_s=_since(time.first(), us),
        since_event_s=_since(time.shift(1), ["user_id"]),
        since_session_s=_since(pl.when("_new_session").then(time.shift(1)).forward_fill(), ["user_id"]),
        since_purchase_s=_since(pl.when(of["purchase"]).then(time).forward_fill().shift(1), ["user_id"]),
        since_item_s=_since(time.shift(1), ui),
        since_leaf_s=_since(time.shift(1), ul),
        user_age_s=_since(time.first(), ["user_id"]),
    )
    events = events.with_columns(click_position=pl.col("session_items") + 1)
    clicks = events.filter("is_click").select(
        "row",
        *(
            pl.concat_list([pl.col(name).shift(k).over("user_id") for k in range(1, 21)])
            .list.drop_nulls()
            .alias(to)
            for name, to in (("item", "recent_items"), ("leaf", "recent_leaves"))
        ),
    )
    return events.drop("_first_of_leaf", "_first_of_session", "_new_session").join(
        clicks, on="row", how="left", maintain_order="left"
    )


def _labels(events: pl.DataFrame, anchors: pl.DataFrame, similarity: pl.DataFrame) -> pl.DataFrame:
    bought = events.filter(pl.col("event_type") == "purchase").select(
        *US, row_b="row", item_b="item", leaf_b="leaf", split_b="split"
    )
    pairs = anchors.select("row", *US, "item", "leaf", "split").join(bought, on=US)
    pairs = pairs.filter(pl.col("row_b") > pl.col("row"))
    clicks = events.filter("is_click").select(*US, "item", click="row")
    last = (
        bought.select(*US, "row_b")
        .join(clicks, on=US)
        .filter(pl.col("click") < pl.col("row_b"))
        .group_by(*US, "row_b")
        .agg(pl.col("item").sort_by("click").last().alias("credited"))
    )
    pairs = pairs.join(last.select("row_b", "credited"), on="row_b").filter(
        (pl.col("split") == "eval") | (pl.col("split_b") == "train")
    )
    items = (
        pairs.sort("row_b")
        .group_by("row", "item", "leaf", "item_b")
        .agg(pl.col("leaf_b").last(), last_click=(pl.col("credited") == pl.col("item")).any())
    )
    other = pl.col("item") != pl.col("item_b")
    return (
        items.join(similarity, on=["leaf", "leaf_b"], how="left")
        .group_by("row")
        .agg(
            y_caba=(~other).any().cast(pl.Float64),
            y_cabb=other.any().cast(pl.Float64),
            last_click_credit=pl.col("last_click").any().cast(pl.Float64),
            alpha=pl.col("alpha").fill_null(0.0).filter(other).mean(),
        )
    )


def _actions(events: pl.DataFrame, anchors: pl.DataFrame, action: str, name: str) -> pl.DataFrame:
    done = events.filter(pl.col("event_type") == action).select(
        *US, row_b="row", item_b="item", split_b="split"
    )
    pairs = anchors.select("row", *US, "item", "split").join(done, on=US)
    seen = (pl.col("split") == "eval") | (pl.col("split_b") == "train")
    same = pl.col("item") == pl.col("item_b")
    return (
        pairs.filter((pl.col("row_b") > pl.col("row")) & seen)
        .group_by("row")
        .agg(
            same.any().cast(pl.Float64).alias(f"{name}_a"), (~same).any().cast(pl.Float64).alias(f"{name}_b")
        )
    )


def _popularity(events: pl.DataFrame, anchors: pl.DataFrame) -> pl.DataFrame:
    gap = pl.duration(minutes=GAP_MINUTES)
    anchors = anchors.with_columns(
        _closed=(pl.col("_end") + gap - pl.duration(microseconds=1)).dt.date().to_physical()
    )
    first_day = events.filter("is_click").select(pl.col("day").min()).item()
    for kind in ("item", "leaf", "advertiser"):
        made = events.filter("is_click").group_by(kind, "day").agg(clicks=pl.len())
        closed = anchors.group_by(kind, pl.col("_closed").alias("day")).agg(
            closed=pl.len(), caba=pl.col("y_caba").sum(), cabb=pl.col("y_cabb").sum()
        )
        running = (
            made.join(closed, on=[kind, "day"], how="full", coalesce=True)
            .fill_null(0)
            .sort(kind, "day")
            .with_columns(pl.col("clicks", "closed", "caba", "cabb").cast(pl.Float64).cum_sum().over(kind))
            .sort("day")
        )
        for back, suffix in ((1, "_to"), (8, "_7"), (29, "_28")):
            anchors = (
                anchors.with_columns(_at=pl.col("day") - back)
                .sort("_at")
                .join_asof(
                    running,
                    left_on="_at",
                    right_on="day",
                    by=kind,
                    suffix=f"_{suffix}",
                    check_sortedness=False,
                )
                .rename({name: f"{kind}_{name}{suffix}" for name in ("clicks", "closed", "caba", "cabb")})
                .drop("_at", f"day_{suffix}", strict=False)
            )
        anchors = anchors.with_columns(pl.col(f"^{kind}_(clicks|closed|caba|cabb)_(to|7|28)$").fill_null(0.0))
        anchors = anchors.with_columns(
            (pl.col(f"{kind}_{name}_to") - pl.col(f"{kind}_{name}_28")).alias(f"_{kind}_{name}")
            for name in ("clicks", "closed", "caba", "cabb")
        )
        if kind == "item":
            anchors = anchors.with_columns(
                item_clicks_7d=(pl.col("item_clicks_to") - pl.col("item_clicks_7")) * _scale(7, first_day)
            )
        anchors = anchors.drop(pl.selectors.matches(f"^{kind}_(clicks|closed|caba|cabb)_(to|7|28)$"))
    rate = {}
    for outcome in ("caba", "cabb"):
        leaf = (pl.col(f"_leaf_{outcome}") + 5.0) / (pl.col("_leaf_closed") + 100)
        rate[f"leaf_{outcome}_rate_28d"] = leaf
        rate[f"item_{outcome}_rate_28d"] = (pl.col(f"_item_{outcome}") + 20 * leaf) / (
            pl.col("_item_closed") + 20
        )
        rate[f"advertiser_{outcome}_rate_28d"] = (pl.col(f"_advertiser_{outcome}") + 5.0) / (
            pl.col("_advertiser_closed") + 100
        )
    return (
        anchors.with_columns(
            **rate,
            **{
                f"{kind}_clicks_28d": pl.col(f"_{kind}_clicks") * _scale(28, first_day)
                for kind in ("item", "leaf", "advertiser")
            },
        )
        .drop(pl.selectors.matches("^_(item|leaf|advertiser)_|^_closed$"))
        .sort("row")
    )


def _scale(days: int, first_day: int) -> pl.Expr:
    return days / (pl.col("day") - first_day).clip(1, days)


def write(examples: pl.DataFrame, out: Path) -> None:
    """One file of tf.Examples per split."""
    from components.similarity_transform.click_examples import write_examples

    for split in ("train", "eval"):
        mine = examples.filter(pl.col("split") == split).drop("split")
        columns = {}
        for name, kind in mine.schema.items():
            column = mine[name]
            if isinstance(kind, pl.List):
                columns[name] = column.cast(pl.List(pl.String)).to_arrow().cast(pa.list_(pa.string()))
            elif kind.is_numeric():
                columns[name] = column.cast(pl.Int64 if kind == pl.Int64 else pl.Float32).to_numpy()
            else:
                columns[name] = column.cast(pl.String).to_arrow().cast(pa.string())
        write_examples(columns, out / f"Split-{split}" / "examples.gz")
