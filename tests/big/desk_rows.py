"""The rows of the review desk, of the monitors and of people, on top of `rows.UPLOADS`; each statement once."""

from __future__ import annotations

from tests.big.rows import REVIEWERS, SURFACES, Sizes

STATISTICS = (
    "log_likelihood_psi",
    "ai_probability_psi",
    "log_likelihood_wasserstein",
    "not_camera_share",
    "flagged_share",
    "exif_make_psi",
    "exif_missing_psi",
    "format_psi",
)


def statements(sizes: Sizes) -> dict[str, str]:
    """What is made -> how."""
    reviewers = "ARRAY[" + ", ".join(f"'{name}'" for name in REVIEWERS) + "]"
    return {
        "items to choose": _chosen(sizes),
        "review_items": _ITEMS,
        "decisions": _DECISIONS.replace("{reviewers}", reviewers),
        "retractions": """
            INSERT INTO retractions (decision_id, created_at)
            SELECT id, created_at FROM decisions WHERE id % 100 = 7""",
        "review_skips": f"""
            INSERT INTO review_skips (review_item_id, reviewer, reason, created_at)
            SELECT id, 'reviewer-01', 'needs_expert', created_at FROM review_items
            WHERE state = 'open' ORDER BY id LIMIT {sizes.appeals}""",
        "appeals": """
            INSERT INTO appeals (review_item_id, upload_id, appellant, statement, submitted_by, created_at)
            SELECT id, upload_id, 'uploader-' || id, 'I took this picture myself.', 'platform', created_at
            FROM review_items WHERE purpose = 'appeal'""",
        "PDQ hashes": _PDQ,
        "embeddings": _embeddings(sizes),
        "score_counts": f"""
            INSERT INTO score_counts (surface, model_version_id, hour, p_bin, kind, is_soft, count)
            SELECT pg_temp.surface(i), pg_temp.model(i), date_trunc(
                    CASE WHEN pg_temp.moment(i) < date_trunc('day', pg_temp.loaded()) THEN 'day' ELSE 'hour' END,
                    pg_temp.moment(i)),
                ceil(1000 * pg_temp.p_value(i)), pg_temp.kind(i), pg_temp.is_soft(i), count(*)
            FROM generate_series(1, {sizes.scores}) i GROUP BY 1, 2, 3, 4, 5, 6""",
        "audit_log": f"""
            INSERT INTO audit_log (actor, action, subject, detail, created_at)
            SELECT pg_temp.pick(i, 31, {reviewers}), pg_temp.pick(i, 32, ARRAY['review.decided', 'review.skipped',
                'item.opened', 'policy.changed', 'model.promoted']), 'review_item:' || 1 + i % {sizes.decided_items},
                '{{"label": "camera", "note": ""}}', pg_temp.moment(i * {sizes.scores} / {sizes.audit})
            FROM generate_series(1::bigint, {sizes.audit}) i""",
        "drift_snapshots": _snapshots(sizes),
        "dead_letters": _letters(sizes),
        "surface_policies": f"""
            INSERT INTO surface_policies (surface, not_camera_fpr, unsure_fpr, decisions_needed, actor, reason,
                created_at)
            SELECT ({_names(SURFACES)})[1 + i % {len(SURFACES)}], 0.01 + 0.001 * (i % 15), 0.1, 1, 'lead-01',
                'after the quality review', pg_temp.moment(i * {sizes.scores} / 200)
            FROM generate_series(1::bigint, 200) i""",
    }


def _names(words: tuple[str, ...]) -> str:
    return "ARRAY[" + ", ".join(f"'{word}'" for word in words) + "]"


def _chosen(sizes: Sizes) -> str:
    """Of the unsure ones the newest are open, those before them decided; the sure ones give samples and golden ones."""
    unsure = sizes.open_items + sizes.decided_items + sizes.disputes
    rare = sizes.samples + sizes.goldens + sizes.appeals
    return f"""
    CREATE TABLE pg_temp.chosen AS
    WITH unsure AS (
        SELECT i, row_number() OVER (ORDER BY i DESC) AS rank FROM (
            SELECT i FROM generate_series({sizes.scores}, 1, -1) i WHERE pg_temp.kind(i) = 'unsure' LIMIT {unsure}
        ) newest
    ), sure AS (
        SELECT i, row_number() OVER (ORDER BY i DESC) AS rank FROM (
            SELECT i FROM generate_series({sizes.scores}, 1, -1) i
            WHERE pg_temp.kind(i) = 'not_camera' OR pg_temp.kind(i) = 'camera' AND i % 5 = 0 LIMIT {rare}
        ) newest
    )
    SELECT i, 'unsure' AS purpose, CASE WHEN rank <= {sizes.open_items} THEN 'open'
        WHEN rank <= {sizes.open_items + sizes.disputes} THEN 'disputed' ELSE 'decided' END AS state
    FROM unsure
    UNION ALL
    SELECT i, CASE WHEN rank <= {sizes.samples} THEN 'sample'
            WHEN rank <= {sizes.samples + sizes.goldens} THEN 'golden' ELSE 'appeal' END,
        CASE WHEN rank <= {sizes.samples} AND rank % 5 > 0 THEN 'decided'
            WHEN rank > {sizes.samples + sizes.goldens} AND rank % 3 = 0 THEN 'decided' ELSE 'open' END
    FROM sure;
    ANALYZE pg_temp.chosen
    """


