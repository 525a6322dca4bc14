"""The package's public names."""

import subprocess
import sys

import pytest

import forethought


@pytest.mark.parametrize("name", forethought.__all__)
def test_a_public_name_is_there(name):
    assert getattr(forethought, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        _ = forethought.nothing


def test_importing_the_package_imports_nothing_heavy():
    script = "import sys, forethought; assert not {'pydantic', 'sqlalchemy', 'torch', 'typer'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True).returncode == 0
