"""What everything else stands on: errors, files, the cache, devices, provenance."""
