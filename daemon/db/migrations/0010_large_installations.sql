-- What ten thousand sandboxes and two thousand machines brought to light (docs/sizing.md).

-- Room beside each row for a second version of it. The heartbeats of all machines of a page are written by one statement;
-- without the room each would move to another page, and every index would be told: five times the log, for ever.
ALTER TABLE sandboxes SET (fillfactor = 50);

-- Whether a sandbox that is not in the database was deleted here. That is asked every few seconds of each that runs.
CREATE INDEX events_deleted ON events (sandbox_id) WHERE kind = 'sandbox.deleted';
