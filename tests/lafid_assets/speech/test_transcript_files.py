"""Transcripts made elsewhere: three forms, one result; bad rows are left out and told, another form is refused in one line."""

import json
from pathlib import Path

import pytest

from lafid_assets.speech.transcript import TranscriptSegment
from lafid_assets.speech.transcript_files import TranscriptsUnusable, read_transcripts, segments_within

EXPECTED = {
    "aa": (TranscriptSegment(0.5, 2.0, "Hello, you.", None, None, None), TranscriptSegment(2.5, 3.25, "Bye.", None, None, None)),
    "bb": (TranscriptSegment(0.0, 1.0, "Good day", None, None, None),),
}


def _csv(folder: Path, text: str) -> Path:
    path = folder / "speech.csv"
    path.write_text(text)
    return path


def test_csv(tmp_path):
    read = read_transcripts(
        _csv(tmp_path, 'clip_id,start_s,end_s,text,note\naa,2.5,3.25,Bye.,x\nbb,0,1,Good day,\naa,0.5,2.0,"Hello, you.",\n')
    )
    assert read.segments == EXPECTED
    assert read.name == "speech.csv"


@pytest.mark.parametrize("by_clip", [False, True])
def test_json(tmp_path, by_clip):
    names = ("start", "end") if by_clip else ("start_s", "end_s")
    rows = [
        {"clip_id": clip, names[0]: one.start_s, names[1]: one.end_s, "text": one.text}
        for clip, segments in EXPECTED.items()
        for one in segments
    ]
    grouped = {
        clip: [{k: v for k, v in row.items() if k != "clip_id"} for row in rows if row["clip_id"] == clip] for clip in EXPECTED
    }
    (tmp_path / "speech.json").write_text(json.dumps(grouped if by_clip else rows))
    assert read_transcripts(tmp_path / "speech.json").segments == EXPECTED


def test_srt_folder(tmp_path):
    folder = tmp_path / "subtitles"
    folder.mkdir()
    (folder / "aa.srt").write_bytes(
        b"1\r\n00:00:00,500 --> 00:00:02,000\r\n<i>Hello,</i>\r\nyou.\r\n\r\n2\r\n00:00:02,500 --> 00:00:03,250\r\nBye.\r\n"
    )
    (folder / "bb.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nGood day\n")
    assert read_transcripts(folder).segments == EXPECTED


def test_scores_and_language_come_along(tmp_path):
    path = _csv(tmp_path, "clip_id,start_s,end_s,text,language,avg_logprob,no_speech_prob\naa,0,1,Hi,en,-0.5,0.1\nbb,0,1,Hi,,,\n")
    assert read_transcripts(path).segments == {
        "aa": (TranscriptSegment(0, 1, "Hi", "en", -0.5, 0.1),),
        "bb": (TranscriptSegment(0, 1, "Hi", None, None, None),),
    }


