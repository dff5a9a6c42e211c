-- Identifiers are 16 characters of [a-z0-9] that start with a letter; secrets are stored as SHA-256 of the secret.

CREATE TABLE installation (
    id         text PRIMARY KEY,
    singleton  boolean NOT NULL DEFAULT true UNIQUE CHECK (singleton),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE users (
    id            text PRIMARY KEY,
    username      text NOT NULL,
    email         text,
    password_hash text,
    is_admin      boolean NOT NULL DEFAULT false,
    disabled_at   timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX users_username ON users (lower(username));

CREATE TABLE sessions (
    id           text PRIMARY KEY,
    token_hash   bytea NOT NULL UNIQUE,
    user_id      text NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    user_agent   text NOT NULL DEFAULT '',
    ip           text NOT NULL DEFAULT ''
);
CREATE INDEX sessions_user ON sessions (user_id);

-- Failed sign-ins by bucket (a client address, a client address with a user name, a known device).
CREATE TABLE login_failures (
    bucket        text PRIMARY KEY,
    failures      integer NOT NULL,
    blocked_until timestamptz,
    updated_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE workspaces (
    id         text PRIMARY KEY,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz  -- set at once; the row goes when its sandboxes and its disk are gone
);

CREATE TABLE members (
    workspace_id text NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    user_id      text NOT NULL REFERENCES users ON DELETE CASCADE,
    role         text NOT NULL CHECK (role IN ('owner', 'maintainer', 'developer', 'guest')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, user_id)
);
CREATE INDEX members_user ON members (user_id);

CREATE TABLE sandboxes (
    id                text PRIMARY KEY,
    workspace_id      text NOT NULL REFERENCES workspaces,
    name              text NOT NULL,
    type              text NOT NULL CHECK (type IN ('cloud', 'local')),
    status            text NOT NULL CHECK (status IN ('creating', 'running', 'pausing', 'paused', 'resuming',
                                                      'offline', 'failed', 'deleting')),
    status_reason     text,
    -- Grows with every change of status: a finishing job compares both, so that it never overwrites a newer intent.
    generation        bigint NOT NULL DEFAULT 1,
    created_by        text REFERENCES users ON DELETE SET NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    last_activity_at  timestamptz NOT NULL DEFAULT now(),
    last_busy_at      timestamptz,
    paused_at         timestamptz,
    last_heartbeat_at timestamptz,
    idle_timeout      text,  -- as in the settings ("30m", "0"); null = the server's
    cpu               text,
    memory            text,
    -- Rotating it changes the sandbox's password and proxy token, which are derived and never stored.
    secret_version    integer NOT NULL DEFAULT 1,
    proxy_token_hash  bytea UNIQUE,
    failures          integer NOT NULL DEFAULT 0,  -- unasked ends in a row; bounds automatic restarts
    failed_at         timestamptz,
    lease_owner       text,  -- the replica that works on a transitional status
    lease_until       timestamptz
);
CREATE INDEX sandboxes_workspace ON sandboxes (workspace_id);
CREATE INDEX sandboxes_status ON sandboxes (status);

CREATE TABLE tickets (
    token_hash bytea PRIMARY KEY,
    session_id text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    sandbox_id text NOT NULL REFERENCES sandboxes ON DELETE CASCADE,
    host       text NOT NULL,  -- first label of the host: "oc-{id}" or "{port}-{id}"
    expires_at timestamptz NOT NULL
);

CREATE TABLE sandbox_cookies (
    token_hash bytea PRIMARY KEY,
    session_id text NOT NULL REFERENCES sessions ON DELETE CASCADE,
    sandbox_id text NOT NULL REFERENCES sandboxes ON DELETE CASCADE,
    host       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sandbox_cookies_session ON sandbox_cookies (session_id);

-- No foreign keys: what a deleted sandbox cost stays in its workspace's books.
CREATE TABLE usage_daily (
    day                date NOT NULL,
    workspace_id       text NOT NULL,
    sandbox_id         text NOT NULL,
    model              text NOT NULL,
    requests           bigint NOT NULL DEFAULT 0,
    input_tokens       bigint NOT NULL DEFAULT 0,
    output_tokens      bigint NOT NULL DEFAULT 0,
    cache_read_tokens  bigint NOT NULL DEFAULT 0,
    cache_write_tokens bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (day, sandbox_id, model)
);
CREATE INDEX usage_daily_workspace ON usage_daily (workspace_id, day);

-- What happened, for /api/events. Who may see it is decided when it is sent. user_id: only for this user.
CREATE TABLE events (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         text NOT NULL,
    workspace_id text NOT NULL,
    sandbox_id   text,
    user_id      text,
    at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX events_at ON events (at);

-- One channel, "cli_server"; a payload is words: "event 17", "sandbox ID", "workspace ID", "member WORKSPACE USER",
-- "session ID", "user ID". Triggers send them, so that no writer can forget to.
CREATE FUNCTION add_event(kind text, workspace_id text, sandbox_id text, user_id text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    new_id bigint;
BEGIN
    -- Event ids must become visible in their order, or a reader that resumes by id would miss one.
    PERFORM pg_advisory_xact_lock(7300001);
    INSERT INTO events (kind, workspace_id, sandbox_id, user_id)
        VALUES (kind, workspace_id, sandbox_id, user_id) RETURNING id INTO new_id;
    PERFORM pg_notify('cli_server', 'event ' || new_id);
END $$;

CREATE FUNCTION on_sandbox_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM add_event('sandbox.created', NEW.workspace_id, NEW.id, NULL);
        PERFORM pg_notify('cli_server', 'sandbox ' || NEW.id);
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM add_event('sandbox.deleted', OLD.workspace_id, OLD.id, NULL);
        PERFORM pg_notify('cli_server', 'sandbox ' || OLD.id);
    ELSIF (NEW.name, NEW.status, NEW.status_reason, NEW.generation, NEW.idle_timeout, NEW.cpu, NEW.memory)
          IS DISTINCT FROM
          (OLD.name, OLD.status, OLD.status_reason, OLD.generation, OLD.idle_timeout, OLD.cpu, OLD.memory) THEN
        PERFORM add_event('sandbox.updated', NEW.workspace_id, NEW.id, NULL);
        PERFORM pg_notify('cli_server', 'sandbox ' || NEW.id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER sandboxes_changed AFTER INSERT OR UPDATE OR DELETE ON sandboxes
    FOR EACH ROW EXECUTE FUNCTION on_sandbox_change();

CREATE FUNCTION on_workspace_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM add_event('workspace.created', NEW.id, NULL, NULL);
    ELSIF TG_OP = 'UPDATE' THEN
        IF NEW.deleted_at IS NOT NULL AND OLD.deleted_at IS NULL THEN
            PERFORM add_event('workspace.deleted', NEW.id, NULL, NULL);
        ELSE
            PERFORM add_event('workspace.updated', NEW.id, NULL, NULL);
        END IF;
    END IF;
    PERFORM pg_notify('cli_server', 'workspace ' || COALESCE(NEW.id, OLD.id));
    RETURN NULL;
END $$;
CREATE TRIGGER workspaces_changed AFTER INSERT OR UPDATE OR DELETE ON workspaces
    FOR EACH ROW EXECUTE FUNCTION on_workspace_change();

CREATE FUNCTION on_member_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM add_event('member.created', NEW.workspace_id, NULL, NEW.user_id);
    ELSIF TG_OP = 'UPDATE' THEN
        PERFORM add_event('member.updated', NEW.workspace_id, NULL, NEW.user_id);
    ELSE
        PERFORM add_event('member.deleted', OLD.workspace_id, NULL, OLD.user_id);
    END IF;
    PERFORM pg_notify('cli_server', 'member ' || COALESCE(NEW.workspace_id, OLD.workspace_id)
                                    || ' ' || COALESCE(NEW.user_id, OLD.user_id));
    RETURN NULL;
END $$;
CREATE TRIGGER members_changed AFTER INSERT OR UPDATE OR DELETE ON members
    FOR EACH ROW EXECUTE FUNCTION on_member_change();

CREATE FUNCTION on_session_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('cli_server', 'session ' || OLD.id);
    RETURN NULL;
END $$;
CREATE TRIGGER sessions_ended AFTER DELETE ON sessions
    FOR EACH ROW EXECUTE FUNCTION on_session_end();

CREATE FUNCTION on_user_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('cli_server', 'user ' || OLD.id);
    RETURN NULL;
END $$;
CREATE TRIGGER users_changed AFTER UPDATE OF disabled_at ON users
    FOR EACH ROW WHEN (NEW.disabled_at IS DISTINCT FROM OLD.disabled_at) EXECUTE FUNCTION on_user_change();
