"""Write the table of recorded trials into the docs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "torture.md"
BEGIN, END = "<!-- torture: begin -->", "<!-- torture: end -->"
NAMES = {"kill": "SIGKILL at a random moment, then the same command again", "disk": "disk full at a random write",
         "together": "two to four runs at once on one workspace", "stop": "SIGINT or SIGTERM", "input": "broken inputs"}


def write(rows: Sequence[Mapping[str, str]], page: Path = PAGE) -> None:
    """Replace what stands between the marks of the page."""
    before, rest = page.read_text().split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{after}")


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return one line per kind, and how the rows were made."""
    if not rows:
        return "No trial is recorded."
    lines = ["| fault | trials | outcome | half-written files | bytes of temporary files left |",
             "|---|---|---|---|---|"]
    for kind, name in NAMES.items():
        own = [row for row in rows if row["kind"] == kind]
        if own:
            counts = Counter("fault" if row["verdict"].startswith("FAULT") else row["verdict"] for row in own)
            outcome = ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())
            lines.append(f"| {name} | {len(own)} | {outcome} | {sum(int(row['half_written']) for row in own)} | "
                         f"{sum(int(row['left_over']) for row in own)} |")
    last = rows[-1]
    changed = " with changes" if last["dirty"] == "True" else ""
    return "\n".join([*lines, "", f"Commit `{last['commit']}`{changed}, seed {last['seed']}, {last['hardware']}."])
