"""The garbage collector is at work in the tests, but not on what was imported before them."""

import gc


def test_what_was_imported_is_looked_through_no_more() -> None:
    assert gc.isenabled()
    assert gc.get_freeze_count() > len(gc.get_objects())
