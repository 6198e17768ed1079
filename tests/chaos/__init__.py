"""A run that is killed, cut off and damaged in every way, and ends as if nothing had happened."""
