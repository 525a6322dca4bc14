"""Durable work: leases, progress, cancel, resume."""
