"""What a run found, as its name, its description and its metrics in MLflow."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dg_project.evaluation.formatting import gain_and_interval, percent
from dg_project.evaluation.records import UNSEEN_MEAN
from dg_project.figures.style import method_label, readable
from dg_project.reports.run_summary import verdict

NOTE = "mlflow.note.content"
"""Tag that MLflow shows as a run's description."""


class Finding:
    """The result of a run: scores by method and domain, and the gains of its last method over its first.

    Args:
        intervals: ``method, domain, metric, value``.
        gains: ``method, domain, metric, over, difference, low, high``.
    """

    def __init__(self, intervals: pd.DataFrame, gains: pd.DataFrame) -> None:
        self.metric = str(intervals["metric"].iloc[0])
        self._rows = intervals[intervals["metric"] == self.metric]
        self.methods = [str(name) for name in dict.fromkeys(self._rows["method"])]
        judged = gains[(gains["method"] == self.methods[-1]) & (gains["over"] == self.methods[0])]
        self._judged, self._gains = judged[judged["metric"] == self.metric], gains
        self.gains = {(str(row["metric"]), str(row["domain"])): float(row["difference"])
                      for row in judged.to_dict("records")}

    def headline(self) -> str:
        """Return the score of the last method on the unseen domains and its gain: ``35.1 (+11.0)``."""
        unseen = self._scores(self.methods[-1]).get(UNSEEN_MEAN)
        if unseen is None:
            return ""
        gain = self.gains.get((self.metric, UNSEEN_MEAN))
        return percent(unseen) + ("" if gain is None else f" ({percent(gain, signed=True)})")

    def markdown(self) -> str:
        """Return the verdict and a table of all domains."""
        names = [method_label(name) for name in self.methods]
        told = {row["domain"]: gain_and_interval(row["difference"], row["low"], row["high"])
                for row in self._judged.to_dict("records")}
        head = [f"{self.metric}, percent", *names, *([f"{names[-1]} - {names[0]} [95 %]"] if told else [])]
        scores = {name: self._scores(name) for name in self.methods}
        rows = [[readable(domain), *(percent(scores[name].get(domain, float("nan"))) for name in self.methods),
                 *([told.get(domain, "")] if told else [])]
                for domain in dict.fromkeys(map(str, self._rows["domain"]))]
        lines = [head, ["---"] * len(head), *rows]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        return "\n\n".join(filter(None, [f"**{said}**" if (said := verdict(self._gains)) else "", table,
                                         "Intervals are over test scenes, with one seed each."]))

    def _scores(self, method: str) -> dict[str, float]:
        rows = self._rows[self._rows["method"] == method]
        return {str(row["domain"]): float(row["value"]) for row in rows.to_dict("records")}


def log_finding(client: Any, run: str, name: str, finding: Finding) -> None:
    """Write the finding to a run: description, ``gain/<metric>/<domain>``, and the score at the end of its name."""
    from dg_project.hooks.mlflow.artifacts import log_numbers

    client.set_tag(run, NOTE, finding.markdown())
    log_numbers(client, run, {f"gain/{metric}/{domain}": gain for (metric, domain), gain in finding.gains.items()})
    if said := finding.headline():
        client.update_run(run, name=f"{name} - {said}")
