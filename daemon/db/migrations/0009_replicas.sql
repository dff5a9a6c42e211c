-- Several replicas of the daemon on one database: who they are, which of them holds a machine's tunnel, and who does
-- for all what needs to be done only once.

CREATE TABLE replicas (
    id           text PRIMARY KEY,  -- made anew at each start
    url          text NOT NULL,     -- where the other replicas reach it
    version      text NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now()
);

-- "replica ID": it is gone. Whoever waits for it waits in vain.
CREATE FUNCTION on_replica_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('cli_server', 'replica ' || OLD.id);
    RETURN NULL;
END $$;
CREATE TRIGGER replicas_ended AFTER DELETE ON replicas FOR EACH ROW EXECUTE FUNCTION on_replica_end();

-- Who does something for everybody, until when. It saves work; what it saves is right with several, too.
CREATE TABLE duties (
    name   text PRIMARY KEY,
    holder text NOT NULL,
    until  timestamptz NOT NULL
);

-- The order in which connections of agents come in, whatever the clocks of the replicas say.
CREATE SEQUENCE tunnel_order;

ALTER TABLE sandboxes
    ADD COLUMN tunnel_replica text,    -- who holds tunnel_connection; null where there is a single daemon
    ADD COLUMN tunnel_order   bigint;  -- of tunnel_connection; an older one never takes its place

-- "tunnel ID": its machine is reached by another connection now, or by none. Which replica holds it is kept in memory.
CREATE FUNCTION on_tunnel_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('cli_server', 'tunnel ' || NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER sandboxes_tunnel_changed AFTER UPDATE OF tunnel_connection ON sandboxes
    FOR EACH ROW WHEN (NEW.tunnel_connection IS DISTINCT FROM OLD.tunnel_connection)
    EXECUTE FUNCTION on_tunnel_change();
