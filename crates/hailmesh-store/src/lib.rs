//! The journal kept: memory, SQLite, Postgres
