import pytest

from recall.errors import InputError
from serving.doors.admin import AdminGuard, read_token
from serving.protocol.status import Code, ServingError

TOKEN = "0123456789abcdef"


def _refused(guard, authorization):
    with pytest.raises(ServingError) as error:
        guard.check(authorization)
    return error.value.code


def test_the_token_opens():
    guard = AdminGuard(TOKEN)
    guard.check(f"Bearer {TOKEN}")
    guard.check(f"bearer  {TOKEN} ")
    assert _refused(guard, None) == Code.UNAUTHENTICATED
    assert _refused(guard, TOKEN) == Code.UNAUTHENTICATED
    assert _refused(guard, f"Basic {TOKEN}") == Code.UNAUTHENTICATED
    for wrong in ("Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \u00e4"):
        assert _refused(guard, wrong) == Code.PERMISSION_DENIED


def test_without_a_token_only_a_local_server_is_open():
    AdminGuard(None).check(None)
    closed = AdminGuard(None, open_without_token=False)
    assert _refused(closed, None) == Code.PERMISSION_DENIED
    assert _refused(closed, "Bearer ") == Code.PERMISSION_DENIED


def test_token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text(f"\n{TOKEN}\n")
    assert read_token(path) == TOKEN
    for text in ("short", "", "two tokens\nof some length", "\u00e4" * 20):
        path.write_text(text)
        with pytest.raises(InputError, match="at least 16 printable ASCII"):
            read_token(path)
    with pytest.raises(InputError, match="Cannot read --admin_token_file="):
        read_token(tmp_path / "none")
    path.write_bytes(b"\xff" * 20)
    with pytest.raises(InputError, match="it is no text"):
        read_token(path)
