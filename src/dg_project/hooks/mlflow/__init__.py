"""One MLflow run per Kedro run: opening, parameters, artifacts, lineage."""
