import pytest

from recall.errors import InputError
from serving.release import manifest as manifests
from serving.release import release


def publish(serving_dir, version, fingerprints=("f", "f", "f")):
    for part, fingerprint in zip(release.PARTS, fingerprints, strict=True):
        folder = serving_dir / part / str(version)
        folder.mkdir(parents=True)
        (folder / "content").write_text(f"{part} {version}")
        manifests.seal(folder, {"fingerprint": fingerprint})


def test_newest_version_wins_by_number(tmp_path):
    publish(tmp_path, 9)
    publish(tmp_path, 10)
    latest = release.latest_release(tmp_path)
    assert latest == (
        10,
        tmp_path / "user_tower" / "10",
        tmp_path / "item_tower" / "10",
        tmp_path / "index" / "10",
        "f",
    )


@pytest.mark.parametrize("part", release.PARTS)
def test_incomplete_version_is_passed_over(tmp_path, part):
    publish(tmp_path, 1)
    publish(tmp_path, 2)
    (tmp_path / part / "2").rename(tmp_path / part / ".2.partial")
    assert release.latest_release(tmp_path).version == 1


def test_mixed_version_is_passed_over(tmp_path):
    publish(tmp_path, 1)
    publish(tmp_path, 2, ("f", "f", "g"))
    assert release.latest_release(tmp_path).version == 1


def test_mixed_version_alone_is_an_error(tmp_path):
    publish(tmp_path, 2, ("f", "f", "g"))
    with pytest.raises(InputError, match="mixes exports: index f, item_tower f, user_tower g"):
        release.latest_release(tmp_path)


def test_damaged_manifest_alone_is_an_error(tmp_path):
    publish(tmp_path, 2)
    (tmp_path / "index" / "2" / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"index/2/manifest\.json is not valid JSON"):
        release.latest_release(tmp_path)


def test_names_that_are_no_versions(tmp_path):
    publish(tmp_path, 3)
    for name in ("-1", "4.tmp", "v5", ".6.partial", "²", "99999999999999999999"):
        (tmp_path / "index" / name).mkdir()
    (tmp_path / "index" / "99").touch()  # A file.
    assert release.list_versions(tmp_path / "index") == [3]


def test_zeros_in_front_may_differ_between_the_parts(tmp_path):
    publish(tmp_path, 3)
    publish(tmp_path, 123)
    for part, name in zip(release.PARTS, ("123", "00000123", "0123"), strict=True):
        (tmp_path / part / "123").rename(tmp_path / part / name)
    latest = release.latest_release(tmp_path)
    assert latest.version == 123
    assert latest.index_dir == tmp_path / "index" / "123"
    assert latest.user_tower_dir == tmp_path / "user_tower" / "0123"
    release.verify(latest)


def test_a_number_beyond_int64_is_no_release(tmp_path):
    publish(tmp_path, 3)
    publish(tmp_path, 99_999_999_999_999_999_999)
    assert release.latest_release(tmp_path).version == 3


def test_nothing_published(tmp_path):
    with pytest.raises(InputError, match="holds no release"):
        release.latest_release(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        release.latest_release(tmp_path / "missing")


def test_run_folder_instead_of_its_serving_folder(tmp_path):
    publish(tmp_path / "serving", 1)
    with pytest.raises(InputError, match=r"Did you mean .*/serving\?"):
        release.latest_release(tmp_path)


def test_manifest_without_fingerprint(tmp_path):
    publish(tmp_path, 1, ("f", "", "f"))
    with pytest.raises(InputError, match="has no fingerprint"):
        release.latest_release(tmp_path)


def test_verify_finds_damage(tmp_path):
    publish(tmp_path, 1)
    latest = release.latest_release(tmp_path)
    release.verify(latest)
    (latest.item_tower_dir / "content").write_text("item_tower 2")
    with pytest.raises(InputError, match="content is damaged"):
        release.verify(latest)
