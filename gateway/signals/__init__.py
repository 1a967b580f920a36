"""Alerts out."""
