"""Kedro datasets whose versions are whole or absent; the catalog names their modules.

``tables``, ``pages``: single files. ``folder``, ``images``, ``model``: artifacts that are folders.
Nothing is imported here, so a run pays only for the kinds of data that it opens.
"""
