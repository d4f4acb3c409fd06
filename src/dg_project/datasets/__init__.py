"""Kedro dataset classes with atomic versions; the catalog names their modules.

``tables``, ``pages``: single files. ``folder``, ``images``, ``model``: folders.
Nothing is imported here, so a run loads only the modules of the datasets that it opens.
"""
