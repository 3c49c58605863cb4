"""Addresses: written with variables, shown without credentials, opened with both."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from invertory.resources.addresses import Address, credentials, expanded, shown
from invertory.resources.redaction import hiding_secrets, redacted, scrubbed
from invertory.resources.roots import Roots


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://user:word@host/a.tar", "https://host/a.tar"),
        ("https://user:w@rd@host:8/a", "https://host:8/a"),
        ("https://${LOGIN}@${HOST}/a", "https://${HOST}/a"),
        ("sftp://me@host/a", "sftp://host/a"),
        ("https://h/a.tar?X-Amz-Signature=1&versionId=2&x-amz-date=3", "https://h/a.tar?versionId=2"),
        ("https://h/a?sv=1&se=2&sp=r&sig=3", "https://h/a"),
        ("https://h/a?se=north", "https://h/a?se=north"),
        ("https://h/a?token=1#part", "https://h/a#part"),
        ("https://h/a?GoogleAccessId=1&Expires=2&Signature=3", "https://h/a"),
        ("abfs://container@account.dfs.core.windows.net/a", "abfs://container@account.dfs.core.windows.net/a"),
        ("portraits://?num=3&key=1", "portraits://?num=3&key=1"),
        ("pypi://pkg==1.0#a/b@c?token=1", "pypi://pkg==1.0#a/b@c?token=1"),
        ("pictures/a?token=1.png", "pictures/a?token=1.png"),
        ("https://h/@me/a", "https://h/@me/a"),
        ("s3://bucket/photos", "s3://bucket/photos"),
    ],
)  # fmt: skip
def test_shown_text_has_no_credentials(text, expected):
    assert shown(text) == expected == shown(expected) == str(Address(text))


def test_variables_are_expanded_when_an_address_is_opened(monkeypatch):
    address = Address("https://${WHO}:${WORD}@host/${PLACE}?token=${TOKEN}")
    for name, value in {"WHO": "me", "WORD": "a/b@c#d", "PLACE": "p", "TOKEN": "tok-1234"}.items():
        monkeypatch.setenv(name, value)
    assert address == "https://host/${PLACE}"
    assert address.opened == "https://me:a%2Fb%40c%23d@host/p?token=tok-1234"
    assert redacted("a/b@c#d, a%2Fb%40c%23d, tok-1234") == "${WORD}, ${WORD}, ${TOKEN}"
    monkeypatch.setenv("WORD", "rotated")
    assert address.opened == "https://me:rotated@host/p?token=tok-1234"


def test_an_unset_variable_is_named(monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(ValueError, match="'NOT_SET' in the environment, got nothing; set it"):
        expanded("s3://${NOT_SET}/a")


def test_an_address_is_safe_to_store_and_can_still_be_opened():
    address = Address("https://me:word1234@h/a?token=1&b=2")
    for same in (pickle.loads(pickle.dumps(address)), copy.deepcopy(address), Address(address)):
        assert same == "https://h/a?b=2" and same.opened == "https://me:word1234@h/a?token=1&b=2"
    assert json.dumps(address) == '"https://h/a?b=2"' and "word1234" not in repr(address)
    assert address.kept == "https://h/a?b=2"
    assert Address("https://me:${W}@h/a").kept == "https://me:${W}@h/a"


def test_sibling_addresses_and_file_names():
    address = Address("https://me:word@h/w.safetensors?token=1")
    beside = address.beside(".safetensors", ".json")
    assert (beside, beside.opened) == ("https://h/w.json", "https://me:word@h/w.json?token=1")
    assert address.file_name == "w.safetensors"
    assert credentials(address.opened) == "token=1"


@pytest.mark.parametrize(
    ("root", "listed", "stored"),
    [
        ("${ROOT}", "/data/p/a.png", "${ROOT}/a.png"),
        ("file://${ROOT}/", "/data/p/a.png", "${ROOT}/a.png"),
        ("s3://${B}/x", "s3://bucket/x/a.png", "s3://${B}/x/a.png"),
        ("s3://${B}/x/*.png", "s3://bucket/x/${B}.png", "s3://${B}/x/${B}.png"),
        ("http://u:word@h/x", "http://u:word@h/x/a.png", "http://h/x/a.png"),
        ("http://u:word@h/x?v=1&sig=22", "http://u:word@h/x?v=1&sig=22", "http://h/x?v=1"),
        ("${URL}", "http://u:word@h/x.tar?sig=22", "${URL}"),
        ("${URL}", "http://u:word@h/x.tar?v=1&sig=22", "${URL}?v=1"),
        ("plain", "plain/${B}.png", "plain/${B}.png"),
        ("portraits://?num=2", "portraits://?seed=0/000001.png", "portraits://?seed=0/000001.png"),
    ],
)
def test_listed_names_are_stored_below_their_address(monkeypatch, root, listed, stored):
    monkeypatch.setenv("ROOT", "/data/p")
    monkeypatch.setenv("B", "bucket")
    monkeypatch.setenv("URL", "http://u:word@h/x.tar?sig=22")
    roots = Roots([root])
    assert roots.stored(listed) == stored
    opened = roots.opened(stored)
    assert shown(opened) == shown(listed)
    assert credentials(opened) == credentials(expanded(root)) and ("word" in listed) == (
        "word" in opened
    )


def test_a_member_of_a_signed_folder_is_opened_with_its_token():
    roots = Roots(["http://h/photos?token=1"])
    assert roots.stored("http://h/photos/a.png") == "http://h/photos/a.png"
    assert roots.opened("http://h/photos/a.png") == "http://h/photos/a.png?token=1"
    assert roots.opened("http://h/photoshop/a.png") == "http://h/photoshop/a.png"


def test_names_of_an_older_store_are_still_opened(monkeypatch):
    monkeypatch.setenv("B", "bucket")
    assert Roots(["s3://${B}/x"]).opened("s3://bucket/x/a.png") == "s3://bucket/x/a.png"
    assert Roots(["s3://other"]).opened("s3://${B}/x/a.png") == "s3://bucket/x/a.png"


def test_user_info_and_signatures_are_redacted_from_texts():
    text = "404, url='https://me:abc@h/a?X-Amz-Credential=AK/1&X-Amz-Date=2&v=3' GET x?sig=1&se=2"
    assert redacted(text) == (
        "404, url='https://h/a?X-Amz-Credential=***&X-Amz-Date=***&v=3' GET x?sig=***&se=***"
    )
    assert redacted("mail me@host; a = b; 1 @ 2") == "mail me@host; a = b; 1 @ 2"


def test_exceptions_are_redacted_with_all_their_causes():
    address = "https://me:hidden99@h/a"

    class Client(Exception):  # noqa: N818
        def __str__(self) -> str:
            return f"no answer from {address}"

    Address(address)
    with pytest.raises(OSError, match="no answer") as caught, hiding_secrets(address):
        try:
            raise Client
        except Client as error:
            raise FileNotFoundError(2, f"no answer from {address}", address) from error
    found: BaseException | None = caught.value
    while found is not None:
        assert "hidden99" not in f"{found!r} {found} {getattr(found, '__notes__', '')}"
        found = found.__cause__ or found.__context__
    assert caught.value.filename == "https://h/a" and caught.value.errno == 2
    assert scrubbed(ValueError("nothing to hide")).args == ("nothing to hide",)


@pytest.mark.parametrize(
    "name",
    [
        "temp_url_sig", "temp_url_expires", "private_token", "rlkey", "job_token", "authkey",
        "tempauth", "__gda__", "X-Plex-Token", "accessToken", "oauth_signature", "AccountKey",
        "client-secret", "SharedAccessSignature", "X-Bz-Authorization", "passphrase", "token[]",
    ],
)  # fmt: skip
def test_a_parameter_is_known_by_the_words_of_its_name(name):
    assert shown(f"https://h/a.tar?{name}=S3CRET") == "https://h/a.tar"
    assert "S3CRET" not in redacted(f"no answer from https://h/a.tar?w=1&{name}=S3CRET")


@pytest.mark.parametrize("name", ["width", "author", "tokenizer", "version", "design", "page"])
def test_an_ordinary_parameter_stays(name):
    assert shown(f"https://h/a.tar?{name}=1") == f"https://h/a.tar?{name}=1"


@pytest.mark.parametrize(
    ("address", "stored"),
    [
        ("https://h/a.png?w=1;token=S3CRET", "https://h/a.png?w=1"),
        ("https://h/a.png?token=S3CRET;w=1", "https://h/a.png?w=1"),
        ("https://h/a.png?a=1?token=S3CRET", "https://h/a.png?a=1"),
        ("https://h/a.png?a=1&b=2;c=3", "https://h/a.png?a=1&b=2;c=3"),
    ],
)
def test_parameters_are_separated_by_any_mark(address, stored):
    assert shown(address) == stored
