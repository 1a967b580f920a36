"""Reason codes: the closed vocabulary of why. Grammar: lower-case words joined by `_`, at most 40 characters.

The same code stands in the refusal's body, in the audit record and in reports; texts for people live with the pages.
A code is never renamed or reused: records outlive programs.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a request, a session or a connection ended as it did."""

    # policy
    ALLOWED = "allowed"
    ALLOWED_OBSERVED = "allowed_observed"
    DENIED_BY_RULE = "denied_by_rule"
    UNMET_CONDITIONS = "unmet_conditions"
    NO_APPLICABLE_RULE = "no_applicable_rule"
    STEP_UP_REQUIRED = "step_up_required"
    # who
    SIGN_IN_REQUIRED = "sign_in_required"
    SESSION_ENDED = "session_ended"
    SESSION_REVOKED = "session_revoked"
    SESSION_EXPIRED = "session_expired"
    SESSION_IDLE = "session_idle"
    SESSION_REPLACED = "session_replaced"
    SIGNED_OUT = "signed_out"
    USER_DISABLED = "user_disabled"
    CONTRACT_ENDED = "contract_ended"
    # locks
    USER_LOCKED = "user_locked"
    DEVICE_LOCKED = "device_locked"
    SESSION_LOCKED = "session_locked"
    GROUP_LOCKED = "group_locked"
    APP_LOCKED = "app_locked"
    # device
    DEVICE_UNKNOWN = "device_unknown"
    DEVICE_CERTIFICATE_REVOKED = "device_certificate_revoked"
    DEVICE_CERTIFICATE_UNCHECKED = "device_certificate_unchecked"
    DEVICE_OWNER_MISMATCH = "device_owner_mismatch"
    DEVICE_CHANGED = "device_changed"
    CERTIFICATE_HELP = "certificate_help"
    # our own state
    OWN_PAGE = "own_page"
    PREFLIGHT = "preflight"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    JOURNAL_UNHEALTHY = "journal_unhealthy"
    STATE_STALE = "state_stale"
    CONTROL_UNAVAILABLE = "control_unavailable"
    INTERNAL_ERROR = "internal_error"
    # the request itself
    UNKNOWN_HOST = "unknown_host"
    MISDIRECTED = "misdirected"
    MALFORMED_REQUEST = "malformed_request"
    PATH_NOT_CANONICAL = "path_not_canonical"
    HEADER_NOT_ALLOWED = "header_not_allowed"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_LARGE = "too_large"
    TIMED_OUT = "timed_out"
    CROSS_SITE = "cross_site"
    # the app
    APP_UNREACHABLE = "app_unreachable"
    APP_TIMED_OUT = "app_timed_out"
    APP_ANSWER_INVALID = "app_answer_invalid"
    # sign-in
    CREDENTIALS_WRONG = "credentials_wrong"
    CODE_WRONG = "code_wrong"
    CODE_REUSED = "code_reused"
    ACCOUNT_WAITING = "account_waiting"
    NOT_PERMITTED = "not_permitted"
