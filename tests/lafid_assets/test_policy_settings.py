"""Settings are stored once, however they were written."""

from lafid_assets.policy_settings import settings_row


def test_the_order_of_lines_makes_no_other_settings() -> None:
    here, there = settings_row('{"b": {"y": 1.0, "x": [2, 1]}, "a": null}'), settings_row('{"a":null,"b":{"x":[2,1],"y":1.0}}')
    assert here[0] == there[0]
    assert here[1].equals(there[1])


def test_another_value_makes_other_settings() -> None:
    assert settings_row('{"a": [1, 2]}')[0] != settings_row('{"a": [2, 1]}')[0]
