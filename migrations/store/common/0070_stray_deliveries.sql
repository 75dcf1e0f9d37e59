-- For finding deliveries that wait, of whose job nobody will write down the end.
CREATE INDEX deliveries_waiting ON deliveries (tenant, id) WHERE state = 'waiting';
