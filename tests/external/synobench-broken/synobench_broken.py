"""A plugin that cannot be imported, as after an upgrade of something that it needs."""

raise RuntimeError("it was built\nfor another bench")
