"""What a big database holds, as SQL: rows 1 to n of each table, made by the server from nothing but their number.

The same number gives the same row, apart from the times, which lie in the 30 days before loading. One upload in ten is
no photograph; the p-values of the others are even, as the calibration promises. `:n` scores have `:n / 50` uploads
without one beside them. `{first}` and `{last}` are a batch's numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

DAYS = 30
SURFACES = ("posts", "avatars", "stories", "chat", "listings", "reviews", "dating", "news")
REVIEWERS = tuple(f"reviewer-{number:02}" for number in range(1, 21))


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many rows of what, from the number of scores."""

    scores: int
    queue: int = 1
    """So many times the usual share of items and audit rows: in a small database they must be many, too."""

    @property
    def uploads(self) -> int:
        return self.scores + max(100, self.scores // 50)

    @property
    def open_items(self) -> int:
        return self.queue * self.scores // 50

    @property
    def decided_items(self) -> int:
        return self.queue * self.scores // 250

    @property
    def samples(self) -> int:
        return self.scores // 1000

    @property
    def goldens(self) -> int:
        return max(20, self.scores // 25_000)

    @property
    def appeals(self) -> int:
        return max(20, self.scores // 10_000)

    @property
    def disputes(self) -> int:
        return max(20, self.scores // 16_000)

    @property
    def letters(self) -> int:
        """Unresolved dead letters."""
        return max(50, self.scores // 1000)

    @property
    def audit(self) -> int:
        return self.queue * self.scores // 25

    @property
    def snapshots(self) -> int:
        return self.scores // 100


def functions(sizes: Sizes, loaded: datetime) -> str:
    """Functions of a row's number, which the planner can inline. `loaded`: when the last row came in."""
    surfaces = ", ".join(f"'{name}'" for name in SURFACES)
    return f"""
    CREATE FUNCTION pg_temp.loaded() RETURNS timestamptz LANGUAGE sql IMMUTABLE AS
        $$ SELECT '{loaded.isoformat()}'::timestamptz $$;
    CREATE FUNCTION pg_temp.chance(i bigint, salt int) RETURNS float8 LANGUAGE sql IMMUTABLE AS
        $$ SELECT ((hashint8extended(i, salt) & 2147483647) + 0.5) / 2147483648.0 $$;
    CREATE FUNCTION pg_temp.pick(i bigint, salt int, words text[]) RETURNS text LANGUAGE sql IMMUTABLE AS
        $$ SELECT words[1 + floor(array_length(words, 1) * power(pg_temp.chance(i, salt), 2))::int] $$;
    CREATE FUNCTION pg_temp.hash(i bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
        $$ SELECT encode(sha256(int8send(i)), 'hex') $$;
    CREATE FUNCTION pg_temp.moment(i bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS
        $$ SELECT pg_temp.loaded() - (1 - least(i, {sizes.scores}) / {sizes.scores}::float8)
            * interval '{DAYS} days' $$;
    CREATE FUNCTION pg_temp.surface(i bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
        $$ SELECT pg_temp.pick(i, 1, ARRAY[{surfaces}]) $$;
    CREATE FUNCTION pg_temp.p_value(i bigint) RETURNS float8 LANGUAGE sql IMMUTABLE AS
        $$ SELECT greatest(0.0005, CASE WHEN pg_temp.chance(i, 2) < 0.1 THEN power(pg_temp.chance(i, 3), 6)
            ELSE pg_temp.chance(i, 3) END) $$;
    CREATE FUNCTION pg_temp.is_soft(i bigint) RETURNS bool LANGUAGE sql IMMUTABLE AS
        $$ SELECT pg_temp.chance(i, 4) < 0.02 $$;
    CREATE FUNCTION pg_temp.model(i bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
        $$ SELECT CASE WHEN i <= {2 * sizes.scores // 5} THEN 1 ELSE 2 END $$;
    CREATE FUNCTION pg_temp.kind(i bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
        $$ SELECT CASE WHEN i > {sizes.scores} THEN CASE WHEN i % 2 = 0 THEN 'not_applicable' ELSE 'rejected' END
            WHEN pg_temp.p_value(i) <= 0.02 THEN 'not_camera'
            WHEN pg_temp.p_value(i) <= 0.1 OR pg_temp.is_soft(i) THEN 'unsure' ELSE 'camera' END $$;
    CREATE FUNCTION pg_temp.format(i bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
        $$ SELECT pg_temp.pick(i, 5, ARRAY['JPEG', 'HEIF', 'PNG', 'WEBP', 'AVIF']) $$;
    CREATE FUNCTION pg_temp.make(i bigint) RETURNS text LANGUAGE sql IMMUTABLE AS
        $$ SELECT pg_temp.pick(i, 6, ARRAY['Apple', 'samsung', 'Google', 'Canon', 'NIKON CORPORATION', 'SONY',
            'FUJIFILM', 'Panasonic']) $$;
    """


UPLOADS: dict[str, str] = {
    # Table -> its rows; each is run in batches over all uploads, scored or not.
    "uploads": """
        INSERT INTO uploads (id, event_id, bucket, object_key, identity, etag, sequencer, surface, uploader_id, lane,
            uploaded_at, received_at, queued_at, state, attempts, sha256, updated_at)
        SELECT i, 'event-' || i, 'uploads', pg_temp.surface(i) || '/' || to_char(i, 'FM0000000000') || '.jpg',
            left(pg_temp.hash(i), 32), left(pg_temp.hash(i), 32), upper(to_hex(i)), pg_temp.surface(i),
            'uploader-' || floor(power(pg_temp.chance(i, 7), 3) * {n} / 10)::int,
            pg_temp.pick(i, 8, ARRAY['live', 'live', 'live', 'backfill', 'rescore']),
            pg_temp.moment(i), pg_temp.moment(i), pg_temp.moment(i), 'done', 1, pg_temp.hash(i), pg_temp.moment(i)
        FROM generate_series({first}, {last}) i""",
    "announcements": """
        INSERT INTO announcements (id, upload_id, event_id, received_at)
        SELECT i, i, 'event-' || i, pg_temp.moment(i) FROM generate_series({first}, {last}) i""",
    "media": """
        INSERT INTO media (sha256, format, width, height, byte_size, provenance, rejected, not_applicable, detail,
            created_at)
        SELECT pg_temp.hash(i), pg_temp.format(i), 4032, 3024, 500000 + i % 2500000,
            CASE WHEN pg_temp.chance(i, 9) < 0.03 THEN
                '[{{"kind": "generator", "value": "GIMP 2.10", "found_in": "EXIF:Software"}}]' ELSE '[]' END::jsonb,
            CASE WHEN pg_temp.kind(i) = 'rejected' THEN 'corrupt' END,
            CASE WHEN pg_temp.kind(i) = 'not_applicable' THEN 'graphic' END, '', pg_temp.moment(i)
        FROM generate_series({first}, {last}) i""",
    "exif": """
        INSERT INTO exif (sha256, make, model, tags, reader, warnings)
        SELECT pg_temp.hash(i), make, make || ' ' || i % 40,
            jsonb_build_object('Make', make, 'Model', make || ' ' || i % 40, 'ISO', 50 * (1 + i % 64), 'FNumber', 1.8),
            'exiftool', ARRAY[]::text[]
        FROM (SELECT i, CASE WHEN pg_temp.chance(i, 10) < 0.7 THEN pg_temp.make(i) END AS make
            FROM generate_series({first}, {last}) i) images""",
    "scores": """
        INSERT INTO scores (sha256, model_version_id, log_likelihood, percentile, percentile_low, percentile_high,
            ai_probability, fused, p_value, full_size_p_value, half_size_p_value, patch_log_likelihoods, patch_corners,
            exif_predictions, timings, created_at)
        SELECT pg_temp.hash(i), pg_temp.model(i), 750 + 1400 * p, 100 * p, greatest(0, 100 * p - 2),
            least(100, 100 * p + 2), 1 - p, 4 * p - 2, p, p, p, ARRAY[900 - 40 * p, 1200, 1500, 1100 + 60 * p],
            '[[0, 0], [640, 512], [1280, 1024], [1920, 1536]]',
            jsonb_build_array(
                jsonb_build_object('tag', 'Make', 'predicted', pg_temp.make(i + 1), 'probability', 0.62,
                    'claimed', pg_temp.make(i), 'claimed_probability', 0.21),
                jsonb_build_object('tag', 'Handling', 'predicted',
                    CASE WHEN pg_temp.is_soft(i) THEN 'soft' ELSE 'as_made' END, 'probability', 0.8,
                    'claimed', NULL, 'claimed_probability', NULL)),
            '{{"fetch": 4.5, "decode": 21, "patches": 6, "detector": 95, "score": 2}}', pg_temp.moment(i)
        FROM (SELECT i, pg_temp.p_value(i) AS p FROM generate_series({first}, least({last}, {n})) i) images""",
    "verdicts": """
        INSERT INTO verdicts (id, upload_id, model_version_id, sha256, kind, reason, policy, timings, created_at)
        SELECT i, i, pg_temp.model(i), pg_temp.hash(i), pg_temp.kind(i),
            CASE WHEN i > {n} THEN CASE WHEN i % 2 = 0 THEN 'graphic' ELSE 'corrupt' END
                WHEN pg_temp.p_value(i) <= 0.02 THEN 'p_value_at_most_not_camera_fpr'
                WHEN pg_temp.p_value(i) <= 0.1 THEN 'p_value_at_most_unsure_fpr'
                WHEN pg_temp.is_soft(i) THEN 'too_soft_to_tell' ELSE 'p_value_above_unsure_fpr' END,
            '{{"not_camera_fpr": 0.02, "unsure_fpr": 0.1}}', '{{"fetch": 4.5, "score": 130}}', pg_temp.moment(i)
        FROM generate_series({first}, {last}) i""",
}
