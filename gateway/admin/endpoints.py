"""The whole surface of the admin API in one table: command, address, roles, arguments, handler."""

from __future__ import annotations

from typing import Any

from gateway.admin import (
    alerts,
    anomalies,
    approvals,
    apps,
    bundles,
    clock,
    devices,
    elastic,
    events,
    keys,
    locks,
    policy_questions,
    policy_versions,
    reconcile,
    reload,
    retention,
    reveals,
    revocation_lists,
    sessions,
    sign_in,
    status,
    users,
    users_import,
)  # fmt: skip
from gateway.admin.endpoint import (
    BEFORE_SIGN_IN,
    CHANGERS,
    CISO_ONLY,
    EVERYONE,
    READERS,
    Arguments,
    Change,
    Endpoint,
    Listing,
)  # fmt: skip


def endpoints() -> tuple[Endpoint[Any], ...]:
    """Every endpoint. The half-finished sign-ins belong to the table that is returned."""
    return (*_signing_in(), *_people(), *_access(), *_policy(), *_trail(), *_reveals(), *_copy())


def _signing_in() -> tuple[Endpoint[Any], ...]:
    signing = sign_in.SignIn()
    return (
        Endpoint("sign_in.start", "POST", "/v1/sign-in/start", BEFORE_SIGN_IN, sign_in.Start, signing.start),
        Endpoint("sign_in.finish", "POST", "/v1/sign-in/finish", BEFORE_SIGN_IN, sign_in.Finish, signing.finish),
        Endpoint("sign_out", "POST", "/v1/sign-out", EVERYONE, Arguments, sign_in.sign_out),
        Endpoint("whoami", "GET", "/v1/whoami", EVERYONE, Arguments, sign_in.whoami),
        Endpoint("status", "GET", "/v1/status", EVERYONE, Arguments, status.status),
        Endpoint("reload", "POST", "/v1/reload", CHANGERS, reload.Reload, reload.reload),
        Endpoint("clock.accept", "POST", "/v1/clock/accept", CHANGERS, Change, clock.accept),
        Endpoint("alerts.status", "GET", "/v1/alerts", EVERYONE, Arguments, alerts.status),
        Endpoint("alerts.test", "POST", "/v1/alerts/test", CHANGERS, Change, alerts.test),
    )


def _people() -> tuple[Endpoint[Any], ...]:
    one = "/v1/users/{login}"
    return (
        Endpoint("users.ls", "GET", "/v1/users", EVERYONE, users.UserListing, users.ls),
        Endpoint("users.add", "POST", "/v1/users", CHANGERS, users.AddUser, users.add),
        Endpoint(
            "users.import", "POST", "/v1/users/import", CHANGERS, users_import.ImportUsers, users_import.import_users
        ),
        Endpoint("users.show", "GET", one, EVERYONE, users.OneUser, users.show),
        Endpoint("users.disable", "POST", one + "/disable", CHANGERS, users.ChangeUser, users.disable),
        Endpoint("users.enable", "POST", one + "/enable", CHANGERS, users.ChangeUser, users.enable),
        Endpoint("users.reset_factors", "POST", one + "/reset", CHANGERS, users.ChangeUser, users.reset_factors),
        Endpoint("users.letter", "POST", one + "/letter", CHANGERS, users.ChangeUser, users.letter),
        Endpoint("devices.ls", "GET", "/v1/devices", EVERYONE, devices.DeviceListing, devices.ls),
        Endpoint("devices.show", "GET", "/v1/devices/{device}", EVERYONE, devices.OneDevice, devices.show),
        Endpoint("devices.crl.ls", "GET", "/v1/revocation-lists", EVERYONE, Listing, revocation_lists.ls),
        Endpoint(
            "devices.crl.show",
            "GET",
            "/v1/revocation-lists/{authority}",
            EVERYONE,
            revocation_lists.OneList,
            revocation_lists.show,
        ),
        Endpoint(
            "devices.crl.accept",
            "POST",
            "/v1/revocation-lists/{authority}/accept",
            CISO_ONLY,
            revocation_lists.AcceptList,
            revocation_lists.accept,
        ),
        Endpoint("devices.add", "POST", "/v1/devices", CHANGERS, devices.AddDevice, devices.add),
        Endpoint(
            "devices.revoke_certificate",
            "POST",
            "/v1/devices/{device}/revoke-certificate",
            CHANGERS,
            devices.RevokeCertificate,
            devices.revoke_certificate,
        ),
    )


def _access() -> tuple[Endpoint[Any], ...]:
    return (
        Endpoint("sessions.ls", "GET", "/v1/sessions", EVERYONE, sessions.SessionListing, sessions.ls),
        Endpoint("sessions.revoke", "POST", "/v1/sessions/revoke", CHANGERS, sessions.Revoke, sessions.revoke),
        Endpoint("sessions.show", "GET", "/v1/sessions/{session}", EVERYONE, sessions.OneSession, sessions.show),
        Endpoint("locks.ls", "GET", "/v1/locks", EVERYONE, Listing, locks.ls),
        Endpoint("locks.add", "POST", "/v1/locks", CHANGERS, locks.AddLock, locks.add),
        Endpoint("locks.rm", "POST", "/v1/locks/{lock}/remove", CHANGERS, locks.RemoveLock, locks.remove),
        Endpoint("apps.ls", "GET", "/v1/apps", EVERYONE, Listing, apps.ls),
        Endpoint("apps.diff", "POST", "/v1/apps/diff", EVERYONE, apps.DiffApps, apps.diff),
        Endpoint("apps.apply", "POST", "/v1/apps/apply", CHANGERS, apps.ApplyApps, apps.apply),
        Endpoint("apps.test_file", "POST", "/v1/apps/test", CHANGERS, apps.TestFile, apps.test_file),
        Endpoint("apps.show", "GET", "/v1/apps/{app}", EVERYONE, apps.OneApp, apps.show),
        Endpoint("apps.rm", "POST", "/v1/apps/{app}/remove", CHANGERS, apps.RemoveApp, apps.remove),
        Endpoint("apps.test", "POST", "/v1/apps/{app}/test", CHANGERS, apps.TestApp, apps.test),
    )


