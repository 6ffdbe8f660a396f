"""Performs interventions on a repeated step: one performer for each record of `records.intervention`."""
