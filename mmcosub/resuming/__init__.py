"""Fault tolerance: seeding, loops, signals, atomic checkpoints, exact resuming."""
