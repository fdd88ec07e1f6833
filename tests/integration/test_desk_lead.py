"""The lead's pages on real rows: what they show, and what their forms do."""

from __future__ import annotations

import csv
import io
import json
import re
from html import unescape

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text

from pipeline.people import Role
from pipeline.records import SurfacePolicy, Verdict, VerdictKind
from pipeline.store import Stores
from tests.desk import signed_in
from tests.factories import add_model, add_upload, make_examination, make_score
from tests.servers import settings_for
from workers.recount import HOUR, recount
from workers.web.app import create_app
from workers.web.desk import audit
from workers.web.desk.markdown import to_html


@pytest.fixture
def settings(fresh_dsn, redis_url):
    return settings_for(LENSWATCH_POSTGRES__DSN=fresh_dsn, LENSWATCH_REDIS__URL=redis_url)


@pytest.fixture
def stores(settings):
    stores = Stores(settings.postgres)
    yield stores
    stores.close()


@pytest.fixture
def sql(fresh_dsn):
    """What a statement gives, as a list of rows."""
    engine = create_engine(fresh_dsn)

    def run(statement, **values):
        with engine.begin() as connection:
            found = connection.execute(text(statement), values)
            return list(found) if found.returns_rows else []

    yield run
    engine.dispose()


@pytest.fixture
def web(settings):
    with TestClient(create_app(settings)) as client:
        yield client


@pytest.fixture
def lead(web, stores):
    return signed_in(web, stores, Role.LEAD, "lena")


@pytest.fixture
def admin(web, stores):
    return signed_in(web, stores, Role.ADMIN, "ada")


def words(page) -> str:
    """What a page says, without tags and line breaks."""
    assert page.status_code == 200, page.text
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.text)).split())


def rows(page) -> list[list[str]]:
    """The cells of every table row that has data."""
    found = re.findall(r"<tr>(.*?)</tr>", page.text, re.S)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in found]
    return [[" ".join(unescape(re.sub(r"<[^>]+>", " ", cell)).split()) for cell in row] for row in cells]


# Thresholds


@pytest.fixture
def scored(web, stores):
    """100 uploads on `posts` with p-values of 1 % to 100 %, judged by the settings: 2 not camera, 8 unsure."""
    with stores.transaction() as tx:
        strata = {"as_made": 400, "handled": 0, "soft": 300}
        model = add_model(tx, card={"calibration_photos": 400, "calibration_photos_by_stratum": strata})
        tx.versions.point("champion", model.id, actor="tests", reason="first")
        for number in range(1, 101):
            kind = VerdictKind.NOT_CAMERA if number <= 2 else VerdictKind.UNSURE if number <= 10 else VerdictKind.CAMERA
            examination = make_examination(score=make_score(p_value=number / 100))
            tx.results.save_examination(examination, model)
            verdict = Verdict(kind, "p_value", SurfacePolicy())
            tx.results.save_verdict(add_upload(tx, surface="posts"), examination, verdict, model)
    deps = web.app.state.dependencies
    recount(deps, deps.clock.now() - HOUR, deps.clock.now())


def save(browser, *, not_camera="1.0", unsure="5.0", instead_of="0", reason="fewer false alarms", surface="posts"):
    form = {"not_camera": not_camera, "unsure": unsure, "decisions_needed": "2", "instead_of": instead_of}
    return browser.post(f"/thresholds/{surface}", data=form | {"reason": reason})


def test_the_list_shows_what_is_promised_and_what_was_seen(lead, scored):
    assert save(lead, surface="avatars").status_code == 303
    listed = {row[0]: row[1:] for row in rows(lead.get("/thresholds"))}
    assert listed["posts"][:6] == ["2.0 %", "2.0 %", "10.0 %", "10.0 %", "100", "1"]
    assert listed["posts"][6] == "the settings of this deployment"
    assert listed["avatars"][:6] == ["1.0 %", "–", "5.0 %", "–", "0", "2"]
    assert (listed["avatars"][6], listed["avatars"][8]) == ("lena", "fewer false alarms")


