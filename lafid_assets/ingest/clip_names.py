"""What the file of a clip may be called, and which file a path means that somebody wrote down.

Belongs here: names alone. Not here: looking at a disk (`folder_walk`), reading tables and lists (`openhumanvid`, `listing`).
"""

import polars as pl

_KINDS = "mp4|mov|m4v|mkv|webm|avi|gif|mpg|mpeg|ts|wmv|flv|mts|m2ts|3gp|ogv|mxf|asf|vob|divx|f4v"
VIDEO_SUFFIXES = frozenset(f".{kind}" for kind in _KINDS.split("|"))
_SUFFIX = rf"(?i:\.(?:{_KINDS}))$"


def has_video_suffix(path: pl.Expr) -> pl.Expr:
    """Whether a path ends as a video does, in capitals or not."""
    return path.str.contains(_SUFFIX)


def released_id(path: pl.Expr) -> pl.Expr:
    """The 32 hex digits that are a file's whole name but for a video suffix; NULL under any other name."""
    return path.str.replace(_SUFFIX, "").str.extract("(?:^|/)([0-9a-f]{32})$")


def plain_paths(written: pl.Series) -> pl.Series:
    """Paths with `/` between their parts and nothing said twice. They lead where they led: absolute and `..` stay as they are."""
    if not written.str.contains(r"\\|//|(?:^|/)\./").any():  # the rule: a million texts need not be copied
        return written
    slashed = written.str.replace_all("\\", "/", literal=True)
    return slashed.str.replace(r"^(?:\./+)+", "").str.replace_all(r"/(?:\.?/)+", "/")


def find_paths(written: pl.Series, files: pl.Series) -> pl.DataFrame:
    """Which of `files` every written path means: the one of that name, else one that differs in its suffix alone.

    Released archives come with and without suffix, and tables from Windows. Of several files, the same name in other capitals
    goes before .mp4, and that before the others. A file that one path names exactly is no other's.

    Args:
        written: paths as somebody wrote them, in any number; an empty one means no file.
        files: paths relative to the root, each once.

    Returns:
        frame (`written`, `found`), a row for every written path that means a file.
    """
    ours = files.alias("found").to_frame()
    asked = written.alias("written").to_frame().filter(pl.col("written") != "").unique()
    asked = asked.with_columns(plain=plain_paths(asked["written"]))
    # A backslash may also be part of a name.
    literal = asked.filter(pl.col("plain") != pl.col("written")).join(ours, left_on="written", right_on="found", how="semi")
    named = pl.when(pl.col("written").is_in(literal["written"].implode())).then("written").otherwise("plain")
    asked = asked.select("written", named=named).join(ours.with_columns(named="found"), on="named", how="left")
    exact, rest = asked.filter(pl.col("found").is_not_null()), asked.filter(pl.col("found").is_null())
    spare = ours.join(exact, on="found", how="anti").with_columns(stem=pl.col("found").str.replace(_SUFFIX, ""))
    near = rest.drop("found").with_columns(stem=pl.col("named").str.replace(_SUFFIX, "")).join(spare, on="stem")
    if near["written"].n_unique() < near.height:
        lower = pl.col("found").str.to_lowercase()
        order = (lower != pl.col("named").str.to_lowercase(), ~lower.str.ends_with(".mp4"), pl.col("found"))
        near = near.sort(order).unique("written", keep="first", maintain_order=True)
    return pl.concat([exact.select("written", "found"), near.select("written", "found")])
