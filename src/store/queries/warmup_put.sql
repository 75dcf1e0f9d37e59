-- Makes the warm-up settings of a mailbox, or replaces them.
-- $1 tenant, $2 name, $3 enabled, $4 type, $5 target daily volume, $6 reply rate in percent,
-- $7 time zone, $8 now
INSERT INTO warmup_settings (tenant, name, enabled, warmup_type, warmup_target_daily_volume,
                             reply_rate_percent, time_zone, created_at, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
ON CONFLICT (tenant, name) DO UPDATE SET
    enabled = excluded.enabled,
    warmup_type = excluded.warmup_type,
    warmup_target_daily_volume = excluded.warmup_target_daily_volume,
    reply_rate_percent = excluded.reply_rate_percent,
    time_zone = excluded.time_zone,
    updated_at = excluded.updated_at
