-- Links by which somebody joins a workspace, each with a role, an expiry, and a number of uses. The secret in a link is
-- told once, to the person who made it.
CREATE TABLE invitations (
    id           text PRIMARY KEY,
    token_hash   bytea NOT NULL UNIQUE,
    workspace_id text NOT NULL REFERENCES workspaces ON DELETE CASCADE,
    role         text NOT NULL CHECK (role IN ('owner', 'maintainer', 'developer', 'guest')),
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    uses_left    integer NOT NULL CHECK (uses_left >= 0),
    -- Who leaves the workspace takes the invitations with them.
    FOREIGN KEY (workspace_id, created_by) REFERENCES members ON DELETE CASCADE
);
CREATE INDEX invitations_workspace ON invitations (workspace_id, created_by);
