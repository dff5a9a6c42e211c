-- Who did what. Each entry is written in the transaction of the change it tells of, and outlives what it tells of: no
-- foreign keys, and names as they were then.
CREATE TABLE audit (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT now(),
    actor_id     text,  -- null: the server itself, or somebody who did not prove who they are
    actor_name   text,
    action       text NOT NULL,
    target_kind  text CHECK (target_kind IN ('user', 'workspace', 'sandbox')),
    target_id    text,
    target_name  text,
    workspace_id text,
    ip           text NOT NULL DEFAULT '',
    detail       jsonb NOT NULL DEFAULT '{}',  -- an object of strings
    CHECK (num_nulls(actor_id, actor_name) IN (0, 2)),
    CHECK (num_nulls(target_kind, target_id, target_name) IN (0, 3))
);
CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_action ON audit (action, id);
CREATE INDEX audit_actor ON audit (actor_id, id);
CREATE INDEX audit_actor_name ON audit (lower(actor_name), id);
-- Two questions that are asked before an entry is written: how many refusals lately, and opened by this session before.
CREATE INDEX audit_refused ON audit (at) WHERE action = 'session.refused';
CREATE INDEX audit_opened ON audit (target_id, at) WHERE action = 'sandbox.opened';

CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'entries of the audit log are not changed';
END $$;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

-- When somebody was last here, which their sessions know only as long as they last. Exact to the hour, as theirs.
ALTER TABLE users ADD COLUMN last_seen_at timestamptz;
UPDATE users u SET last_seen_at = (SELECT max(last_seen_at) FROM sessions s WHERE s.user_id = u.id);
CREATE INDEX users_admins ON users (id) WHERE is_admin;

-- Events of users belong to no workspace; only admins hear of them. One more notification, "admin ID": the user has
-- become an admin, or is none any more.
ALTER TABLE events ALTER COLUMN workspace_id DROP NOT NULL;

CREATE OR REPLACE FUNCTION on_user_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM add_event('user.created', NULL, NULL, NEW.id);
        RETURN NULL;
    END IF;
    PERFORM add_event('user.updated', NULL, NULL, NEW.id);
    IF NEW.disabled_at IS DISTINCT FROM OLD.disabled_at THEN
        PERFORM pg_notify('cli_server', 'user ' || NEW.id);
    END IF;
    IF NEW.is_admin IS DISTINCT FROM OLD.is_admin THEN
        PERFORM pg_notify('cli_server', 'admin ' || NEW.id);
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER users_changed ON users;
CREATE TRIGGER users_changed AFTER UPDATE OF disabled_at, is_admin ON users FOR EACH ROW
    WHEN ((NEW.disabled_at, NEW.is_admin) IS DISTINCT FROM (OLD.disabled_at, OLD.is_admin))
    EXECUTE FUNCTION on_user_change();
CREATE TRIGGER users_created AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION on_user_change();
