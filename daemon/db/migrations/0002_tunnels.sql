-- Machines that join through a tunnel: the codes that let them in, and what is known of each one's connection.

-- Single use and short-lived. The code itself is told once, to the person who asked for it.
CREATE TABLE agent_codes (
    code_hash    bytea PRIMARY KEY,
    workspace_id text NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    created_by   text NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL
);

ALTER TABLE sandboxes
    ADD COLUMN tunnel_token_hash bytea UNIQUE,
    -- The connection by which it is reached; whoever cleans up after an older one finds another id here and stops.
    ADD COLUMN tunnel_connection text,
    ADD COLUMN agent_info        jsonb;  -- what the machine said of itself: an object of strings

-- As before, and also when a machine says something new of itself. Heartbeats and connections by themselves are no news.
CREATE OR REPLACE FUNCTION on_sandbox_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM add_event('sandbox.created', NEW.workspace_id, NEW.id, NULL);
        PERFORM pg_notify('cli_server', 'sandbox ' || NEW.id);
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM add_event('sandbox.deleted', OLD.workspace_id, OLD.id, NULL);
        PERFORM pg_notify('cli_server', 'sandbox ' || OLD.id);
    ELSIF (NEW.name, NEW.status, NEW.status_reason, NEW.generation, NEW.idle_timeout, NEW.cpu, NEW.memory,
           NEW.agent_info)
          IS DISTINCT FROM
          (OLD.name, OLD.status, OLD.status_reason, OLD.generation, OLD.idle_timeout, OLD.cpu, OLD.memory,
           OLD.agent_info) THEN
        PERFORM add_event('sandbox.updated', NEW.workspace_id, NEW.id, NULL);
        PERFORM pg_notify('cli_server', 'sandbox ' || NEW.id);
    END IF;
    RETURN NULL;
END $$;
