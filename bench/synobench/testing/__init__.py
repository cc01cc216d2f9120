"""For authors of plugins: what tests of a plugin need."""
