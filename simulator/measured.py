"""Rates measured on real logs: seventy days of an online merchandise store, 2016-08-01 to 2016-10-09.

The logs are the public Google Analytics sample of the Google Merchandise Store. Unless said otherwise a
figure counts the 29,958 sessions of 23,531 users with a click, or their 78,561 (session, item group) click
examples. They are the defaults of every world; tests/simulator/test_measured.py counts them again where the
logs are.
"""

ORDER_RATE = 0.0692  # sessions with a purchase
CABA_RATE = 0.0734  # examples whose own item is bought later in the session
CABB_RATE = 0.1064  # examples after which another item is bought in the session
CONVERSION_RATE = 0.1153  # examples after which anything is bought in the session
ITEMS_PER_SESSION = 2.622
ITEMS_PER_ORDERING_SESSION = 4.503
CART_RATE = 0.2952  # examples whose item is put in the cart
ITEMS_PER_ORDER = 3.142
UNCLICKED_PURCHASE_SHARE = 0.1124  # bought (session, item) pairs without a click in the session
REMOVAL_RATE = 0.1362  # carted (session, item) pairs that are removed
CHECKOUT_WITHOUT_ORDER = 0.2036  # sessions with a cart and no order that still reach the checkout
SAME_LEAF_STEP = 0.3781  # consecutive examples of a session in one leaf
CHECKOUT_LINES_PER_ITEM = 5  # lines per (session, item) in the checkout, measured 5.29

SESSIONS_PER_USER = (0.8405, 0.1043, 0.0329, 0.0117, 0.0048, 0.0019, 0.0013, 0.0011, 0.0015)
"""Share of users with 1, 2, ... 9 or more sessions."""
CLICKS_PER_EXAMPLE = 1.66
DETAIL_VIEWS_PER_CLICK = 0.82
DUPLICATED_PURCHASES = 1.0
"""Every purchase line is logged a second time, without quantity and revenue, 31 ms later (median)."""

ITEM_GAP_MEDIAN_S = 27.0
ITEM_GAP_LOG_SD = 1.5  # quartiles 8 and 74 s
SESSION_GAP_MEDIAN_H = 22.0
SESSION_GAP_LOG_SD = 2.7  # quartiles 2 and 142 h
CLICK_PRICE_MEDIAN = 17.0
CLICK_PRICE_LOG_SD = 1.1  # quartiles 8.79 and 39.99
SKUS_PER_ITEM = 3.4
SINGLE_SKU_ITEMS = 0.227
WITHOUT_CATEGORY = 0.014  # SKUs
TOP_TENTH_LEAVES = 0.330  # share of examples in the most clicked tenth of the leaves
TOP_TENTH_ITEMS = 0.389
QUANTITIES = {1: 0.787, 2: 0.116, 3: 0.048, 5: 0.049}  # the four most frequent quantities of a purchase line

HOURS = (
    *(4.45, 3.96, 4.32, 3.99, 3.73, 3.89, 3.00, 2.34, 1.87, 1.63, 1.51, 1.68),
    *(2.34, 3.17, 4.39, 5.74, 5.71, 6.54, 6.80, 6.25, 6.64, 5.64, 5.48, 4.94),
)
"""Per cent of examples in each hour of the day, UTC."""

CHANNELS = {
    "Organic Search": (0.4601, 0.0453),
    "Referral": (0.2520, 0.1336),
    "Direct": (0.1846, 0.0593),
    "Social": (0.0366, 0.0137),
    "Paid Search": (0.0351, 0.0646),
    "Affiliates": (0.0222, 0.0030),
    "Display": (0.0094, 0.0890),
}
DEVICES = {"desktop": (0.8198, 0.0783), "mobile": (0.1536, 0.0254), "tablet": (0.0266, 0.0401)}
COUNTRIES = {
    "United States": (0.6954, 0.0934),
    "Canada": (0.0369, 0.0235),
    "India": (0.0267, 0.0013),
    "United Kingdom": (0.0208, 0.0032),
    "Japan": (0.0142, 0.0047),
    "Germany": (0.0117, 0.0029),
    "Taiwan": (0.0110, 0.0091),
    "Australia": (0.0105, 0.0095),
    "Other": (0.1728, 0.0055),
}
"""Name: (share of sessions, share of those with an order)."""