_ITEMS = """
    INSERT INTO review_items (verdict_id, upload_id, sha256, purpose, state, surface, lane, kind, format, camera_make,
        model_version_id, p_value, decisions_needed, golden_label, outcome, prepared_at, created_at, closed_at)
    SELECT i, i, pg_temp.hash(i), purpose, c.state, pg_temp.surface(i), u.lane, pg_temp.kind(i), pg_temp.format(i),
        e.make, pg_temp.model(i), pg_temp.p_value(i),
        CASE WHEN c.state = 'disputed' OR i % 10 = 0 THEN 2 ELSE 1 END,
        CASE WHEN purpose = 'golden' THEN replace(pg_temp.kind(i), 'unsure', 'camera') END,
        CASE WHEN c.state = 'decided' THEN pg_temp.pick(i, 21, ARRAY['camera', 'camera', 'not_camera'])
        END,
        pg_temp.moment(i), pg_temp.moment(i),
        CASE WHEN c.state = 'decided' THEN pg_temp.moment(i) + interval '20 minutes' END
    FROM pg_temp.chosen c JOIN uploads u ON u.id = i LEFT JOIN exif e ON e.sha256 = u.sha256 ORDER BY i, purpose
"""

_DECISIONS = """
    INSERT INTO decisions (review_item_id, sha256, reviewer, label, reason, note, seconds, is_final, created_at)
    SELECT item.id, item.sha256, reviewer, CASE
            WHEN state = 'disputed' THEN CASE number WHEN 1 THEN 'camera' ELSE 'not_camera' END
            WHEN purpose = 'golden' AND pg_temp.chance(item.id + number, 22) < 0.9 THEN golden_label
            ELSE coalesce(outcome, 'camera') END,
        NULL, '', 3 + 30 * power(pg_temp.chance(item.id + number, 23), 3), false,
        least(item.created_at + number * interval '5 minutes', pg_temp.loaded())
    FROM review_items item,
        generate_series(1, CASE WHEN purpose = 'golden' THEN 12 WHEN state = 'open' THEN 0 ELSE decisions_needed END)
            number,
        LATERAL (SELECT ({reviewers})[1 + (item.id + 7 * number) % 20] AS reviewer) chosen
    ORDER BY item.id, number
"""

_PDQ = """
    UPDATE media SET pdq = near.hash FROM (
        SELECT sha256, ('x' || encode(sha256(int8send(id / 4)), 'hex'))::bit(256)
            # (('x' || encode(sha256(int8send(id)), 'hex'))::bit(256)
            & ('x' || encode(sha256(int8send(-id)), 'hex'))::bit(256)
            & ('x' || encode(sha256(int8send(id + 1000000000)), 'hex'))::bit(256)
            & ('x' || encode(sha256(int8send(id + 2000000000)), 'hex'))::bit(256)) AS hash
        FROM review_items
    ) near WHERE near.sha256 = media.sha256
"""
"""Four items at a time are near copies of one another: 16 bits from their common one on average."""


def _embeddings(sizes: Sizes) -> str:
    return f"""
    INSERT INTO embeddings (sha256, encoder_version, embedding, is_verified, created_at)
    SELECT sha256, 1, (
            SELECT array_agg(((hashint8extended(item.id, k) & 65535) / 32768.0 - 1)::real)
            FROM generate_series(1, 528) k
        )::vector, state = 'decided' AND outcome = 'camera' AND id <= {max(100, sizes.decided_items // 2)}, created_at
    FROM review_items item ON CONFLICT DO NOTHING
    """


def _snapshots(sizes: Sizes) -> str:
    """Of each surface, hour by hour, back from now; one in fifty raised an alert."""
    statistics = ", ".join(
        f"'{name}', jsonb_build_object('name', '{name}', 'count', 800 + i % 200, 'value', 0.02 + 0.06 *"
        f" pg_temp.chance(i, {salt}), 'limit', 0.1, 'p_value', 0.3, 'false_alarm_rate', 0.001, 'note', '')"
        for salt, name in enumerate(STATISTICS, start=41)
    )
    return f"""
    INSERT INTO drift_snapshots (model_version_id, surface, period_start, period_end, count, statistics, alerts,
        created_at)
    SELECT CASE WHEN hours > {24 * 18} THEN 1 ELSE 2 END, surface, ended - interval '1 hour', ended, 800 + i % 200,
        jsonb_build_object({statistics}),
        CASE WHEN i % 50 = 0 THEN ARRAY[surface || ': log_likelihood_psi is 0.14, limit 0.1 (900 images, p = 0.0004;'
            || ' a quiet window passes this limit with probability 0.001)'] ELSE ARRAY[]::text[] END, ended
    FROM (
        SELECT i, i / {len(SURFACES)} AS hours, ({_names(SURFACES)})[1 + i % {len(SURFACES)}] AS surface,
            date_trunc('hour', pg_temp.loaded()) - i / {len(SURFACES)} * interval '1 hour' AS ended
        FROM generate_series({sizes.snapshots} - 1, 0, -1) i
    ) windows
    """


def _letters(sizes: Sizes) -> str:
    """The newest uploads without a score; as many again were settled."""
    reasons = "ARRAY['timeout', 'detector_failed', 'object_missing', 'out_of_memory']"
    return f"""
    INSERT INTO dead_letters (upload_id, stage, reason, detail, attempts, created_at, resolved_at, resolution,
        resolved_by)
    SELECT i, 'score', pg_temp.pick(i, 51, {reasons}), 'it took longer than 120 s', 3, pg_temp.moment(i),
        CASE WHEN is_old THEN pg_temp.moment(i) END, CASE WHEN is_old THEN 'replayed' END,
        CASE WHEN is_old THEN 'lead-01' END
    FROM (
        SELECT i, i <= {sizes.uploads - sizes.letters} AS is_old
        FROM generate_series({sizes.uploads - 2 * sizes.letters + 1}, {sizes.uploads}) i
    ) letters
    """
