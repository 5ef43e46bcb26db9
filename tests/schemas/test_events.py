"""The input contract refuses what it cannot mean, in words."""

import pytest
from pydantic import ValidationError

from models import features
from schemas.events import CONTEXT_PREFIX, SESSION_COLUMNS, LogSource, session_schema


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"event_types": {"view": "looked"}},
            "'view' is mapped to 'looked'; expected one of impression, click",
        ),
        ({"columns": {"user": "visitor"}}, "columns names user; expected contract names: user_id"),
        (
            {"catalog_columns": {"sku": "id"}},
            "catalog_columns names sku; expected contract names: product_id",
        ),
        ({"click_types": ["impression"]}, "expected at least one of click, detail_view"),
        ({"click_types": []}, "expected at least one of click"),
        ({"time_zone": "Mars/Olympus"}, "unknown time zone 'Mars/Olympus'"),
        ({"time_zone": "../../etc/passwd"}, "unknown time zone"),
        ({"context_columns": ["price"]}, "none of user_id"),
        ({"context_columns": ["a", "a"]}, "must be distinct"),
        ({"category_separator": " "}, "visible character"),
        ({"events": []}, "at least 1 item"),
        ({"format": "ga3"}, "'cabb', 'ga4'"),
        ({"max_rejected_share": 1.5}, "less than or equal to 1"),
        ({"evnts": ["x"]}, "Extra inputs are not permitted"),
    ],
)
def test_what_is_meant_wrong_is_said(settings: dict, words: str) -> None:
    with pytest.raises(ValidationError) as error:
        LogSource(**{"events": ["logs/*.csv"], **settings})
    assert words in str(error.value)


def test_a_source_survives_its_json() -> None:
    source = LogSource(
        format="ga4",
        events=["a", "b/*"],
        context_columns=["device"],
        columns={"device": "device.category", "user_id": "user_id"},
        event_types={"*": "ignore"},
    )
    assert LogSource.model_validate_json(source.model_dump_json()) == source


def test_context_columns_follow_and_share_their_prefix_with_click_examples() -> None:
    schema = session_schema(["channel", "device"])
    assert schema.names == [*SESSION_COLUMNS.names, "context_channel", "context_device"]
    assert CONTEXT_PREFIX == features.CONTEXT_PREFIX
