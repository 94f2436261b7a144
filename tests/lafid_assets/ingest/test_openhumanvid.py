"""Released tables in all their spellings; `test_listing` joins them with files."""

from pathlib import Path

import polars as pl
import pytest

from lafid_assets.ingest.clip_root import root_at
from lafid_assets.ingest.openhumanvid import SourceUnusable, read_table, read_tables

ID = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32
HEADER = "clip_id,path,caption,luminance_min,aesthetic"


def _read(table: Path) -> pl.DataFrame:
    return read_table(root_at(table.parent), table.name)


def _part(root: Path, *lines: str, header: str = HEADER, number: int = 1, bom: bool = False) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"OpenHumanVid_part_{number:03}.csv"
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8-sig" if bom else "utf-8")
    return path


def test_byte_order_mark_and_spare_trailing_columns_are_tolerated(tmp_path: Path) -> None:
    table = _part(tmp_path, f"{ID},a,text,1,2,,", f"{OTHER},b,more,3,4", header=f"{HEADER},,", bom=True)
    assert _read(table).select("clip_id", "path", "caption", "aesthetic").rows() == [
        (ID, "a", "text", 2.0),
        (OTHER, "b", "more", 4.0),
    ]


def test_rows_longer_than_the_header_are_cut(tmp_path: Path) -> None:
    assert _read(_part(tmp_path, f"{ID},a,text,1,2,spare,spare")).height == 1


def test_measure_that_is_no_number_is_null(tmp_path: Path) -> None:
    assert _read(_part(tmp_path, f"{ID},a,text,n/a,")).select("luminance_min", "aesthetic").rows() == [(None, None)]


@pytest.mark.parametrize("missing", ["clip_id", "path", "caption"])
def test_missing_column_is_named_with_its_file(tmp_path: Path, missing: str) -> None:
    header = ",".join(name for name in HEADER.split(",") if name != missing)
    table = _part(tmp_path, "1,2,3,4", header=header)
    with pytest.raises(
        SourceUnusable, match=f"the table {table} has no column {missing}: OpenHumanVid's tables need clip_id, path"
    ):
        _read(table)


def test_row_without_id_is_named(tmp_path: Path) -> None:
    table = _part(tmp_path, f"{ID},a,text,1,2", ",b,text,1,2")
    with pytest.raises(SourceUnusable, match=f"{table} has 1 rows without clip_id"):
        _read(table)


def test_row_with_an_empty_id_in_quotes_is_named(tmp_path: Path) -> None:
    table = _part(tmp_path, '"",b,text,1,2')
    with pytest.raises(SourceUnusable, match=f"{table} has 1 rows without clip_id"):
        _read(table)


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    assert _read(_part(tmp_path, "", f"{ID},a,text,1,2", "", f"{OTHER},b,text,1,2", ""))["clip_id"].to_list() == [ID, OTHER]


@pytest.mark.parametrize(
    ("rows", "line", "row"),
    [
        (["a,p,x,1,2", 'b,p,"She says,1,2', "c,p,x,1,2"], 3, "b"),
        (['a,p,"She says,1,2', "b,p,x,1,2", 'c,p,"fine",1,2', "d,p,x,1,2"], 2, "a"),
        (['a,p,"two\nlines",1,2', 'b,p,a 5" tall doll,1,2', "c,p,x,1,2"], 4, "b"),
        (["a,p,x,1,2", 'b,p,"he said" and left,1,2'], 3, "b"),
        (['a,p,one 5" doll,1,2', "b,p,x,1,2", 'c,p,another 6" doll,1,2'], 2, "a"),
    ],
    ids=["never closed", "closed by a later row", "inch mark", "text after the quote", "two inch marks"],
)
def test_stray_quote_is_named_with_its_line_and_row(tmp_path: Path, rows: list[str], line: int, row: str) -> None:
    table = _part(tmp_path, *rows)
    with pytest.raises(
        SourceUnusable, match=f"cannot read the table {table}: a stray quote in line {line} \\(row '{row}'\\): write"
    ):
        _read(table)


def test_quotes_and_lines_within_a_text_are_read(tmp_path: Path) -> None:
    table = _part(tmp_path, f'{ID},a,"x\ny",1,2', f'{OTHER},b,"say ""hi""",1,2')
    assert _read(table)["caption"].to_list() == ["x\ny", 'say "hi"']


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01", b'clip_id,path,caption\n"a,b,c\n\xff'])
def test_unreadable_table_is_named(tmp_path: Path, content: bytes) -> None:
    table = tmp_path / "OpenHumanVid_part_001.csv"
    table.write_bytes(content)
    with pytest.raises(SourceUnusable, match=f"{table}"):
        _read(table)


def test_all_parts_are_read_and_the_first_row_of_an_id_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tables = [
        _part(tmp_path, f"{ID},a,first,1,2", f"{ID},a,second,1,2", number=1),
        _part(tmp_path, f"{ID},a,third,1,2", f"{OTHER},b,other,1,2", number=2),
    ]
    assert read_tables(root_at(tmp_path), [table.name for table in tables]).select("clip_id", "caption").rows() == [
        (ID, "first"),
        (OTHER, "other"),
    ]
    assert f"2 rows below {tmp_path} repeat a clip_id" in caplog.text
