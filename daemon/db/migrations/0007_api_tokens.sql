-- API tokens are sessions of programs: they have a name, and scopes that bound what they are good for. So whatever ends
-- sessions, and cuts what lives by them, ends tokens too. Their expiry does not move when they are used.
ALTER TABLE sessions
    ADD COLUMN name   text,
    ADD COLUMN scopes text[],
    ADD CHECK (num_nulls(name, scopes) IN (0, 2)),
    ADD CHECK (scopes <@ ARRAY['read', 'write', 'open', 'admin'] AND scopes <> '{}');
CREATE INDEX sessions_expiry ON sessions (expires_at);

-- One more notification, "expiry ID": a session ends soon, perhaps before anybody would look. An hour is longer than
-- whoever ends them sleeps.
CREATE FUNCTION on_session_expiry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('cli_server', 'expiry ' || NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER sessions_expire AFTER INSERT OR UPDATE OF expires_at ON sessions FOR EACH ROW
    WHEN (NEW.expires_at < now() + interval '1 hour') EXECUTE FUNCTION on_session_expiry();
