"""The settings of a simulated store and the named presets models are compared on."""

from __future__ import annotations

import hashlib
import json
from datetime import date

from pydantic import Field, ValidationError, model_validator

from schemas.errors import InputError
from schemas.settings import MOST_DAYS, Day, Seed, Settings
from simulator import measured
from simulator.taxonomy import Taxonomy

GENERATOR = 1
"""Raised whenever the same settings would give other logs."""


class World(Settings):
    """A simulated store. Rates default to those measured on real logs (`simulator.measured`).

    The ten numbers marked "fitted" were solved together so that ten simulated rates meet ten of `measured`,
    and were fitted to nothing else: ORDER_RATE, ITEMS_PER_SESSION, ITEMS_PER_ORDERING_SESSION, CART_RATE,
    CABA_RATE, CABB_RATE, UNCLICKED_PURCHASE_SHARE, SAME_LEAF_STEP, TOP_TENTH_LEAVES and TOP_TENTH_ITEMS. The
    others are assumptions.
    """

    name: str = "default"
    seed: Seed = 1
    users: int = Field(40_000, ge=1)
    users_per_chunk: int = Field(8_192, ge=1)
    start_date: Day = date(2025, 3, 3)
    days: int = Field(28, ge=1, le=MOST_DAYS)
    impressions_per_click: int = Field(2, ge=0)
    """Of each click example; the real store logs 83, which would only slow every run."""

    sessions_per_user: tuple[float, ...] = measured.SESSIONS_PER_USER
    items_log_series: float = Field(0.868, gt=0, lt=1)  # fitted: items planned, before repeats are dropped
    session_gap_median_h: float = Field(measured.SESSION_GAP_MEDIAN_H, gt=0)
    session_gap_log_sd: float = Field(measured.SESSION_GAP_LOG_SD, ge=0)
    duplicated_purchases: float = Field(measured.DUPLICATED_PURCHASES, ge=0, le=1)
    unclicked_per_order: float = Field(0.47, ge=0)  # fitted

    items_per_leaf: float = Field(8.0, ge=2)
    leaf_zipf: float = Field(0.61, ge=0)  # fitted
    item_zipf: float = Field(0.8, ge=0)  # fitted, within a leaf
    wrong_category: float = Field(0.0, ge=0, le=1)
    """Share of items whose catalog category is that of another leaf."""
    without_category: float = Field(measured.WITHOUT_CATEGORY, ge=0, le=1)

    same_leaf: float = Field(0.7, ge=0, le=1)  # fitted
    related_leaf: float = Field(0.15, ge=0, le=1)
    """Where a session looks: its intent's leaf, a leaf related to it, else any leaf by popularity."""

    order_log_odds: float = -5.2  # fitted
    cart_log_odds: float = -1.51  # fitted
    cart_readiness: float = 1.4  # fitted: what a unit of the session's log-odds of ordering adds to a cart's
    touch_log_odds: float = 0.49  # fitted: a touch of the intent's leaf, before its advertiser's factor
    readiness_sd: float = Field(1.55, ge=0)  # fitted: of a user's log-odds of ordering
    return_log_odds: float = 0.8
    """Added per unit of log(sessions of the user): people who come back mean it more."""
    touch_memory_days: float = Field(7.0, gt=0)
    mood_sd: float = Field(0.5, ge=0)
    quality_sd: float = Field(0.6, ge=0)
    leaf_sd: float = Field(0.4, ge=0)
    advertiser_log_sd: float = Field(0.6, ge=0)
    price_log_odds: float = -0.5
    """Per unit of log price above what the leaf costs and the user is used to spend."""
    unrelated_cart_log_odds: float = -0.8

    drift_day: int | None = None
    """From this day on (0 is the first) channels, prices and categories follow another mix."""
    drift_price_factor: float = Field(1.8, gt=0)

    @model_validator(mode="after")
    def _possible(self) -> World:
        if self.same_leaf + self.related_leaf > 1:
            raise ValueError("same_leaf and related_leaf are shares of one whole: together at most 1")
        if not self.sessions_per_user or min(self.sessions_per_user) < 0 or sum(self.sessions_per_user) <= 0:
            raise ValueError("sessions_per_user holds the shares of users with 1, 2, ... sessions")
        if self.drift_day is not None and not 0 <= self.drift_day < self.days:
            raise ValueError(f"drift_day counts from 0 and lies within the {self.days} days")
        return self

    def sha256(self) -> str:
        """Hash of the settings, the taxonomy and the generator: equal hashes give equal logs."""
        parts = {
            "generator": GENERATOR,
            "taxonomy": Taxonomy().sha256,
            "settings": self.model_dump(mode="json"),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


PRESETS: dict[str, World] = {
    world.name: world
    for world in (
        World(),
        World(
            name="high_cabb",
            same_leaf=0.35,
            related_leaf=0.45,
            unclicked_per_order=2.0,
            cart_log_odds=-2.8,
        ),
        World(
            name="long_journeys",
            sessions_per_user=(0.2, 0.2, 0.15, 0.12, 0.09, 0.07, 0.05, 0.04, 0.03, 0.02, 0.02, 0.01),
            session_gap_median_h=30.0,
            session_gap_log_sd=1.2,
            order_log_odds=-6.2,
            cart_log_odds=-3.0,
            users=14_000,
        ),
        World(name="noisy_taxonomy", wrong_category=0.25, without_category=0.1),
        World(name="drifted", drift_day=21),
    )
}


def world_named(name: str, **changes: object) -> World:
    """A preset with some settings changed; `None` keeps the preset's value.

    Raises:
        InputError: the name is not a preset, or a changed setting is impossible.
    """
    if name not in PRESETS:
        raise InputError(f"unknown world '{name}': choose one of {', '.join(PRESETS)}")
    changed = {key: value for key, value in changes.items() if value is not None}
    try:
        return World(**{**PRESETS[name].model_dump(), **changed})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "settings"
        raise InputError(f"world '{name}': {where}: {first['msg']}") from None