def test_a_bad_segment_is_left_out_and_told_and_the_file_stays(tmp_path):
    read = read_transcripts(
        _csv(
            tmp_path,
            "clip_id,start_s,end_s,text,avg_logprob\n"
            "aa,0,1,fine,\n,0,1,x,\naa,2,1,x,\naa,zero,1,x,\naa,0,nan,x,\naa,0,1,,\naa,0,1,x,3\naa,-0.02,1,x,\nbb,1,1,x,\n",
        )
    )
    assert read.segments == {"aa": (TranscriptSegment(0, 1, "fine", None, None, None),)}
    assert len(read.faults) == 8
    assert read.told_faults.startswith("8 bad rows: line 3: clip_id:")
    assert "line 4: the segment ends at 1 s, before or where it starts (2 s)" in read.told_faults
    assert "line 5: start_s" in read.told_faults
    assert read.told_faults.endswith("; and 3 more")
    assert "\n" not in read.told_faults


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_comma_or_quotation_mark_that_is_not_escaped_costs_its_row_alone_and_is_told(tmp_path, ending):
    rows = [
        "clip_id,start_s,end_s,text",
        "aa,0,1,fine",
        "aa,1,2,Hello, you.",
        'aa,2,3,"She said "no" to him"',
        'aa,3,4,"never closed',
        'bb,0,1,"one',
        'and another line, of ""one"" row"',
        "",
        'cc,0,1,a 5" screen',
        'cc,1,2,"open to the end',
        "cc,2,3,last",
    ]
    path = tmp_path / "speech.csv"
    path.write_bytes(ending.join([*rows, ""]).encode())
    read = read_transcripts(path)
    told = {clip: [one.text.replace("\r", "") for one in segments] for clip, segments in read.segments.items()}
    assert told == {"aa": ["fine"], "bb": ['one\nand another line, of "one" row'], "cc": ['a 5" screen', "last"]}
    assert [fault.partition(":")[0] for fault in read.faults] == ["line 3", "line 4", "line 5", "line 10"]
    assert "line 3: 5 values in 4 columns: a text with a comma stands in quotation marks" in read.told_faults


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '{"a": [{"start": 0, "end": 1, "text": "hi", "avg_logprob": NaN}]}'),
        ("a.json", '[{"clip_id": "a", "start": NaN, "end": 1, "text": "x"}]'),
        ("a.json", '{"a": [{"start": 1, "end": 1, "text": "x"}]}'),
        ("a.csv", "clip_id,start_s,end_s,text\na,-0.02,1,hi\n"),
        ("s/a.srt", "1\n00:00:00,000 --> 00:00:01,000\n\n"),
    ],
)
def test_a_file_of_bad_segments_alone_still_has_the_right_form(tmp_path, name, content):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    read = read_transcripts(path.parent if name.startswith("s/") else path)
    assert read.segments == {}
    assert len(read.faults) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "clip_id,text\naa,x\n", "column end_s, start_s is missing"),
        ("a.csv", "", "column clip_id, end_s, start_s, text is missing"),
        ("a.csv", '"clip_id,start_s,end_s,text\naa,0,1,x\n', "line 1: unexpected end of data"),
        ("a.csv", "clip_id,start_s,end_s,text\naa,0,1,Hello, you.\n", "1 bad rows: line 2: 5 values in 4 columns"),
        ("a.json", "{", "a.json: Expecting"),
        ("a.json", '{"aa": [], "aa": []}', "aa is there twice in one object"),
        ("a.json", "3", "neither a list of rows nor an object"),
        ("a.json", '{"aa": "hello"}', "aa stands before no list of segments"),
        ("a.json", '{"aa": ["hello"]}', "1 bad rows: clip aa, segment 1"),
        ("a.json", '[{"clip_id": "a", "from": 0, "to": 1, "text": "x"}]', "1 bad rows: row 1: start"),
        ("s/aa.srt", "1\nsoon\nhello\n", "aa.srt, block 1"),
        ("s/note.txt", "x", "no <clip_id>.srt in the folder"),
        ("a.txt", "x", "there is no such .csv or .json file or folder of .srt files"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    with pytest.raises(TranscriptsUnusable, match=message):
        read_transcripts(path.parent if name.startswith("s/") else path)


def test_latin_letters_in_another_encoding_are_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes("clip_id,start_s,end_s,text\naa,0,1,caf\xe9\n".encode("latin-1"))
    with pytest.raises(TranscriptsUnusable, match=r"a\.csv: not UTF-8"):
        read_transcripts(tmp_path / "a.csv")


def test_the_digest_follows_the_content(tmp_path):
    header = "clip_id,start_s,end_s,text\n"
    first = read_transcripts(_csv(tmp_path, header + "aa,0,1,one\n")).sha256
    assert read_transcripts(_csv(tmp_path, header + "aa,0,1,two\n")).sha256 != first
    assert read_transcripts(_csv(tmp_path, header + "aa,0,1,one\n")).sha256 == first


def test_of_a_transcript_of_the_whole_recording_a_piece_has_what_is_mostly_said_in_it() -> None:
    said = [
        (0.0, 2.0, "before"),
        (4.6, 6.0, "begins early"),
        (6.0, 7.0, "inside"),
        (8.5, 9.4, "ends late"),
        (8.9, 12.0, "behind"),
    ]
    segments = [TranscriptSegment(start, end, text, None, None, None) for start, end, text in said]
    found = segments_within(segments, 5.0, 9.0)
    assert [(one.start_s, one.end_s, one.text) for one in found] == [
        (0.0, 1.0, "begins early"),
        (1.0, 2.0, "inside"),
        (3.5, 4.0, "ends late"),
    ]
