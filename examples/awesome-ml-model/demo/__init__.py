"""Makes a repository of this example, and takes it all the way."""
