"""A package, so that files here may share their names with those of other folders."""
