"""The files for browsers."""

from serving.api import static_files


def test_every_file_of_the_pages_is_served_and_each_has_a_media_type() -> None:
    assert set(static_files.OWN.iterdir()) == {file for file in static_files.FILES.values() if "web" in file.parts}
    assert {file.suffix for file in static_files.FILES.values()} == set(static_files.TYPES)


def test_nothing_of_the_pages_is_loaded_from_elsewhere() -> None:
    for file in static_files.OWN.iterdir():
        assert "//" not in file.read_text("utf-8").replace("// ", "").replace("https?:\\/\\/", ""), file.name