def test_what_thresholds_would_do_is_shown_before_they_are_saved(lead, scored, stores):
    page = lead.get("/thresholds/posts", params={"not_camera": "1", "unsure": "20", "days": "1"})
    table = {row[0]: row[1:] for row in rows(page)}
    assert "11 of 100 would be another (11.0 %)" in words(page)
    assert table["not camera"] == ["0", "1", "1"]
    assert table["unsure"] == ["0", "8", "0"]
    assert table["camera"] == ["80", "10", "0"]
    assert table["Photographs called “not camera”, a day"][1].startswith("1.0 ")
    assert table["Confirmed AI images called “not camera”"] == ["nobody has decided any"] * 2
    assert "(300 of them" in words(page), "no promise is less certain than that of the handling with the fewest"
    assert "a signal, not proof" in words(page)
    with stores.transaction() as tx:
        assert tx.policies.saved("posts") is None, "looking changes nothing"
    fragment = lead.get("/thresholds/posts/preview", params={"not_camera": "1", "unsure": "20", "days": "1"})
    assert fragment.text.strip() in page.text
    assert "<html" not in fragment.text


def test_people_who_agreed_say_what_would_be_caught(lead, scored, sql):
    sql("UPDATE review_items SET state = 'decided', closed_at = now(), outcome = 'not_camera' WHERE p_value <= 0.06")
    sql("UPDATE review_items SET state = 'decided', closed_at = now(), outcome = 'camera' WHERE p_value > 0.06")
    table = {row[0]: row[1:] for row in rows(lead.get("/thresholds/posts", params={"not_camera": "4", "unsure": "7"}))}
    in_force, proposed = table["Confirmed AI images called “not camera”"]
    assert in_force.endswith("; 0 of 4")  # unsure ones of 3 % to 6 %: nobody was asked about others
    assert proposed.startswith("50.0 % ")
    assert proposed.endswith("; 2 of 4")
    assert table["Verified photographs flagged at all"][1].endswith("; 1 of 4")


def test_saved_thresholds_hold_and_their_history_can_be_gone_back_to(lead, stores, sql):
    assert save(lead).headers["Location"] == "/thresholds/posts"
    [first] = sql("SELECT id, actor, reason FROM surface_policies")
    assert first[1:] == ("lena", "fewer false alarms")
    assert save(lead, not_camera="3.0", unsure="30.0", instead_of=str(first.id)).status_code == 303
    page = lead.get("/thresholds/posts")
    form = re.search(r'<form class="row" method="post".*?</form>', page.text, re.S).group()
    back = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
    assert lead.post("/thresholds/posts", data=back).status_code == 303
    with stores.transaction() as tx:
        assert tx.policies.saved("posts") == SurfacePolicy(0.01, 0.05, 2)
        assert [saved.actor for saved in tx.policies.history("posts")] == ["lena"] * 3
    assert len(sql("SELECT 1 FROM audit_log WHERE action = 'policy.saved' AND subject = 'surface:posts'")) == 3


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"not_camera": "6.0"}, 422),  # above "unsure"
        ({"reason": "  "}, 422),
        ({"not_camera": "0.01"}, 422),  # under a tenth of a percent
        ({"instead_of": "99"}, 409),  # somebody saved meanwhile
    ],
)
def test_nothing_is_saved_that_does_not_make_sense(lead, stores, form, status):
    assert save(lead, **form).status_code == status
    with stores.transaction() as tx:
        assert tx.policies.all_saved() == {}


def test_a_reviewer_sees_no_thresholds(web, stores):
    reviewer = signed_in(web, stores, Role.REVIEWER)
    assert reviewer.get("/thresholds").status_code == 403
    assert save(reviewer).status_code == 403


# Quality


def decide(sql, item, *said, golden=None, seconds=None, final=False):
    """Decisions `reviewer:label` on an item, in this order; `~` in front: taken back since."""
    if golden:
        sql("UPDATE review_items SET purpose = 'golden', golden_label = :label WHERE id = :id", label=golden, id=item)
    for one in said:
        reviewer, label = one.lstrip("~").split(":")
        [(decision,)] = sql(
            "INSERT INTO decisions (review_item_id, sha256, reviewer, label, note, seconds, is_final)"
            " SELECT id, sha256, :reviewer, :label, '', :seconds, :final FROM review_items WHERE id = :id RETURNING id",
            id=item,
            reviewer=reviewer,
            label=label,
            seconds=seconds,
            final=final,
        )
        if one.startswith("~"):
            sql("INSERT INTO retractions (decision_id) VALUES (:id)", id=decision)


@pytest.fixture
def items(scored, sql):
    """Numbers of the eight open items of `posts`."""
    return [row.id for row in sql("SELECT id FROM review_items ORDER BY id")]


