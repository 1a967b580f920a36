"""The admin API: roles, approvals, searches, revocations."""
