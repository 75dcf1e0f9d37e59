-- Makes a tenant's staged prospects its prospects, all in one statement.
-- $1 tenant, $2 now
-- A prospect that is there is replaced whole, and left alone when nothing about it differs.
INSERT INTO prospects (tenant, name, email, first_name, last_name, company, time_zone, fields,
                       created_at, updated_at)
SELECT $1, name, email, first_name, last_name, company, time_zone, fields, $2, $2
FROM staged WHERE true
ORDER BY name
ON CONFLICT (tenant, name) DO UPDATE SET
    email = excluded.email,
    first_name = excluded.first_name,
    last_name = excluded.last_name,
    company = excluded.company,
    time_zone = excluded.time_zone,
    fields = excluded.fields,
    updated_at = excluded.updated_at
WHERE prospects.email IS DISTINCT FROM excluded.email
   OR prospects.first_name IS DISTINCT FROM excluded.first_name
   OR prospects.last_name IS DISTINCT FROM excluded.last_name
   OR prospects.company IS DISTINCT FROM excluded.company
   OR prospects.time_zone IS DISTINCT FROM excluded.time_zone
   OR prospects.fields IS DISTINCT FROM excluded.fields
