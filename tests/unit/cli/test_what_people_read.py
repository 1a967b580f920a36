"""What an operator reads in 80 columns: names in one line, words instead of codes, nothing dropped in silence."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from audit.witnesses import State
from cli.call import Call, Output
from cli.commands.account import _troubles, _workers
from cli.commands.proofs import RECEIPT
from cli.commands.sessions import COLUMNS
from cli.commands.sessions import DETAIL as SESSION_DETAIL
from cli.commands.users import DETAIL
from cli.exit_codes import ExitCode
from cli.main import app
from cli.render.states import state_word
from cli.render.table import Column, description, listing, table
from cli.render.witnesses import shown_witnesses, witness_troubles

SESSION = {
    "id": "s-" + "5" * 24, "user": "takahashi", "name": "髙橋 美咲", "mfa_method": "totp", "source_ip": "127.0.0.1",
    "last_used_at": 1_795_339_658.0,
}  # fmt: skip


def printed(renderable: object, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(renderable)
    return out.getvalue()


def test_a_session_of_the_city_is_one_line_of_80_columns() -> None:
    lines = printed(table([SESSION], COLUMNS)).rstrip().splitlines()
    assert len(lines) == 3  # titles, rule, the session
    assert "髙橋 美咲" in lines[2]
    assert "127.0.0.1" in lines[2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["sessions", "revoke", "--user", "ito", "--user", "sato", "--reason", "訓練"],
        ["events", "search", "--user=ito", "--user", "sato"],
        ["locks", "add", "--device", "A", "--device", "B", "--reason", "訓練"],
    ],
)
def test_a_second_value_never_replaces_the_first_in_silence(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == ExitCode.USAGE
    assert "--" in result.output
    assert "二度" in result.output


def test_options_that_may_be_repeated_still_may() -> None:
    result = CliRunner().invoke(app, ["users", "add", "mori", "--group", "a", "--group", "b", "--help"])
    assert result.exit_code == ExitCode.DONE


def test_the_city_named_before_the_verb_is_the_one_used(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["demo", "--directory", str(tmp_path / "city"), "code", "--user", "sato"])
    assert str(tmp_path / "city") in result.output.replace("\n", "")


def test_status_counts_the_workers_that_serve() -> None:
    one = {"counted": True, "connected": True}
    gone = {"counted": True, "connected": False}
    assert _workers([one, gone], 2) == "2 個中 1 個が稼働"
    answer = {
        "steward": {"healthy": True, "workers": [one, gone]}, "workers_expected": 2, "journal": {"healthy": True},
        "disk": {"total": 100, "free": 60 * 2**30, "used_percent": 40.0, "alarm": False, "limited": []},
        "policy": {}, "checkpoint": {"age": 1.0},
    }  # fmt: skip
    assert _troubles(answer) == ["ワーカー 2 個のうち 1 個が稼働していません。"]
    assert _troubles(answer | {"steward": {"healthy": True, "workers": [one, one]}}) == []


def test_status_says_of_each_witness_what_to_do() -> None:
    one = {"name": "w.example", "state": "cosigning", "detail": "", "size": 68, "time": 1_700_000_000}
    back = {**one, "state": "rolled_back", "detail": "it cosigned 126 leaves, the log has 68"}
    assert shown_witnesses([one], 1_700_000_007.0) == "w.example: 連署中 (68 件まで、7s前)"
    assert shown_witnesses([], 0.0) == "設定なし"
    assert witness_troubles([one]) == []
    (said,) = witness_troubles([one, back])
    assert "巻き戻しを指摘 (it cosigned 126 leaves, the log has 68)" in said
    for state in State:
        assert state.value in {"waiting", "cosigning"} or witness_troubles([{**one, "state": state.value}])


def test_states_and_truths_are_words() -> None:
    assert state_word("pending") == "承認待ち"
    assert state_word("something-new") == "something-new"
    shown = printed(description({"login": "sato", "disabled": False, "state": "active"}, DETAIL))
    assert "いいえ" in shown
    assert "有効" in shown


@pytest.mark.parametrize(
    ("closed", "words"), [({}, "なし"), ({"worker-1": 3, "worker-0": 2}, "worker-0: 2, worker-1: 3")]
)
def test_a_receipt_says_what_was_cut(closed: dict[str, int], words: str) -> None:
    assert words in printed(description({"closed": closed}, RECEIPT))


@pytest.mark.parametrize("naming", [["policy", "check"], ["policy", "check", "-f"]])
def test_a_policy_file_is_named_for_check_as_for_apply(naming: list[str], tmp_path: Path) -> None:
    broken = tmp_path / "policy.yaml"
    broken.write_text("version: 1\nwen: 2\n")
    result = CliRunner().invoke(app, [*naming, str(broken)])
    assert result.exit_code == ExitCode.FAILED
    assert "policy.yaml:2:1" in result.output
    assert CliRunner().invoke(app, ["policy", "check"]).exit_code == ExitCode.USAGE


def test_an_ended_session_says_why_in_words() -> None:
    ended = {**SESSION, "idle_limit": 1800.0, "end_reason": "session_revoked", "state": "ended", "operator": False}
    shown = printed(description(ended, SESSION_DETAIL))
    assert "管理者が終了" in shown
    assert "30m" in shown
    assert "session_revoked" not in shown


@pytest.mark.parametrize(("width", "folded"), [(80, False), (60, True)])
def test_what_no_longer_fits_is_told_row_by_row(width: int, folded: bool) -> None:
    lines = printed(listing([SESSION, SESSION], COLUMNS, width), width).splitlines()
    assert all(cell_len(line) <= width for line in lines)
    assert sum(str(SESSION["id"]) in line for line in lines) == 2
    heads = sum(line.startswith(("ID", "職員ID")) for line in lines)
    assert heads == (4 if folded else 1)


def test_long_names_fold_and_nothing_is_lost_in_a_narrow_table() -> None:
    name = "関市情報政策課臨時特別給付金担当会計年度任用職員"
    columns = (Column("login", "職員ID", "login"), Column("name", "氏名", "name"), Column("state", "状態", "state"))
    shown = printed(listing([{"login": "ito", "name": name, "state": "active"}], columns, 30), 30)
    assert all(cell_len(line) <= 30 for line in shown.splitlines())
    assert all(letter in shown for letter in name)


def test_fields_that_no_row_has_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    Call(fields=("logn", "login"), output=Output.CSV).rows([{"login": "sato"}], COLUMNS, "")
    said = capsys.readouterr()
    assert "logn という項目はどの行にもありません。ある項目: login" in said.err
    assert "sato" in said.out