def test_sampled_precision_is_told_with_its_interval(lead, items, sql):
    sql("UPDATE review_items SET purpose = 'sample', kind = 'not_camera', state = 'decided', closed_at = now()")
    sql("UPDATE review_items SET outcome = 'not_camera' WHERE id <= :last", last=items[5])
    sql("UPDATE review_items SET outcome = 'camera' WHERE id = :id", id=items[6])  # and nobody could tell of the last
    [row] = [row for row in rows(lead.get("/quality")) if row[:2] == ["posts", "not camera"]]
    assert row[2:] == ["6", "7", "85.7 % 48.7 % to 97.4 %", "1"]  # Wilson, 6 of 7
    sql("UPDATE review_items SET closed_at = now() - interval '40 days'")
    assert "No sampled item" in words(lead.get("/quality"))
    assert "No sampled item" not in words(lead.get("/quality?days=60"))


def test_agreement_is_of_the_first_two_who_did_not_know_of_each_other(lead, items, sql):
    decide(sql, items[0], "ann:camera", "bob:camera", "cem:not_camera")
    decide(sql, items[1], "ann:not_camera", "bob:not_camera")
    decide(sql, items[2], "ann:camera", "~bob:not_camera", "bob:camera")  # bob took the first one back
    decide(sql, items[3], "ann:camera", "bob:not_camera")
    decide(sql, items[3], "lena:camera", final=True)
    decide(sql, items[4], "ann:camera")
    decide(sql, items[4], "lena:not_camera", final=True)  # a lead is no second reviewer
    decide(sql, items[5], "ann:camera", "bob:not_camera", golden="camera")
    [row] = [row for row in rows(lead.get("/quality")) if row[0] == "posts" and len(row) == 4 and "to" in row[3]]
    assert row[1:3] == ["4", "75.0 %"]
    assert row[3].startswith("0.50 ")  # 3 of 4 agree, 1 of 2 by chance


def test_reviewers_are_told_apart_by_golden_items_and_time(lead, items, sql):
    decide(sql, items[0], "ann:camera", "bob:not_camera", golden="camera", seconds=4)
    decide(sql, items[1], "ann:camera", "bob:cant_tell", golden="camera", seconds=8)
    decide(sql, items[2], "ann:not_camera", seconds=60)
    decide(sql, items[3], "~ann:not_camera", seconds=900)
    found = {row[0]: row[1:] for row in rows(lead.get("/quality")) if row and row[0] in ("ann", "bob")}
    assert found["ann"][:4] == ["3", "8.0", "49.6", "2"]
    assert found["ann"][4].startswith("100.0 % ")
    assert (found["bob"][0], found["bob"][4][:5]) == ("2", "0.0 %")
    assert "5 decisions in the last 30 days" in words(lead.get("/quality"))


def test_the_backlog_has_an_age(lead, items, sql):
    sql("UPDATE review_items SET created_at = now() - interval '3 days' WHERE id = :id", id=items[0])
    sql("UPDATE review_items SET purpose = 'golden', golden_label = 'camera' WHERE id = :id", id=items[1])
    assert ["posts", "unsure", "7", "3 d"] in rows(lead.get("/quality"))


# Drift


def test_drift_is_plotted_with_its_limits_and_alerts_say_why(lead, stores, sql):
    statistic = {"name": "format_psi", "count": 80, "value": 0.7, "limit": 0.2, "p_value": 1e-6, "note": ""}
    with stores.transaction() as tx:
        model = add_model(tx)
        now = sql("SELECT date_trunc('hour', now())")[0][0]
        for hours, value in ((3, 0.1), (2, None), (1, 0.7)):
            told = {"format_psi": statistic | {"value": value, "note": "" if value else "too few images: 3 of 50"}}
            told |= {"own_statistic": {"name": "own_statistic", "count": 80, "value": None, "note": "no reference"}}
            why = ["posts: format_psi is 0.7, limit 0.2"] if value == 0.7 else []
            start = now - hours * HOUR
            window = {"start": start, "end": start + HOUR, "count": 80, "statistics": told, "alerts": why}
            tx.drift.save_snapshot(model_id=model.id, surface="posts", **window)
    listed = lead.get("/drift")
    assert "posts: format_psi is 0.7, limit 0.2" in words(listed)
    assert "<svg" not in listed.text
    page = lead.get("/drift?surface=posts")
    assert "measured in 2 of 3 windows, beyond its limit in 1" in page.text
    assert "0.700, limit 0.200, probability of as much by chance 1e-06 (80 images)" in words(page)
    assert "not measured. no reference" in words(page)
    assert "None in the last 7 days" in words(lead.get("/drift?surface=avatars"))


