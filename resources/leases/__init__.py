"""Leases: one writer for each partition, whatever dies or sleeps. Begin with `leases`."""
