"""Shared basics: errors, files, the cache, devices, provenance."""
