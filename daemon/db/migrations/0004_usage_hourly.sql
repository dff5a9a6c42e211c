-- LLM calls by hour, for the last day at a glance. The books are in usage_daily; this is forgotten after two days.
CREATE TABLE usage_hourly (
    hour         timestamptz NOT NULL,  -- when it begins, in UTC
    workspace_id text NOT NULL,
    sandbox_id   text NOT NULL,
    requests     bigint NOT NULL,
    PRIMARY KEY (sandbox_id, hour)
);
CREATE INDEX usage_hourly_workspace ON usage_hourly (workspace_id, hour);
CREATE INDEX usage_hourly_hour ON usage_hourly (hour);
