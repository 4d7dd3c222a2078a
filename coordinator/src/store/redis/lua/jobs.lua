-- A script and not a transaction: at the limit of memory the server queues no commands, also none that only read.
-- The jobs of a study: numbers and records, then numbers and failures, specs, outcomes. ARGV: time, study.
local uid = ARGV[2]
return {
  call('HGETALL', P .. 'j:' .. uid), call('HGETALL', P .. 'f:' .. uid), call('HGETALL', P .. 'sp:' .. uid),
  call('HGETALL', P .. 'o:' .. uid),
}
