"""Alembic's environment: the outbox is in the metadata like any table, so autogenerate knows it."""

from alembic import context
from sqlalchemy import MetaData, create_engine

from cdc.outbox.table import sqlalchemy_table

metadata = MetaData()
sqlalchemy_table(metadata, "outbox")

engine = create_engine(context.config.get_main_option("sqlalchemy.url"))
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
