"""How the rows of a batch are dealt out to micro-batches, and those to processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Deal:
    """Every batch is cut into ``parts``, of which this process gets each ``processes``-th.

    The cut is a function of the batch and of ``parts`` alone: how many processes share the parts changes nothing.
    """

    parts: int = 1
    process: int = 0
    processes: int = 1

    def mine(self, pairs: Sequence[int], source: Sequence[bool]) -> Iterator[tuple[int, list[int]]]:
        """Yield the number and the rows of this process's parts, leaving out those that are empty.

        Args:
            pairs: the pair that each row of the batch belongs to.
            source: whether each row is a source image.
        """
        for number, rows in enumerate(cut(pairs, source, self.parts)):
            if rows and number % self.processes == self.process:
                yield number, rows


WHOLE = Deal()


def cut(pairs: Sequence[int], source: Sequence[bool], parts: int) -> list[list[int]]:
    """Return the rows of every part, in their order: rows of one pair stay together.

    Each pair goes to the part with the fewest rows so far, those with a source image first: losses may need one in
    every part. With fewer pairs than parts, the last parts are empty.
    """
    groups: dict[int, list[int]] = {}
    for row, pair in enumerate(pairs):
        groups.setdefault(pair, []).append(row)
    rows: list[list[int]] = [[] for _ in range(parts)]
    for group in sorted(groups.values(), key=lambda group: not any(source[row] for row in group)):
        min(rows, key=len).extend(group)
    return [sorted(part) for part in rows]