def _policy() -> tuple[Endpoint[Any], ...]:
    versions = policy_versions
    questions = policy_questions
    decide = "/v1/approvals/{approval}/decide"
    return (
        Endpoint("policy.ls", "GET", "/v1/policies", EVERYONE, Listing, versions.ls),
        Endpoint("policy.check", "POST", "/v1/policies/check", EVERYONE, versions.PolicyText, versions.check),
        Endpoint("policy.diff", "POST", "/v1/policies/diff", EVERYONE, versions.PolicyText, versions.diff),
        Endpoint("policy.test", "POST", "/v1/policies/test", EVERYONE, questions.TestPolicy, questions.test),
        Endpoint("policy.explain", "POST", "/v1/policies/explain", EVERYONE, questions.Explain, questions.explain),
        Endpoint("policy.apply", "POST", "/v1/policies/apply", CHANGERS, versions.ApplyPolicy, versions.apply),
        Endpoint("policy.rollback", "POST", "/v1/policies/rollback", CISO_ONLY, versions.Rollback, versions.rollback),
        Endpoint("policy.show", "GET", "/v1/policies/{version}", EVERYONE, versions.OnePolicy, versions.show),
        Endpoint("approvals.ls", "GET", "/v1/approvals", EVERYONE, approvals.ApprovalListing, approvals.ls),
        Endpoint("approvals.decide", "POST", decide, CHANGERS, approvals.Decide, approvals.decide),
    )


def _trail() -> tuple[Endpoint[Any], ...]:
    cases, one = anomalies.Anomalies(), "/v1/anomalies/{case}"
    return (
        Endpoint("events.search", "POST", "/v1/events/search", READERS, events.Search, events.search),
        Endpoint("events.count", "POST", "/v1/events/count", READERS, events.Counting, events.count),
        Endpoint("events.tail", "POST", "/v1/events/tail", READERS, events.Tail, events.tail),
        Endpoint("events.bundle", "POST", "/v1/events/bundle", READERS, bundles.Export, bundles.export),
        Endpoint("events.show", "GET", "/v1/events/{reference}", EVERYONE, events.OneEvent, events.show),
        Endpoint("anomalies.ls", "GET", "/v1/anomalies", EVERYONE, anomalies.CaseListing, cases.ls),
        Endpoint("anomalies.show", "GET", one, READERS, anomalies.OneCase, cases.show),
        Endpoint("anomalies.ack", "POST", one + "/acknowledge", CHANGERS, anomalies.Acknowledge, cases.ack),
        Endpoint("audit.retention", "GET", "/v1/audit/retention", EVERYONE, Arguments, retention.retention),
        Endpoint("audit.holds.ls", "GET", "/v1/audit/holds", EVERYONE, Listing, retention.holds_ls),
        Endpoint("audit.holds.add", "POST", "/v1/audit/holds", CHANGERS, retention.AddHold, retention.holds_add),
        Endpoint(
            "audit.holds.rm",
            "POST",
            "/v1/audit/holds/{hold}/remove",
            CISO_ONLY,
            retention.RemoveHold,
            retention.holds_rm,
        ),
        Endpoint("audit.keys.rotate", "POST", "/v1/audit/keys/rotate", CISO_ONLY, Change, keys.rotate),
        Endpoint("anomalies.close", "POST", one + "/close", CISO_ONLY, anomalies.Close, cases.close),
    )


def _reveals() -> tuple[Endpoint[Any], ...]:
    one = "/v1/reveals/{reveal}"
    return (
        Endpoint("reveals.ask", "POST", "/v1/reveals", READERS, reveals.Ask, reveals.ask),
        Endpoint("reveals.grant", "POST", one + "/grant", READERS, reveals.Grant, reveals.grant),
        Endpoint("reveals.answer", "POST", one + "/answer", READERS, reveals.Answer, reveals.answer),
    )


def _copy() -> tuple[Endpoint[Any], ...]:
    root = "/v1/elasticsearch"
    letters = root + "/dead-letters"
    return (
        Endpoint("es.status", "GET", root, EVERYONE, Arguments, elastic.status),
        Endpoint("es.bootstrap", "POST", root + "/bootstrap", CHANGERS, elastic.Bootstrap, elastic.bootstrap),
        Endpoint("es.check", "POST", root + "/check", EVERYONE, elastic.Administrator, elastic.check),
        Endpoint("es.reconcile", "POST", root + "/reconcile", EVERYONE, reconcile.Reconcile, reconcile.reconcile),
        Endpoint("es.repair", "POST", root + "/repair", CHANGERS, reconcile.Repair, reconcile.repair),
        Endpoint("es.dead_letters.ls", "GET", letters, READERS, Listing, elastic.letters_ls),
        Endpoint("es.dead_letters.retry", "POST", letters + "/retry", CHANGERS, elastic.Retry, elastic.letters_retry),
        Endpoint("es.dead_letters.show", "GET", letters + "/{letter}", READERS, elastic.OneLetter,
                 elastic.letters_show),
    )  # fmt: skip
