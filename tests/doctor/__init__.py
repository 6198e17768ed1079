"""The checks of `doctor`, each with what it must find."""
