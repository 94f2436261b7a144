"""Which clips may show the same shot, by the hashes of their pictures alone.

Belongs here: hashes of all clips -> pairs, as they are and mirrored. Not here: comparing a pair (`comparison`).

A hash is looked up by its parts: two that differ in fewer bits than there are parts share one, and of those that differ in some
more most do. Clips that share a part are found by a join on it, so that the work follows the number of clips and of pairs that
are found, not of all pairs; DuckDB spills what does not fit into memory. For mirrored copies one side alone is looked up twice:
the whole pictures, of which there are fewer than of crops.
"""

import polars as pl

from lafid_assets.duplicates.comparison import MOST_BITS_APART
from lafid_assets.pictures.picture_hash import MIRROR
from resources.lake.duckdb_extensions import duckdb_cursor
from resources.lake.frames import lent

PARTS, PART_BITS = 3, 21
LEAST_MOMENTS = 2
"""Least moments, of those at which a clip's crops are hashed: one alone may be a common picture, such as a studio."""

_PAIRS = f"""
    WITH whole AS MATERIALIZED (
        SELECT DISTINCT clip, picture_hash AS hash, is_new FROM looks
    ), either AS (
        SELECT *, false AS mirrored FROM whole UNION ALL SELECT clip, xor(hash, {MIRROR}), is_new, true FROM whole
    ), crops AS MATERIALIZED (
        SELECT DISTINCT clip, moment, unnest(crop_hashes) AS hash, is_new FROM looks WHERE crop_hashes IS NOT NULL
    ), parts_whole AS (
        SELECT *, part, (hash >> ({PART_BITS} * part)) & {(1 << PART_BITS) - 1} AS value FROM either, range({PARTS}) parts(part)
    ), parts_crops AS (
        SELECT *, part, (hash >> ({PART_BITS} * part)) & {(1 << PART_BITS) - 1} AS value FROM crops, range({PARTS}) parts(part)
    ), met AS (
        SELECT c.clip AS cropped, w.clip AS whole, w.mirrored, count(DISTINCT c.moment) AS moments
        FROM parts_crops c JOIN parts_whole w USING (part, value)
        WHERE c.clip <> w.clip AND (c.is_new OR w.is_new) AND bit_count(xor(c.hash, w.hash)) <= {MOST_BITS_APART}
        GROUP BY ALL
    ), asked AS (SELECT clip, count(DISTINCT moment) AS moments FROM crops GROUP BY clip)
    SELECT DISTINCT least(cropped, whole) AS first, greatest(cropped, whole) AS second, mirrored
    FROM met JOIN asked ON asked.clip = met.cropped
    WHERE met.moments >= least({LEAST_MOMENTS}, asked.moments) ORDER BY ALL
"""


def find_candidates(looks: pl.DataFrame) -> pl.DataFrame:
    """`first`, `second`, `mirrored`: pairs of clips of which at least one is new, each pair once, or once more where the pictures
    of one are alike in a mirror, too.

    Args:
        looks: `clip` (any number), `moment`, `picture_hash`, `crop_hashes`, `is_new`, a row a hashed picture.
    """
    cursor = duckdb_cursor(())
    try:
        with lent(cursor, looks=looks):
            return cursor.execute(_PAIRS).pl()
    finally:
        cursor.close()
