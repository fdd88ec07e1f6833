"""Alembic's environment: our tables, our settings, one transaction per migration."""

from __future__ import annotations

from alembic import context

from pipeline.settings import Settings
from pipeline.store import models, models_ops, models_people, models_review  # noqa: F401  they fill the metadata
from pipeline.store.base import Base, create_store_engine

settings: Settings = context.config.attributes.get("settings") or Settings()

engine = create_store_engine(settings.postgres)
try:
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            compare_type=True,
            compare_server_default=False,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()
finally:
    engine.dispose()
