"""What the tests on a chip need: the device's name, its module, and its session."""

import pytest
import torch

from xinqiao.device import session as sessions


@pytest.fixture(scope="session")
def session():
    assert sessions.active is not None
    return sessions.active


@pytest.fixture(scope="session")
def device(session):
    return session.chip.torch.device


@pytest.fixture(scope="session")
def module():
    return torch.get_device_module()


@pytest.fixture
def counted(session):
    """Calls of each operator since the last look: {name: count}."""
    session.core.forget()

    def look():
        found = {}
        for row in session.core.rows():
            found[row.operator] = found.get(row.operator, 0) + row.calls
        session.core.forget()
        return found

    return look
