"""Downloads from Settings and Extras in AUTOMATIC1111's own modules."""

from __future__ import annotations

import pytest

from tests.hosts.webui.download_tests import (  # noqa: F401
    folder,
    site,
    test_a_wrong_hash_is_told,
    test_from_nothing_to_a_restored_picture,
    test_nothing_of_it_is_saved,
    test_stop,
    test_switched_off,
    test_the_choice_changes_licences_and_button,
    test_without_gradios_queue_the_end_is_shown,
)
from tests.hosts.webui.host import WebUI


@pytest.fixture
def webui(a1111: WebUI) -> WebUI:
    return a1111
