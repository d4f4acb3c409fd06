"""Wrong parameters stop a run before anything is loaded."""

from __future__ import annotations

import os
from typing import Any

from kedro.framework.hooks import hook_impl


class ParametersHook:
    """Checks all parameters at once, those of every method included."""

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: Any) -> None:
        """Check ``conf/**/parameters*.yml`` merged with ``--params``.

        Raises:
            ParameterError: one line per wrong or unknown key, naming the nearest valid one.
        """
        from dg_project.pipelines.paths import ROOT_VARIABLE

        os.environ[ROOT_VARIABLE] = str(context.project_path)
        check_all(context.config_loader["parameters"])


def check_all(raw: dict[str, Any]) -> None:
    """Check merged parameters against the schemas of the project, its methods and its readers."""
    from dg_project.domains.readers import READERS
    from dg_project.methods import method_classes
    from dg_project.parameters import check_parameters

    check_parameters(raw, {name: method.Params for name, method in method_classes().items()},
                     {name: reader.Options for name, reader in READERS.items()})
