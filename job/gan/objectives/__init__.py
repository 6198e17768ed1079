"""Objectives: what D and G minimize, as functions of logits. One a file, and their choice."""