# Models


@pytest.fixture
def two_models(stores):
    """A champion, and a refit of it that its gate refused."""
    check = {
        "name": "not_camera_recall",
        "slice": "confirmed AI images",
        "passed": False,
        "count": 60,
        "note": "3 may slip",
    }
    check |= {"champion": 0.9, "challenger": 0.7, "challenger_low": 0.57, "challenger_high": 0.81}
    check |= {"changed_for_worse": 12, "changed_for_better": 0}
    gate = {"passed": False, "checks": [check]}
    with stores.transaction() as tx:
        first = add_model(tx, name="first", card={"fit_photos": 1025, "data": "pretext"})
        refit = add_model(tx, name="refit-1", base_id=first.id, card={"gate": gate, "calibration_makes": {"Sony": 9}})
        tx.versions.point("champion", first.id, actor="cli", reason="published")
        tx.versions.point("challenger", refit.id, actor="retrain", reason="refit of first")


def test_models_are_shown_with_who_moved_what_and_why_the_gate_refused(lead, two_models):
    listed = {row[0]: row for row in rows(lead.get("/models"))}
    assert listed["first"][1:6] == ["champion", "–", "1, 1", "1025", "–"]
    assert (listed["refit-1"][2], listed["refit-1"][6]) == ("first", "failed 1 of 1")
    assert "refit of first" in words(lead.get("/models"))
    page = lead.get("/models/refit-1")
    assert next(row[:9] for row in rows(page) if row[0] == "not camera recall") == [
        "not camera recall",
        "confirmed AI images",
        "no",
        "60",
        "0.9",
        "0.7",
        "0.57 to 0.81",
        "12",
        "0",
    ]
    assert '{"Sony": 9}' in words(page)
    assert lead.get("/models/nothing").status_code == 404


def test_an_admin_promotes_and_rolls_back_with_a_reason(admin, two_models, stores, sql):
    assert admin.post("/models/promote", data={"version": "refit-1", "reason": " "}).status_code == 422
    assert admin.post("/models/promote", data={"version": "refit-1", "reason": "looked at it"}).status_code == 303
    with stores.transaction() as tx:
        assert tx.versions.aliases() == {"champion": "refit-1"}
    rollback = {"reason": "too many alarms"}
    assert admin.post("/models/rollback", data=rollback | {"champion": "first"}).status_code == 409
    assert admin.post("/models/rollback", data=rollback | {"champion": "refit-1"}).status_code == 303
    with stores.transaction() as tx:
        assert tx.versions.aliases() == {"champion": "first"}
    moved = sql("SELECT actor, detail ->> 'reason' FROM audit_log WHERE subject = 'model:champion' ORDER BY id DESC")
    assert [tuple(row) for row in moved][:2] == [("ada", "too many alarms"), ("ada", "looked at it")]


def test_a_lead_moves_no_model(lead, two_models, stores):
    assert "Make it the champion" not in lead.get("/models").text
    assert lead.post("/models/promote", data={"version": "refit-1", "reason": "x"}).status_code == 403
    assert lead.post("/models/rollback", data={"champion": "first", "reason": "x"}).status_code == 403


def test_a_card_is_read_out_without_what_it_could_run():
    html = to_html(
        "# Title\n\n<script>x</script> [a](javascript:x)\n\n|a|\n|-:|\n|1|\n\n![p](https://example.org/p.png)"
    )
    assert "<h3>Title</h3>" in html
    assert '<th scope="col">a</th>' in html
    for forbidden in ("<script", 'href="javascript', "<img", "style="):
        assert forbidden not in html


# Dead letters


@pytest.fixture
def letters(stores):
    """Numbers of three letters: two of a lost worker, one of an event that nobody understood."""
    with stores.transaction() as tx:
        for _ in range(2):
            tx.results.bury(add_upload(tx).id, stage="moderate", reason="WorkerLost", detail="no attempt lived")
        payload = {"fields": {"event": "<b>{"}, "lane": "live"}
        tx.dead_letters.bury_event(stage="event", reason="InvalidEvent", detail="no JSON", payload=payload)
        return [letter.id for letter in tx.dead_letters.waiting()]


