"""`reload`: the supervisor reads the settings again, or becomes the program that is installed now."""

from __future__ import annotations

from typing import Any, Final

from gateway.admin.endpoint import Call, Change, Reply
from gateway.admin.problem import AdminReason, Problem
from gateway.supervision.requests import SupervisorUnavailable, ask

_PATIENCE: Final = 55.0  # seconds; the command line waits for 60


class Reload(Change):
    """`program`: every process is replaced by the version that is installed now."""

    program: bool = False


async def reload(call: Call[Reload]) -> Reply:
    """Have the settings taken up; the answer comes when workers serve with them, or with everything that is wrong."""
    settings, arguments = call.context.settings, call.arguments
    request = {
        "by": call.by, "reason": arguments.reason, "dry_run": arguments.dry_run, "program": arguments.program,
    }  # fmt: skip
    try:
        answer = await ask(settings.paths.supervisor_socket, request, _PATIENCE)
    except SupervisorUnavailable as error:
        detail = "監督プロセスがまだ応じていません。sekisho status と記録で確認してください。"
        raise Problem(AdminReason.CONFLICT, detail, status=503) from error
    if answer["faults"]:
        detail = "設定に誤りがあるため、今までの設定のままです。"
        raise Problem(AdminReason.FILE_FAULTS, detail, extra={"faults": answer["faults"]})
    if answer["fault"]:
        raise Problem(AdminReason.CONFLICT, f"今までのままです: {answer['fault']}")
    rows = [*_settings(answer), *({"key": name, "concerns": ["replaced"]} for name in answer["replaced"])]
    if arguments.dry_run:
        return Reply({"plan": rows, "hit": len(answer["replaced"])}, rows=len(rows))
    return Reply({"changed": _settings(answer), "replaced": answer["replaced"]}, rows=len(rows))


def _settings(answer: dict[str, Any]) -> list[dict[str, Any]]:
    changed: list[dict[str, Any]] = answer["changed"]
    return changed
