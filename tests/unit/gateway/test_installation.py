"""What `init` leaves on the disk, and that it leaves nothing when it fails."""

from __future__ import annotations

import stat
import time
from dataclasses import replace
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from audit.checkpoint import Checkpoint, read_signer, read_verifier
from gateway import installation, keyfiles
from gateway.first_state import FirstAccount
from gateway.identity.digests import KeyedDigests
from gateway.installation import InstallationRefused, Installed, Options
from gateway.settings import Settings, SettingsFaults
from gateway.state.records import FactorKind
from gateway.state.sealing import Sealing
from gateway.state.store import Reader
from policies.versions import policy_hash

NOW = time.time()


def options(directory: Path) -> Options:
    return Options(
        directory=directory,
        portal_host="portal.sekisho.localhost",
        rp_id="sekisho.localhost",
        organisation="見本市",
        help_contact="情報政策課 内線 1234",
        account=FirstAccount(login="ciso", name="最高 責任者"),
        port=8443,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    wanted = options(tmp_path_factory.mktemp("city") / "sekisho")
    return installation.create(installation.plan(wanted), NOW)


def test_the_settings_load_and_every_file_they_name_is_there(made: Installed) -> None:
    settings = Settings.load(made.settings_file)
    assert settings.portal.origin == "https://portal.sekisho.localhost:8443"
    assert made.setup_url == "https://portal.sekisho.localhost:8443/setup"
    public = settings.listeners.public
    assert public is not None
    assert public.certificate.is_file()
    assert public.key.is_file()
    assert public.client_ca.is_file()
    for name in type(settings.paths).model_fields:
        assert getattr(settings.paths, name).is_dir(), name


def test_nobody_else_can_read_it(made: Installed) -> None:
    for path in (made.root, *made.root.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.is_dir():
            assert mode == 0o700, path
        elif path.suffix == ".pub" or path.name in {"demo-ca.pem", "server.pem", "ca.pem"}:
            assert mode == 0o644, path
        else:
            assert mode & 0o077 == 0, path


def test_private_and_public_keys_belong_together(made: Installed) -> None:
    keys = made.root / "keys"
    for name in (keyfiles.ASSERTION_CURRENT, keyfiles.ASSERTION_NEXT, keyfiles.RECEIPTS):
        private = load_pem_private_key((keys / name).read_bytes(), password=None)
        public = load_pem_public_key((keys / name).with_suffix(".pub").read_bytes())
        assert private.public_key() == public
    signer = read_signer((keys / keyfiles.CHECKPOINT).read_text())
    verifier = read_verifier((keys / "checkpoint.pub").read_text())
    checkpoint = Checkpoint("portal.sekisho.localhost/log", 0, bytes(32))
    assert verifier.open(signer.sign(checkpoint)) == checkpoint


def test_the_assertion_keys_sign_es256(made: Installed) -> None:
    keys = made.root / "keys"
    token = jwt.encode({"aud": "x"}, (keys / keyfiles.ASSERTION_CURRENT).read_bytes(), algorithm="ES256")
    public = (keys / keyfiles.ASSERTION_CURRENT).with_suffix(".pub").read_bytes()
    assert jwt.decode(token, public, algorithms=["ES256"], audience="x") == {"aud": "x"}
    other = (keys / keyfiles.ASSERTION_NEXT).with_suffix(".pub").read_bytes()
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, other, algorithms=["ES256"], audience="x")


def test_the_store_holds_the_first_account_and_the_starter_policy(made: Installed) -> None:
    sealing_key = made.root / "keys" / keyfiles.SEALING
    reader = Reader(made.root / "state" / "sekisho.db", Sealing.load(sealing_key))
    try:
        user = reader.user_by_login("ciso")
        assert user is not None
        assert (user.name, user.roles, user.disabled) == ("最高 責任者", ("ciso",), False)
        (factor,) = reader.factors(user.id)
        policy = reader.active_policy()
    finally:
        reader.close()
    assert factor.kind == FactorKind.SETUP_CODE
    plain = made.setup_code.replace("-", "")
    assert KeyedDigests.load(sealing_key).match("setup_code", f"{user.id}:{plain}", factor.data["digest"])
    assert policy is not None
    assert policy.hash == policy_hash(policy.source.encode()) == made.policy_hash


def test_the_set_up_code_is_nowhere_on_the_disk(made: Installed) -> None:
    plain = made.setup_code.replace("-", "")
    assert len(plain) == 16
    assert plain not in repr(made)
    assert made.setup_code not in repr(made)
    for path in made.root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert plain.encode() not in content, path
            assert made.setup_code.encode() not in content, path


def test_the_trail_begins_with_who_was_let_in(made: Installed) -> None:
    text = "".join(path.read_text() for path in sorted((made.root / "journal" / "init").glob("*")) if path.is_file())
    assert text.index('"user.created"') < text.index('"policy.activated"')
    assert made.policy_hash in text


@pytest.mark.parametrize("inside", ["sekisho.toml", "anything"])
def test_an_existing_folder_is_never_touched(tmp_path: Path, inside: str) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / inside).write_text("kept")
    with pytest.raises(InstallationRefused, match="something is there already"):
        installation.plan(options(tmp_path / "here"))
    assert [path.name for path in (tmp_path / "here").iterdir()] == [inside]


def test_a_second_creation_loses_and_leaves_nothing(tmp_path: Path) -> None:
    first = installation.plan(options(tmp_path / "here"))
    second = installation.plan(options(tmp_path / "here"))
    installation.create(first, NOW)
    kept = (tmp_path / "here" / "keys" / keyfiles.SEALING).read_bytes()
    with pytest.raises(InstallationRefused, match="nothing was changed"):
        installation.create(second, NOW)
    assert (tmp_path / "here" / "keys" / keyfiles.SEALING).read_bytes() == kept
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_an_empty_folder_may_be_there(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    installation.create(installation.plan(options(tmp_path / "here")), NOW)
    assert (tmp_path / "here" / "sekisho.toml").is_file()


def test_a_failure_on_the_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = installation.plan(options(tmp_path / "here"))

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(installation, "sync_tree", full)
    with pytest.raises(OSError, match="No space left"):
        installation.create(planned, NOW)
    assert list(tmp_path.iterdir()) == []


def test_wrong_names_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    wanted = options(tmp_path / "here")
    with pytest.raises(SettingsFaults, match=r"portal\.host"):
        installation.plan(replace(wanted, portal_host="Portal"))
    with pytest.raises(SettingsFaults, match="rp_id"):
        installation.plan(replace(wanted, rp_id="example.org"))
    with pytest.raises(InstallationRefused, match=r"expected a name in the domain example\.org"):
        installation.plan(replace(wanted, domain="example.org"))
    assert list(tmp_path.iterdir()) == []


def test_the_certificate_covers_a_portal_outside_the_wildcard(tmp_path: Path) -> None:
    wanted = options(tmp_path / "here")
    assert installation.plan(wanted).certificate_names == ("*.sekisho.localhost", "sekisho.localhost")
    deep = replace(wanted, portal_host="a.b.sekisho.localhost", domain="sekisho.localhost")
    assert installation.plan(deep).certificate_names[-1] == "a.b.sekisho.localhost"
