"""Parts by name, and what becomes of options that do not fit."""

import pytest

from forethought.core import registry
from forethought.errors import ForethoughtError, NotFoundError


@pytest.mark.parametrize(
    ("kind", "name", "options", "said"),
    [
        ("generator", "loan", {}, "The generator 'loan' needs the option 'policy'."),
        ("generator", "policy", {}, "The generator 'policy' needs the option 'policy'."),
        ("solver", "policy", {"policy": {}, "x": 1}, "The solver 'policy' has no option 'x'."),
        ("generator", "arithmetic", {"level": [2]}, "has no option 'level'. Did you mean 'levels'?"),
        ("generator", "arithmetic", {"levels": 3}, "The generator 'arithmetic' cannot be made from its options"),
        ("generator", "loan", {"policy": 3}, "The policy must be a section with fields; found 3."),
        ("style", "answer", {"loud": True}, "The style 'answer' has no option 'loud'."),
    ],
)
def test_options_that_do_not_fit_are_one_line_about_the_part(kind, name, options, said):
    with pytest.raises(ForethoughtError) as refused:
        registry.build(kind, name, options)
    assert said in str(refused.value)
    assert "__init__" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(NotFoundError, match="Did you mean 'policy'"):
        registry.build("solver", "polcy")
