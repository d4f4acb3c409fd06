"""The names that are read from the source are those of the classes."""

from __future__ import annotations

from dg_project.config import check_names
from dg_project.config.method_names import method_parameters
from dg_project.methods import method_classes


def test_names_from_the_source_equal_the_classes() -> None:
    classes = method_classes()
    found = method_parameters()
    assert found.keys() == classes.keys()
    for name, kind in classes.items():
        assert set(found[name]) == set(kind.Params.model_fields), name


def test_misspelt_names_without_the_classes() -> None:
    import pytest
    from config.test_parameters import RAW

    from dg_project.core.errors import ParameterError

    raw = {**RAW, "drsf": {"stgae": 3}, "trainnig": {}}
    with pytest.raises(ParameterError) as error:
        check_names(raw, method_parameters())
    assert "unknown parameter 'trainnig'. Did you mean 'training'?" in str(error.value)
    assert "drsf: unknown parameter 'stgae'. Did you mean 'stage'?" in str(error.value)
    assert check_names(RAW, method_parameters()).method == "drsf"
