-- The life of a key follows from the time: which one signs, which ones still verify (`domain/key_life.rs`).
alter table signing_keys
    -- When it begins to sign. Until then it is only published. A release that does not know this makes keys that sign at
    -- once, as it always did.
    add column signs_from timestamptz not null default now(),
    -- When it was taken back: it signs and verifies nothing any more.
    add column revoked_at timestamptz;
