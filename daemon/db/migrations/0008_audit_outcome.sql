-- How it ended. What was refused or went wrong is in the log, too, and nobody should have to know the words to tell.
ALTER TABLE audit
    ADD COLUMN outcome text NOT NULL DEFAULT 'done' CHECK (outcome IN ('done', 'refused', 'failed'));

-- Nothing of what an entry says is changed: what its action's word says stands in the new column, too.
ALTER TABLE audit DISABLE TRIGGER audit_is_not_changed;
UPDATE audit SET outcome = CASE action WHEN 'session.refused' THEN 'refused' ELSE 'failed' END
    WHERE action IN ('session.refused', 'sandbox.failed');
ALTER TABLE audit ENABLE TRIGGER audit_is_not_changed;

-- How many refusals lately, of whatever kind; what owners see of their workspace; what went wrong, which is rare.
DROP INDEX audit_refused;
CREATE INDEX audit_refused ON audit (at) WHERE outcome = 'refused';
CREATE INDEX audit_workspace ON audit (workspace_id, id) WHERE workspace_id IS NOT NULL;
CREATE INDEX audit_outcome ON audit (outcome, id) WHERE outcome <> 'done';
