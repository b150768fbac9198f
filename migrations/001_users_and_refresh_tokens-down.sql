-- Undoes 001_users_and_refresh_tokens.sql; nothing is left behind.

DROP TABLE refresh_tokens;
DROP TABLE users;
DROP FUNCTION set_updated_at();
