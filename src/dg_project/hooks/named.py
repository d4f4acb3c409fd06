"""What a pipeline changes in the parameters: ``kedro run --pipeline=scmd`` classifies, whatever ``task`` says."""

from __future__ import annotations

from typing import Any

from kedro.framework.hooks import hook_impl


class PipelineParametersHook:
    """Lays ``pipelines.<name>`` over the other parameters of a run; ``--params`` has the last word."""

    def __init__(self) -> None:
        self._loader: Any = None

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Keep the loader; which pipelines run is not known yet."""
        self._loader = context.config_loader

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], catalog: Any) -> None:
        """Change the parameters in the loader (which tracking reads) and in the catalog (which nodes read).

        Raises:
            ParameterError: the changed parameters do not fit together.
        """
        own: dict[str, Any] = {}
        for name in run_params.get("pipeline_names") or []:
            own = merged(own, self._loader["parameters"].get("pipelines", {}).get(name, {}))
        if not own:
            return
        from dg_project.hooks.parameters import check_all

        self._loader.runtime_params = merged(own, self._loader.runtime_params or {})
        changed = self._loader["parameters"]
        check_all(changed)
        everything = dict(catalog.load("parameters"))
        for key in own:
            everything[key] = _like(everything.get(key), changed[key])
        catalog["parameters"] = everything
        for name in [name for name in catalog.keys() if name.startswith("params:")]:  # noqa: SIM118 (no mapping)
            path = name.removeprefix("params:").split(".")
            if path[0] in own:
                catalog[name] = _like(catalog.load(name), _at(changed, path))


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return ``below`` with the values of ``above``, group by group.

    >>> merged({"training": {"lr": 1, "flip": 0}}, {"training": {"lr": 2}})
    {'training': {'lr': 2, 'flip': 0}}
    """
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def _at(tree: Any, path: list[str]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _like(before: Any, value: Any) -> Any:
    """Give a value the type that a node's signature gave the old one."""
    return type(before).model_validate(value) if hasattr(before, "model_validate") else value
