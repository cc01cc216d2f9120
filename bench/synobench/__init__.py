"""synobench: a bench for pruning and training energy-frugal networks."""
