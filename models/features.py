"""Every name of a click example, once: features by treatment, labels, weights, keys and served outputs.

A click example is one row per (user, session, clicked item group), anchored at the first click. Every feature
is as of the anchor: it sees only what came before it. Counts are events, durations are seconds, prices are in
the log's currency. `NEVER` stands for "has not happened" in durations and for "unknown" in prices and
positions.
"""

from collections.abc import Iterable

NEVER = -1.0
SEQUENCE_LENGTH = 20

ITEM = "item"
LEAF = "leaf"
CATEGORY_TOP = "category_top"
CATEGORICAL = (
    ITEM,
    LEAF,
    CATEGORY_TOP,
    "brand",
    "advertiser",
)
CONTEXT_PREFIX = "context_"
"""Columns that the config names as context (channel, device, ...) become `context_<name>` strings."""

CALENDAR = {"hour_of_day": 24, "day_of_week": 7}
"""Small integers in the store's time zone, with their number of values (day_of_week: Monday is 0)."""

RECENT_ITEMS = "recent_items"
RECENT_LEAVES = "recent_leaves"
SEQUENCES = {RECENT_ITEMS: ITEM, RECENT_LEAVES: LEAF}
"""The user's clicked items and leaves before the anchor, newest first, at most SEQUENCE_LENGTH, and whose
vocabulary they share."""

COUNTS = (
    "click_position",  # 1 for the session's first clicked item
    "list_position",
    "session_clicks",
    "session_detail_views",
    "session_carts",
    "session_cart_removals",
    "session_checkouts",
    "session_purchases",
    "session_items",  # distinct clicked items
    "session_leaves",  # distinct clicked leaves
    "session_leaf_clicks",  # clicks in the anchor's leaf
    "session_leaf_carts",
    "user_sessions",
    "user_clicks",
    "user_carts",
    "user_purchases",
    "user_item_clicks",
    "user_item_carts",
    "user_item_purchases",
    "user_leaf_clicks",
    "user_leaf_carts",
    "user_leaf_purchases",
    "item_clicks_7d",
    "item_clicks_28d",
    "leaf_clicks_28d",
    "advertiser_clicks_28d",
)
DURATIONS = (
    "session_age_s",
    "since_event_s",
    "since_session_s",  # since the end of the user's previous session
    "since_purchase_s",
    "since_item_s",
    "since_leaf_s",
    "user_age_s",  # since the user's first event
)
RATES = (
    "item_caba_rate_28d",
    "item_cabb_rate_28d",
    "leaf_caba_rate_28d",
    "leaf_cabb_rate_28d",
    "advertiser_caba_rate_28d",
    "advertiser_cabb_rate_28d",
)
"""Smoothed conversion rates in (0, 1) over whole days before the anchor's day, lagged by the label window."""

AMOUNTS = (
    "price",
    "price_to_leaf",  # price over the mean catalog price of its leaf
)
NUMERIC = COUNTS + DURATIONS + RATES + AMOUNTS

OF_CANDIDATE = (
    *CATEGORICAL,
    "list_position",
    "session_leaf_clicks",
    "session_leaf_carts",
    *(f"user_{kind}_{what}" for kind in ("item", "leaf") for what in ("clicks", "carts", "purchases")),
    "item_clicks_7d",
    "item_clicks_28d",
    "leaf_clicks_28d",
    "advertiser_clicks_28d",
    "since_item_s",
    "since_leaf_s",
    *RATES,
    *AMOUNTS,
)
"""Inputs that differ between the products that a user may click next. All others are the same for each of
them: the user's, the session's and the moment's."""

USER_ID = "user_id"
SESSION_ID = "session_id"
EVENT_TIME = "event_time_us"  # of the anchor, UTC, microseconds since the epoch
USER_ACTIVITY = "user_activity"
USER_ACTIVITY_LEVELS = ("first click", "2-5 clicks", "6-20 clicks", "over 20 clicks")
"""Clicks of the user up to and including the anchor: for slices, not a model input."""

Y_CABA = "y_caba"
Y_CABB = "y_cabb"
Y_ANY = "y_any"
LAST_CLICK_CREDIT = "last_click_credit"
Y_CART_A = "y_cart_a"
Y_CART_B = "y_cart_b"
Y_CHECKOUT_A = "y_checkout_a"
Y_CHECKOUT_B = "y_checkout_b"
ACTIONS = (Y_CART_A, Y_CART_B, Y_CHECKOUT_A, Y_CHECKOUT_B)
"""What a click may lead to short of a purchase: the clicked item (A), or another (B), in the cart or in the
checkout. Labels that a model may learn from beside purchases; it serves none of them."""

LABELS = (Y_CABA, Y_CABB, Y_ANY, LAST_CLICK_CREDIT, *ACTIONS)
ALPHA = "alpha"  # weight of the row in L_CABB (eq. 3): relatedness of clicked and bought category
ROW_WEIGHT = "row_weight"
WEIGHTS = (ALPHA, ROW_WEIGHT)
USER_FOLDS = 10
USER_FOLD = "user_fold"
"""Of USER_FOLDS, by a hash of the user. Transformed examples have it for training alone: a row that is
trained on sees rates of ids that are counted on the other folds."""

VIEWS = ("last_click", "first_click", "linear", "time_decay", "position_based", "mta")
"""Attribution views (MAL 3.1). A view adds `credit_columns` to a click example, but only if the run's
`attribution.views` names it; they are labels and weights of training, never inputs."""

P_CABA = "p_caba"
P_CABB = "p_cabb"
P_CONVERSION = "p_conversion"
LABEL_OF_OUTPUT = {P_CABA: Y_CABA, P_CABB: Y_CABB, P_CONVERSION: Y_ANY}
"""What the served outputs are judged against, unless `ModelSettings.label_of_output` says otherwise."""

STRINGS = (*CATEGORICAL, USER_ID, SESSION_ID, USER_ACTIVITY)
INTEGERS = (*CALENDAR, EVENT_TIME)
FLOATS = (*NUMERIC, *LABELS, *WEIGHTS)


def credit(view: str) -> str:
    """Column of a click's credit under a view: summed over the purchases it led to, at most 1."""
    return f"credit_{view}"


def credit_caba(view: str) -> str:
    """The part of `credit` that comes from purchases of the clicked item group, at most 1."""
    return f"credit_{view}_caba"


def credit_cabb(view: str) -> str:
    """The part of `credit` that comes from purchases of other item groups, at most 1."""
    return f"credit_{view}_cabb"


def credit_alpha(view: str) -> str:
    """Column of the mean relatedness of clicked and bought category, weighted by the view's CABB credit.

    Rows without such credit have the same weight as in ALPHA.
    """
    return f"alpha_{view}"


def credit_columns(views: Iterable[str]) -> tuple[str, ...]:
    """All columns of some views, in order."""
    return tuple(
        column(view) for view in views for column in (credit, credit_caba, credit_cabb, credit_alpha)
    )


_CREDITS = frozenset(credit_columns(VIEWS))


def is_credit(name: str) -> bool:
    """Whether a column of click examples belongs to an attribution view."""
    return name in _CREDITS


def is_context(name: str) -> bool:
    """Whether a column of click examples is a configured context column."""
    return name.startswith(CONTEXT_PREFIX)


def is_column(name: str) -> bool:
    """Whether click examples may have a column of this name."""
    return name in (*STRINGS, *INTEGERS, *FLOATS, *SEQUENCES) or is_context(name) or is_credit(name)
