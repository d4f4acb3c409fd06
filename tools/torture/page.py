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
    """Return one line per kind, of the last commit that has rows of it."""
    if not rows:
        return "No trial is recorded."
    lines = ["| fault | trials | outcome | half-written files | bytes of temporary files left | commit |",
             "|---|---|---|---|---|---|"]
    for kind, name in NAMES.items():
        every = [row for row in rows if row["kind"] == kind]
        own = [row for row in every if row["commit"] == every[-1]["commit"]]
        if own:
            counts = Counter("fault" if row["verdict"].startswith("FAULT") else row["verdict"] for row in own)
            outcome = ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())
            lines.append(f"| {name} | {len(own)} | {outcome} | {sum(int(row['half_written']) for row in own)} | "
                         f"{sum(int(row['left_over']) for row in own)} | `{own[-1]['commit']}`"
                         f"{' with changes' if own[-1]['dirty'] == 'True' else ''} |")
    return "\n".join([*lines, "", f"Seed {rows[-1]['seed']}, {rows[-1]['hardware']}."])
