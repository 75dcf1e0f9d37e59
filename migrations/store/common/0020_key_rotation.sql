-- The key that took the place of this one, which is valid for a while yet (expires_at).

ALTER TABLE api_keys ADD COLUMN replaced_by TEXT;
