"""One tiny trained decoder for all tests of this folder."""

import pytest
from study_cases import train_tiny


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    return train_tiny(tmp_path_factory.mktemp("models") / "decoder")
