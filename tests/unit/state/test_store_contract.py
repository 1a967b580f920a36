"""What any database behind the store has to do. Runs over SQLite; PostgreSQL joins by its own fixture."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from gateway.state import migration, schema, store
from gateway.state.dialect import reader_engine, writer_engine
from gateway.state.records import Factor, Session
from gateway.state.sealing import Sealing, SealingFault
from tests.support.steward_process import session, user
from tests.unit.state.conftest import NOW, World

SECRET = "JBSWY3DPEHPK3PXP"


def test_migrations_build_the_schema(world: World) -> None:
    with writer_engine(world.path).connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.METADATA) == []
    assert ScriptDirectory.from_config(migration.configuration()).get_current_head() == schema.HEAD


def test_a_second_creation_is_refused(world: World) -> None:
    with pytest.raises(FileExistsError):
        migration.create(world.path)


def test_a_store_of_another_shape_is_refused(world: World) -> None:
    with sqlite3.connect(world.path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'old'")
    with pytest.raises(store.StoreOutdated, match="old"):
        store.Store(world.path, world.sealing)


def test_the_file_is_for_its_owner_only(world: World) -> None:
    assert world.path.stat().st_mode & 0o777 == 0o600


def test_commits_are_synchronous_in_wal(world: World) -> None:
    with writer_engine(world.path).connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_every_change_has_the_next_revision_and_names_what_it_touched(world: World) -> None:
    world.run("user.put", user=user(1).to_row())
    world.run("user.put", user=user(2).to_row())
    with reader_engine(world.path).connect() as connection:
        rows = connection.execute(sa.select(schema.changes).order_by(schema.changes.c.revision)).mappings().all()
    assert [(row["revision"], row["op"], row["touched"]) for row in rows] == [
        (1, "user.put", ["users:u1"]), (2, "user.put", ["users:u2"]),
    ]  # fmt: skip
    again = store.Store(world.path, world.sealing)
    assert again.revision == world.store.revision == 2


def test_a_failed_change_leaves_nothing_and_takes_no_revision(world: World) -> None:
    def fail() -> None:
        with world.store.transaction("x", NOW) as tx:
            tx.put(user())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert world.reader.users() == []
    assert world.store.revision == 0


def test_records_come_back_as_they_were(world: World) -> None:
    kept = session("a", device_id="d1", mfa_at=None)
    with world.store.transaction("x", NOW) as tx:
        tx.put(user())
        tx.put(kept)
    assert world.reader.session("a") == kept
    assert world.reader.session_by_token(kept.token_hash) == kept
    assert world.reader.user_by_login("s0001") == user()


def test_many_records_change_in_one_statement(world: World) -> None:
    with world.store.transaction("x", NOW) as tx:
        for number in range(1500):
            tx.put(session(f"s{number}"))
    with world.store.transaction("x", NOW) as tx:
        found = tx.find(Session, id=[f"s{number}" for number in range(1500)])
        assert len(found) == 1500
        tx.change([session(each.id, ended_at=NOW, end_reason="session_revoked") for each in found])
    assert world.reader.sessions(active=True) == []
    assert len(world.reader.sessions(active=False)) == 1500


def test_readers_cannot_write(world: World) -> None:
    with reader_engine(world.path).connect() as connection, pytest.raises(sa.exc.OperationalError):
        connection.execute(sa.delete(schema.users))


@pytest.mark.promise("P1.factor-secrets-sealed")
def test_no_factor_secret_lies_on_the_disk(world: World) -> None:
    factor = Factor("f1", "u1", "totp", "携帯", {"secret": SECRET}, NOW, None)
    with world.store.transaction("x", NOW) as tx:
        tx.put(factor)
    assert world.reader.factors("u1") == [factor]
    assert SECRET not in repr(factor)
    for path in world.path.parent.iterdir():
        assert SECRET.encode() not in path.read_bytes()


def test_a_sealed_secret_does_not_open_in_another_row(world: World) -> None:
    with world.store.transaction("x", NOW) as tx:
        tx.put(Factor("f1", "u1", "totp", "", {"secret": SECRET}, NOW, None))
        tx.connection.execute(sa.update(schema.factors).values(user_id="u2"))
    with pytest.raises(SealingFault):
        world.reader.factors("u2")


def test_an_older_key_still_opens(tmp_path: Path) -> None:
    old, new = bytes(32), b"n" * 32
    sealed = Sealing([old]).seal(b"x", "a")
    assert Sealing([new, old]).open(sealed, "a") == b"x"
    with pytest.raises(SealingFault):
        Sealing([new]).open(sealed, "a")
