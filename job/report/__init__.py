"""Read a run folder for people: status, incidents, curves, the HTML report."""
