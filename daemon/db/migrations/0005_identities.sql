-- Accounts elsewhere that a user signs in with. One belongs to one user; a user may have several.
CREATE TABLE identities (
    id             text PRIMARY KEY,
    user_id        text NOT NULL REFERENCES users ON DELETE CASCADE,
    provider       text NOT NULL CHECK (provider IN ('github', 'oidc')),
    -- Whose word the subject is. An operator who changes to another provider must not meet the former one's subjects:
    -- they are numbers as often as not.
    issuer         text NOT NULL,
    subject        text NOT NULL,  -- what never changes there: neither a name nor an address
    username       text,  -- these three as the provider said at the last sign-in
    email          text,
    email_verified boolean NOT NULL DEFAULT false,
    -- It was let in because it was in one of GITHUB_ALLOWED_ORGS, and has to be in one at each sign-in.
    by_organisation boolean NOT NULL DEFAULT false,
    created_at     timestamptz NOT NULL DEFAULT now(),
    last_used_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (issuer, subject)
);
CREATE INDEX identities_user ON identities (user_id);

-- By which provider somebody came; null: by a password. They may still be signed in there after signing out here.
ALTER TABLE sessions ADD COLUMN provider text;

-- Sign-ins that are under way at a provider. What proves one is kept as a hash; nonce and verifier follow from it.
CREATE TABLE sign_in_attempts (
    state_hash   bytea PRIMARY KEY,
    provider     text NOT NULL,
    browser_hash bytea NOT NULL,
    network      text NOT NULL,  -- where it came from, to bound how many one client has
    next         text NOT NULL,
    -- To link an identity to this session's user; null: to sign in.
    session_id   text REFERENCES sessions ON DELETE CASCADE,
    invitation   bytea,  -- hash of an invitation's token
    expires_at   timestamptz NOT NULL
);
CREATE INDEX sign_in_attempts_network ON sign_in_attempts (network, expires_at);
CREATE INDEX sign_in_attempts_expires ON sign_in_attempts (expires_at);

-- Whether an e-mail address is known to be its user's: a provider has verified it, or it is of the one who set this
-- server up. Others typed theirs, and may have typed somebody else's: no identity is linked by such an address.
ALTER TABLE users ADD COLUMN email_trusted boolean NOT NULL DEFAULT false;
UPDATE users SET email_trusted = true
    WHERE email IS NOT NULL AND is_admin AND id = (SELECT id FROM users ORDER BY created_at, id LIMIT 1);
CREATE INDEX users_email ON users (lower(email));
