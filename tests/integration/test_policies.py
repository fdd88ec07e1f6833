"""Thresholds that leads save: the newest holds, nothing is lost, nobody overwrites what she did not see."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from pipeline.errors import Conflict, NotFound
from pipeline.records import SurfacePolicy
from pipeline.settings import PolicySettings, Settings
from pipeline.verdict import policy_in_force

STRICT, LAX = SurfacePolicy(0.005, 0.05, 2), SurfacePolicy(0.03, 0.2)
SETTINGS = Settings(_env_file=None, surfaces={"avatars": PolicySettings(not_camera_fpr=0.01)})


def save(tx, policy, instead_of=None, surface="avatars", actor="ann"):
    return tx.policies.save(surface, policy, actor=actor, reason="because", instead_of=instead_of)


def test_the_newest_row_of_a_surface_holds_else_the_settings(stores):
    with stores.transaction() as tx:
        assert policy_in_force(tx.policies, SETTINGS, "avatars") == SurfacePolicy(0.01, 0.1)
        first = save(tx, STRICT)
        save(tx, SurfacePolicy(0.5, 0.6), surface="other")
        assert policy_in_force(tx.policies, SETTINGS, "avatars") == STRICT
        save(tx, LAX, instead_of=first.id)
        assert policy_in_force(tx.policies, SETTINGS, "avatars") == LAX
        assert policy_in_force(tx.policies, SETTINGS, "posts") == SurfacePolicy()
        assert tx.policies.all_saved() == {"avatars": LAX, "other": SurfacePolicy(0.5, 0.6)}
        assert [saved.policy for saved in tx.policies.history("avatars")] == [LAX, STRICT]


def test_what_was_changed_meanwhile_is_not_overwritten(stores):
    with stores.transaction() as tx:
        seen = save(tx, STRICT)
        save(tx, LAX, instead_of=seen.id, actor="bob")
        for instead_of in (None, seen.id):
            with pytest.raises(Conflict, match="meanwhile"):
                save(tx, STRICT, instead_of=instead_of)
        assert tx.policies.saved("avatars") == LAX


def test_another_surfaces_row_is_not_found(stores):
    with stores.transaction() as tx:
        saved = save(tx, STRICT)
        assert tx.policies.get("avatars", saved.id).policy == STRICT
        with pytest.raises(NotFound):
            tx.policies.get("posts", saved.id)


def test_every_change_is_audited_with_what_was_before(stores, database):
    with stores.transaction() as tx:
        save(tx, LAX, instead_of=save(tx, STRICT).id)
    rows = database.execute(text("SELECT actor, action, subject, detail FROM audit_log ORDER BY id")).all()
    assert [row[:3] for row in rows] == [("ann", "policy.saved", "surface:avatars")] * 2
    assert rows[0].detail["from"] is None
    assert rows[1].detail["from"] == {"not_camera_fpr": 0.005, "unsure_fpr": 0.05, "decisions_needed": 2}
    assert rows[1].detail["to"] == {"not_camera_fpr": 0.03, "unsure_fpr": 0.2, "decisions_needed": 1}
    assert rows[1].detail["reason"] == "because"
