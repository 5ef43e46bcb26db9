"""What a product of a leaf costs in the catalog, to tell a dear mug from a cheap one."""

from __future__ import annotations

import polars as pl


def mean_leaf_prices(catalog: pl.DataFrame) -> dict[str, float]:
    """Mean price by leaf over the products that have a price above 0 and a category.

    Args:
        catalog: columns leaf and price, one row per product.

    >>> mean_leaf_prices(pl.DataFrame({"leaf": ["Mugs", "Mugs", "Mugs"], "price": [4.0, 8.0, 0.0]}))
    {'Mugs': 6.0}
    """
    priced = catalog.filter(pl.col("leaf").is_not_null() & (pl.col("price") > 0))
    means = priced.group_by("leaf").agg(pl.col("price").cast(pl.Float64).mean()).sort("leaf")
    return dict(means.rows())
