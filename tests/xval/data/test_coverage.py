"""Numbers that nothing can be computed with are refused in one sentence, whatever their key looks like."""

import numpy as np
import pytest

from polycli.errors import SourceError
from polycli.xval.data.coverage import refuse_immense


@pytest.mark.parametrize(("path", "shown"), [("mass", "mass"), ("a\nerror: forged", '"a\\nerror: forged"')])
def test_an_immense_number_is_refused_in_one_line_and_its_key_named(path, shown):
    with pytest.raises(SourceError) as refused:
        refuse_immense(np.array([1.0, 1e300]), np.array([0, 1], np.int32), ["other", path])
    assert refused.value.message.startswith(f"{shown}: the number 1e+300 ")
    assert refused.value.hint == f"make it text: --set 'text_keys=[{shown}]'"
