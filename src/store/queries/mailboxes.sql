-- A tenant's mailboxes, with how each is warmed up; conditions and an order can be put behind it.
-- $1 tenant
SELECT m.address, m.display_name, m.transport, m.host, m.port, m.security, m.username, m.password,
       m.limits, m.enabled, m.refused_logins, m.refusal, w.enabled AS warmup_enabled, w.warmup_type,
       w.warmup_target_daily_volume, w.reply_rate_percent, w.time_zone
FROM mailboxes AS m
LEFT JOIN warmup_settings AS w ON w.tenant = m.tenant AND w.name = m.name
WHERE m.tenant = $1
