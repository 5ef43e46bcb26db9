"""The catalog: what a product is (item group, category, brand, advertiser, price)."""

from __future__ import annotations

import polars as pl

from components.session_example_gen.contract_rows import LONGEST_TEXT, number, text
from components.session_example_gen.formats import Layout, layout_of
from components.session_example_gen.readers import read_whole
from schemas.errors import InputError
from schemas.events import CATALOG_FIELDS, CATEGORY_JOINER, LogSource

CATALOG_SCHEMA = {
    "product_id": pl.String,
    "leaf": pl.String,
    "item_group_id": pl.String,
    "brand": pl.String,
    "advertiser": pl.String,
    "price": pl.Float32,
}


def read_catalog(source: LogSource) -> pl.DataFrame:
    """One row per product with the columns of CATALOG_SCHEMA; no rows if the source has no catalog.

    A product listed twice keeps the first value of each field.

    Raises:
        InputError: the file is not readable, or lists a product in two item groups.
    """
    if source.catalog is None:
        return pl.DataFrame(schema=CATALOG_SCHEMA)
    columns = {name: name for name in ("product_id", *CATALOG_FIELDS, "price")} | source.catalog_columns
    named = tuple(dict.fromkeys([columns["product_id"], *source.catalog_columns.values()]))
    layout = Layout(
        columns=columns,
        event_types={},
        category_separator=layout_of(source).category_separator,
        required=tuple(column.split(".", 1)[0] for column in named),
        read=tuple(dict.fromkeys(column.split(".", 1)[0] for column in columns.values())),
    )
    raw = read_whole(source.catalog, layout)
    price, _ = number(raw, columns["price"])
    products = raw.select(
        text(raw, columns["product_id"]).alias("product_id"),
        normalised_path(text(raw, columns["category_path"]), layout.category_separator).alias("leaf"),
        *(text(raw, columns[name]).alias(name) for name in ("item_group_id", "brand", "advertiser")),
        pl.when(price.is_finite() & (price >= 0)).then(price).cast(pl.Float32).alias("price"),
    ).filter(pl.col("product_id").is_not_null() & (pl.col("product_id").str.len_bytes() <= LONGEST_TEXT))
    groups = products.group_by("product_id", maintain_order=True).agg(
        pl.col("item_group_id").drop_nulls().unique()
    )
    torn = groups.filter(pl.col("item_group_id").list.len() > 1)
    if torn.height:
        product, in_groups = torn.row(0)
        raise InputError(
            f"{source.catalog} lists product {product!r} in the item groups {', '.join(sorted(in_groups))} "
            f"({torn.height} such products); a product belongs to one"
        )
    return products.group_by("product_id", maintain_order=True).agg(pl.all().drop_nulls().first())


def normalised_path(path: pl.Expr, separator: str) -> pl.Expr:
    """A path with its levels trimmed, empty ones left out, joined by CATEGORY_JOINER; null if none is left.

    >>> paths = pl.DataFrame({"path": ["Home>Kitchen > ", "Home", " > ", None]})
    >>> paths.select(normalised_path(pl.col("path"), ">")).to_series().to_list()
    ['Home > Kitchen', 'Home', None, None]
    """
    levels = path.str.split(separator).list.eval(pl.element().str.strip_chars())
    joined = levels.list.eval(pl.element().filter(pl.element() != "")).list.join(CATEGORY_JOINER)
    return pl.when(joined != "").then(joined)
