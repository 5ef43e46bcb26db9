"""The products of a simulated store: items with variants, brands, advertisers, prices and hidden quality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from simulator import measured
from simulator.taxonomy import Taxonomy
from simulator.worlds import World

BRANDS_PER_DEPARTMENT = 6
ADVERTISERS = 40
SIZES = ("XS", "S", "M", "L", "XL", "XXL")
OPENINGS = (
    "Nor",
    "Vel",
    "Alto",
    "Kes",
    "Bri",
    "Lum",
    "Tav",
    "Mar",
    "Oro",
    "Pel",
    "Sil",
    "Hal",
    "Cor",
    "Fen",
    "Zan",
)
ENDINGS = ("da", "mark", "via", "lo", "wick", "tera", "quist", "ne", "ford", "ria", "sen", "bo")


@dataclass(frozen=True)
class Catalog:
    """Items are sorted by leaf; arrays are per item unless said otherwise. Quality and effects are log-odds.

    A shopper sees and clicks an item's first SKU (the parent) and buys one of its variants.
    """

    leaf: np.ndarray
    price: np.ndarray
    log_price_to_leaf: np.ndarray
    quality: np.ndarray
    touch_factor: np.ndarray  # of the item's advertiser, mean 1
    sku: np.ndarray  # index of the parent SKU
    variants: np.ndarray  # number of SKUs besides the parent
    leaf_popularity: np.ndarray  # [leaves], sums to 1
    leaf_effect: np.ndarray  # [leaves]
    item_share: np.ndarray  # popularity within the item's leaf, sums to 1 per leaf
    item_ids: list[str]
    product_ids: list[str]  # per SKU
    table: pl.DataFrame  # the catalog as logged, per SKU
    truth: pl.DataFrame  # true leaf and hidden quality of each item


def zipf(ranks: np.ndarray, exponent: float) -> np.ndarray:
    """Unnormalised Zipf popularity of ranks that start at 1."""
    return ranks.astype(float) ** -exponent


def build_catalog(world: World, taxonomy: Taxonomy) -> Catalog:
    """Draw the catalog of a world; depends on its seed and settings only."""
    rng = np.random.default_rng(np.random.SeedSequence(world.seed, spawn_key=(0,)))
    leaves = len(taxonomy)
    sizes = 2 + rng.poisson(world.items_per_leaf - 2, leaves)
    leaf = np.repeat(np.arange(leaves), sizes)
    items = len(leaf)
    ends = np.cumsum(sizes)
    rank = np.arange(items) - np.repeat(ends - sizes, sizes) + 1
    share = zipf(rank, world.item_zipf)
    share /= np.bincount(leaf, share)[leaf]
    popularity = zipf(1 + rng.permutation(leaves), world.leaf_zipf)

    leaf_log_price = rng.normal(
        np.log(measured.CLICK_PRICE_MEDIAN), measured.CLICK_PRICE_LOG_SD * 0.85, leaves
    )
    log_price_to_leaf = rng.normal(0, measured.CLICK_PRICE_LOG_SD * 0.53, items)
    price = np.maximum(np.floor(np.exp(leaf_log_price[leaf] + log_price_to_leaf)), 1) - 0.01

    departments = int(taxonomy.top.max()) + 1
    names = np.array([a + b for a in OPENINGS for b in ENDINGS])
    names = rng.permutation(names)[: departments * BRANDS_PER_DEPARTMENT]
    brand = taxonomy.top[leaf] * BRANDS_PER_DEPARTMENT + rng.integers(0, BRANDS_PER_DEPARTMENT, items)
    advertiser = rng.integers(0, ADVERTISERS, len(names))[brand]
    advertiser_factor = np.exp(
        rng.normal(-(world.advertiser_log_sd**2) / 2, world.advertiser_log_sd, ADVERTISERS)
    )
    brand_quality = rng.normal(0, world.quality_sd / 2, len(names))
    quality = brand_quality[brand] + rng.normal(0, world.quality_sd, items)

    several = rng.random(items) >= measured.SINGLE_SKU_ITEMS
    mean_variants = (measured.SKUS_PER_ITEM - 1) / (1 - measured.SINGLE_SKU_ITEMS)
    variants = several * np.minimum(1 + rng.poisson(mean_variants - 1, items), len(SIZES))
    skus = 1 + variants
    sku = np.cumsum(skus) - skus
    wrong = rng.random(items) < world.wrong_category
    shown_leaf = np.where(wrong, rng.choice(leaves, items, p=popularity / popularity.sum()), leaf)
    no_category = rng.random(items) < world.without_category

    item_of_sku = np.repeat(np.arange(items), skus)
    variant_of_sku = np.arange(len(item_of_sku)) - sku[item_of_sku]
    parents = np.char.mod("P%05d", np.arange(items))
    suffix = np.array(["", *(f"-{size}" for size in SIZES)])[variant_of_sku]
    product_ids = np.char.add(parents[item_of_sku], suffix)
    has_group = variants > 0
    item_ids = np.where(has_group, np.char.mod("G%05d", np.arange(items)), parents)
    titles = np.char.add(np.char.add(names[brand], " "), np.array(taxonomy.names)[leaf])
    titles = np.char.add(titles, np.char.mod(" %d", rank))
    paths = np.array(taxonomy.paths)
    table = pl.DataFrame(
        {
            "product_id": product_ids,
            "item_group_id": item_ids[item_of_sku],
            "title": np.char.add(titles[item_of_sku], np.char.replace(suffix, "-", " ")),
            "category_path": paths[shown_leaf][item_of_sku],
            "brand": names[brand][item_of_sku],
            "advertiser": np.char.mod("Advertiser %02d", advertiser)[item_of_sku],
            "price": price[item_of_sku].astype(np.float32),
        }
    ).with_columns(
        pl.when(pl.Series(has_group[item_of_sku])).then("item_group_id").alias("item_group_id"),
        pl.when(pl.Series(~no_category[item_of_sku])).then("category_path").alias("category_path"),
    )
    truth = pl.DataFrame(
        {
            "item": item_ids,
            "leaf": paths[leaf],
            "quality": quality,
            "touch_factor": advertiser_factor[advertiser],
        }
    )
    return Catalog(
        leaf=leaf,
        price=price,
        log_price_to_leaf=log_price_to_leaf,
        quality=quality,
        touch_factor=advertiser_factor[advertiser],
        sku=sku,
        variants=variants,
        leaf_popularity=popularity / popularity.sum(),
        leaf_effect=rng.normal(0, world.leaf_sd, leaves),
        item_share=share,
        item_ids=item_ids.tolist(),
        product_ids=product_ids.tolist(),
        table=table,
        truth=truth,
    )