def test_letters_are_filtered_and_shown_whole(lead, letters):
    assert [row[1] for row in rows(lead.get("/letters"))[1:]] == [str(letter) for letter in letters]
    assert [row[4] for row in rows(lead.get("/letters?reason=InvalidEvent"))[1:]] == ["InvalidEvent"]
    assert [row[1] for row in rows(lead.get(f"/letters?after={letters[1]}"))[1:]] == [str(letters[2])]
    assert "None waits" in words(lead.get("/letters?since=2999-01-01"))
    page = lead.get(f"/letters/{letters[2]}")
    assert "&lt;b&gt;{" in page.text
    assert lead.get("/letters/999").status_code == 404


def test_ticked_letters_are_done_again_together_or_not_at_all(lead, letters, stores, sql):
    form = {"action": "replay", "letter": letters[:2], "back": "/letters?reason=WorkerLost"}
    answer = lead.post("/letters/resolve", data=form)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/letters?reason=WorkerLost&done=2+queued+again")
    assert lead.post("/letters/resolve", data={"action": "drop", "letter": letters}).status_code == 409
    with stores.transaction() as tx:
        assert [letter.id for letter in tx.dead_letters.waiting()] == letters[2:]
    elsewhere = {"action": "drop", "letter": letters[2:], "back": "//example.org"}
    assert lead.post("/letters/resolve", data=elsewhere).headers["Location"].startswith("/letters?")
    done = sql("SELECT actor, action, subject FROM audit_log WHERE subject LIKE 'dead_letter:%' ORDER BY id")
    assert [tuple(row) for row in done] == [
        *[("lena", "dead_letter.replayed", f"dead_letter:{letter}") for letter in letters[:2]],
        ("lena", "dead_letter.dropped", f"dead_letter:{letters[2]}"),
    ]
    assert lead.post("/letters/resolve", data={"action": "drop"}).status_code == 422


# Audit log


@pytest.fixture
def entries(lead, sql):
    """Number 1 is the lead's account."""
    sql(
        "INSERT INTO audit_log (actor, action, subject, detail, created_at) SELECT 'ann', 'review.decided',"
        " 'review_item:' || n, jsonb_build_object('note', '=1+' || n), timestamptz '2026-01-01' + n * interval '1 day'"
        " FROM generate_series(0, 249) n"
    )
    sql("INSERT INTO audit_log (actor, action, subject, detail) VALUES ('=bob', 'x.y', 'model:champion', '{}')")


def test_the_log_is_read_page_by_page_and_by_filter(lead, entries):
    page, seen = lead.get("/audit"), []
    while True:
        seen += [int(row[0]) for row in rows(page)[1:]]
        older = re.search(r'href="\?([^"]*before=[^"]*)"', page.text)
        if not older:
            break
        page = lead.get(f"/audit?{unescape(older[1])}")
    assert seen == list(range(252, 0, -1))
    assert len(rows(lead.get("/audit?actor=%3Dbob"))) == 2
    assert [row[4] for row in rows(lead.get("/audit?subject=review_item:7"))[1:]] == ["review_item:7"]
    of_two_days = rows(lead.get("/audit?since=2026-01-03&until=2026-01-04"))[1:]
    assert [row[4] for row in of_two_days] == ["review_item:3", "review_item:2"]


def test_an_export_has_all_of_it_and_is_itself_written_down(lead, entries, sql, monkeypatch):
    monkeypatch.setattr(audit, "BATCH", 100)
    answer = lead.post("/audit/export", data={"format": "jsonl"})
    exported = [json.loads(line) for line in answer.text.splitlines()]
    assert [entry["id"] for entry in exported] == list(range(1, 253))
    assert exported[4]["detail"] == {"note": "=1+3"}
    assert re.search(r'filename="lenswatch-audit-\w+\.jsonl"', answer.headers["Content-Disposition"])
    found = csv.reader(io.StringIO(lead.post("/audit/export", data={"format": "csv", "actor": "=bob"}).text))
    assert [row[2] for row in found] == ["actor", "'=bob"]
    taken = sql("SELECT actor, detail FROM audit_log WHERE action = 'audit.exported' ORDER BY id")
    assert [row.actor for row in taken] == ["lena", "lena"]
    assert taken[1].detail == {"format": "csv", "filters": {"actor": "=bob"}}
