"""The site: built strictly, complete beside the code, its commands run, its pages looked at."""
