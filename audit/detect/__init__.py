"""Findings and cases."""
