"""Images without their labels: what a method that adapts may see of a target domain."""

from __future__ import annotations

from functools import partial

from dg_project.domains.readers.base import Listing, RawSample, Reader


class Unlabelled(Reader):
    """The images of another reader. No annotation is opened, so there need not be any."""

    def __init__(self, reader: Reader) -> None:
        super().__init__(reader.place, reader.options)
        self.reader = reader

    def read(self, split: str) -> Listing:
        """List the images of a split; nothing is annotated in them."""
        return Listing([(image_id, partial(RawSample, path, path)) for image_id, path in self.reader.images(split)])
